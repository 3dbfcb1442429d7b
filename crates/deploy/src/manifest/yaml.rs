//! Reads YAML as a list of scalars, each with its bytes, its key, and its mapping.
//!
//! The memory that this takes grows with the text. Aliases share the text of their anchor, and
//! limits bound the rest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};

use super::{Error, Position};

/// The most scalars that a text may have. The longest manifests that people generate have some ten
/// thousands.
const MAX_VALUES: usize = 500_000;
/// The deepest nesting of mappings and sequences. JSON's readers mostly stop at 128.
const MAX_DEPTH: usize = 200;

/// The value of a mapping's entry, or an element of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The range of the scalar with its quotes, or of the alias.
    pub range: Range<usize>,
    /// The value of the scalar, or of the scalar that the alias refers to.
    pub text: Arc<str>,
    /// The style.
    pub style: Style,
    /// The key, if this is a mapping's value and the key is a scalar.
    pub key: Option<Arc<str>>,
    /// Whether the value is itself a key.
    pub is_key: bool,
    /// The number of its mapping or sequence.
    pub parent: usize,
    /// The position.
    pub position: Position,
    /// The number of the value's anchor, or of its alias's anchor, in the document; 0 for none.
    pub anchor: usize,
}

/// The style of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// No quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|` or `>`.
    Block,
    /// `*name`.
    Alias,
}

/// The content of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// All scalars and aliases of scalars, in the text's order.
    pub values: Vec<Value>,
    /// Pairs of mappings: the first merges the second (`<<: *name`).
    pub merges: Vec<(usize, usize)>,
    /// For each mapping, the first value of each key, as an index of `values`.
    keys: BTreeMap<usize, BTreeMap<Arc<str>, usize>>,
}

impl Tree {
    /// Returns the value of a key in a mapping.
    pub(super) fn sibling(&self, mapping: usize, key: &str) -> Option<&Value> {
        let value = self.keys.get(&mapping)?.get(key)?;
        self.values.get(*value)
    }

    fn push(&mut self, value: Value) {
        if let Some(key) = &value.key {
            let keys = self.keys.entry(value.parent).or_default();
            keys.entry(key.clone()).or_insert(self.values.len());
        }
        self.values.push(value);
    }
}

/// A mapping or a sequence that the parser is inside of.
struct Open {
    number: usize,
    is_mapping: bool,
    /// The key of the next value. If the outer option is `None`, a key comes next. If the inner
    /// option is `None`, the key is not a scalar.
    key: Option<Option<Arc<str>>>,
}

/// The target of an anchor.
enum Anchored {
    Scalar(Arc<str>),
    Node(usize),
}

/// Reads a text.
///
/// # Errors
/// When the text is not YAML, or exceeds a limit.
pub(super) fn read(text: &str) -> Result<Tree, Error> {
    let mut reader = Reader {
        text,
        tree: Tree::default(),
        open: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| Error {
            position: position(*error.marker()),
            reason: error.info(),
        })?;
        reader.take(event, span)?;
    }
    Ok(reader.tree)
}

fn position(marker: granit_parser::Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

struct Reader<'a> {
    text: &'a str,
    tree: Tree,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Error> {
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::MappingStart(_, anchor, _) => self.begin(true, anchor, span)?,
            Event::SequenceStart(_, anchor, _) => self.begin(false, anchor, span)?,
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
                self.end_node(None);
            }
            Event::Scalar(text, style, anchor, _) => {
                let text: Arc<str> = text.into();
                if anchor != 0 {
                    self.anchors.insert(anchor, Anchored::Scalar(text.clone()));
                }
                self.leaf(text, style_of(style), anchor, span)?;
            }
            Event::Alias(anchor) => self.alias(anchor, span)?,
            _ => {}
        }
        Ok(())
    }

    fn begin(
        &mut self,
        is_mapping: bool,
        anchor: usize,
        span: granit_parser::Span,
    ) -> Result<(), Error> {
        if self.open.len() == MAX_DEPTH {
            let reason = format!("mappings and sequences are nested more than {MAX_DEPTH} deep");
            return Err(Error {
                position: position(span.start),
                reason,
            });
        }
        self.nodes += 1;
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored::Node(self.nodes));
        }
        self.open.push(Open {
            number: self.nodes,
            is_mapping,
            key: None,
        });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: granit_parser::Span) -> Result<(), Error> {
        match self.anchors.get(&anchor) {
            Some(Anchored::Scalar(text)) => self.leaf(text.clone(), Style::Alias, anchor, span),
            Some(Anchored::Node(node)) => {
                let node = *node;
                self.merge(node);
                self.end_node(None);
                Ok(())
            }
            None => {
                self.end_node(None);
                Ok(())
            }
        }
    }

    /// Records a merge: `<<: *name`, or an element of `<<: [*one, *other]`.
    fn merge(&mut self, node: usize) {
        let is_merge = |open: &Open| {
            open.key
                .as_ref()
                .is_some_and(|key| key.as_deref() == Some("<<"))
        };
        let into = self.open.iter().rev().take(2).find(|open| is_merge(open));
        if let Some(into) = into {
            self.tree.merges.push((into.number, node));
        }
    }

    fn leaf(
        &mut self,
        text: Arc<str>,
        style: Style,
        anchor: usize,
        span: granit_parser::Span,
    ) -> Result<(), Error> {
        let position = position(span.start);
        if self.tree.values.len() == MAX_VALUES {
            let reason = format!("it has more than {MAX_VALUES} values, and no manifest has");
            return Err(Error { position, reason });
        }
        let range = span.byte_range().ok_or_else(|| Error {
            position,
            reason: "the parser does not say where this is".to_owned(),
        })?;
        let open = self.open.last();
        let is_key = open.is_some_and(|open| open.is_mapping && open.key.is_none());
        self.tree.push(Value {
            range: trimmed(self.text, range, style),
            text: text.clone(),
            style,
            key: open.and_then(|open| open.key.clone()).flatten(),
            is_key,
            parent: open.map_or(0, |open| open.number),
            position,
            anchor,
        });
        self.end_node(Some(text));
        Ok(())
    }

    /// Ends a node of the innermost mapping: a key or a value.
    fn end_node(&mut self, scalar: Option<Arc<str>>) {
        if let Some(open) = self.open.last_mut().filter(|open| open.is_mapping) {
            open.key = match open.key {
                None => Some(scalar),
                Some(_) => None,
            };
        }
    }
}

/// Returns the range of the scalar itself. For a block scalar, this excludes the header, which may
/// hold a comment.
fn trimmed(text: &str, range: Range<usize>, style: Style) -> Range<usize> {
    let source = &text[range.clone()];
    match style {
        Style::Block if source.starts_with(['|', '>']) => {
            let header = source.find('\n').map_or(source.len(), |end| end + 1);
            range.start + header..range.end
        }
        // For a missing value, the parser reports the end of its key, before the colon.
        _ if range.is_empty() => {
            let rest = text[range.start..].trim_start();
            let colon = text.len() - rest.len() + usize::from(rest.starts_with(':'));
            match rest.starts_with(':') {
                true => colon..colon,
                false => range,
            }
        }
        _ => range.start..range.start + source.trim_end().len(),
    }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        _ => Style::Plain,
    }
}
