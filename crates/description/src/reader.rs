//! Reads a parsed TOML document field by field, keeps every span, and goes on after an error so
//! that all are found.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::problem::{Problem, Source, suggestion};
use crate::schema::Table;

/// Collects the problems of one document.
pub(crate) struct Reader<'s> {
    pub(crate) source: &'s Source,
    problems: RefCell<Vec<Problem>>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s Source) -> Reader<'s> {
        Reader {
            source,
            problems: RefCell::new(Vec::new()),
        }
    }

    /// Makes a problem at `span`, to pass to [`Reader::report`].
    pub(crate) fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        self.source.problem(span, message)
    }

    pub(crate) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'_>>, place: &str, expected: &str) {
        let found = value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) {
            "an"
        } else {
            "a"
        };
        let problem = self
            .problem(
                value.span(),
                format!("{place} must be {expected}, this is {article} {found}"),
            )
            .maybe_help(quote_help(value.get_ref(), expected));
        self.report(problem);
    }

    /// Returns the string in `value`.
    pub(crate) fn string(
        &self,
        value: &Spanned<DeValue<'_>>,
        place: &str,
    ) -> Option<Spanned<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.to_string())),
            _ => {
                self.wrong_type(value, place, "a string");
                None
            }
        }
    }

    /// Returns the string in `value`, which becomes a word of a command, a variable or a label. No
    /// program can be given a zero byte.
    fn word(&self, value: &Spanned<DeValue<'_>>, place: &str) -> Option<Spanned<String>> {
        let text = self.string(value, place)?;
        if text.get_ref().contains('\0') {
            let problem = self.problem(text.span(), format!("{place} has a zero byte"));
            self.report(problem.help("no program can be given one"));
            return None;
        }
        Some(text)
    }

    /// Returns the integer in `value`.
    pub(crate) fn integer(
        &self,
        value: &Spanned<DeValue<'_>>,
        place: &str,
    ) -> Option<Spanned<i64>> {
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(value, place, "an integer");
            return None;
        };
        match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Some(Spanned::new(value.span(), number)),
            Err(_) => {
                self.report(self.problem(value.span(), format!("{place} is out of range")));
                None
            }
        }
    }

    fn array<'v, 'i>(
        &self,
        value: &'v Spanned<DeValue<'i>>,
        place: &str,
        expected: &str,
    ) -> Option<&'v DeArray<'i>> {
        let array = value.get_ref().as_array();
        if array.is_none() {
            self.wrong_type(value, place, expected);
        }
        array
    }

    /// Returns the table in `value`, which has the fields of `schema`; `place` names it in messages
    /// (`[images.gateway]`).
    pub(crate) fn table<'r, 'v, 'i>(
        &'r self,
        value: &'v Spanned<DeValue<'i>>,
        schema: &'static Table,
        place: &str,
    ) -> Option<Fields<'r, 's, 'v, 'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(self.fields(table, value.span(), schema, place)),
            _ => {
                self.wrong_type(value, place, "a table");
                None
            }
        }
    }

    /// Returns the fields of `table`, and reports unknown ones at once.
    pub(crate) fn fields<'r, 'v, 'i>(
        &'r self,
        table: &'v DeTable<'i>,
        span: Range<usize>,
        schema: &'static Table,
        place: &str,
    ) -> Fields<'r, 's, 'v, 'i> {
        for key in table.keys() {
            if schema.field(key.get_ref()).is_none() {
                let names = schema.fields.iter().map(|field| field.name);
                self.report(
                    self.problem(
                        key.span(),
                        format!("unknown key `{}` in {place}", key.get_ref()),
                    )
                    .help(suggestion(key.get_ref(), "keys", names)),
                );
            }
        }
        Fields {
            reader: self,
            table,
            span,
            schema,
            place: place.to_string(),
        }
    }

    /// Returns the entries of a table whose keys are names that the person chose.
    pub(crate) fn named<'v, 'i>(
        &self,
        value: &'v Spanned<DeValue<'i>>,
        place: &str,
    ) -> Vec<(Spanned<String>, &'v Spanned<DeValue<'i>>)> {
        match value.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .map(|(key, value)| (Spanned::new(key.span(), key.get_ref().to_string()), value))
                .collect(),
            _ => {
                self.wrong_type(value, place, "a table");
                Vec::new()
            }
        }
    }
}

/// Advises to quote a bare number or boolean in the place of a string.
fn quote_help(value: &DeValue<'_>, expected: &str) -> Option<String> {
    let literal = match value {
        DeValue::Integer(digits) => digits.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        _ => return None,
    };
    (expected == "a string").then(|| format!("write \"{literal}\""))
}

/// The fields of one table. Every accessor returns `None` if the field is missing, and reports a
/// wrong type.
pub(crate) struct Fields<'r, 's, 'v, 'i> {
    pub(crate) reader: &'r Reader<'s>,
    table: &'v DeTable<'i>,
    span: Range<usize>,
    schema: &'static Table,
    /// The name of this table in messages.
    pub(crate) place: String,
}

impl<'v, 'i> Fields<'_, '_, 'v, 'i> {
    /// Returns the place of the table.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns the value of a field as it was parsed.
    pub(crate) fn value(&self, name: &str) -> Option<&'v Spanned<DeValue<'i>>> {
        debug_assert!(
            self.schema.field(name).is_some(),
            "`{name}` is missing in the schema of `{}`",
            self.schema.path
        );
        self.table.get(name)
    }

    /// Returns the place of a field's key.
    pub(crate) fn key(&self, name: &str) -> Option<Range<usize>> {
        let (key, _) = self.table.get_key_value(name)?;
        Some(key.span())
    }

    /// Returns the name of a field in messages.
    pub(crate) fn place_of(&self, name: &str) -> String {
        format!("`{name}` in {}", self.place)
    }

    pub(crate) fn string(&self, name: &str) -> Option<Spanned<String>> {
        self.reader.string(self.value(name)?, &self.place_of(name))
    }

    pub(crate) fn integer(&self, name: &str) -> Option<Spanned<i64>> {
        self.reader.integer(self.value(name)?, &self.place_of(name))
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        let value = self.value(name)?;
        if value.get_ref().as_bool().is_none() {
            self.reader
                .wrong_type(value, &self.place_of(name), "true or false");
        }
        value.get_ref().as_bool()
    }

    /// Returns the elements of an array, each still to be read.
    pub(crate) fn elements(
        &self,
        name: &str,
        expected: &str,
    ) -> Option<Vec<&'v Spanned<DeValue<'i>>>> {
        let array = self
            .reader
            .array(self.value(name)?, &self.place_of(name), expected)?;
        Some(array.iter().collect())
    }

    /// Reads an array of words; reports elements of another type, and leaves them out.
    pub(crate) fn strings(&self, name: &str) -> Option<Vec<Spanned<String>>> {
        let place = format!("an element of {}", self.place_of(name));
        let elements = self.elements(name, "an array of strings")?;
        Some(
            elements
                .into_iter()
                .filter_map(|element| self.reader.word(element, &place))
                .collect(),
        )
    }

    /// Reads a table of words, by the names that the person chose.
    pub(crate) fn map(&self, name: &str) -> Option<Vec<(Spanned<String>, Spanned<String>)>> {
        let entries = self.reader.named(self.value(name)?, &self.place_of(name));
        Some(
            entries
                .into_iter()
                .filter_map(|(key, value)| {
                    let place = format!("`{}` in {}", key.get_ref(), self.place_of(name));
                    Some((key, self.reader.word(value, &place)?))
                })
                .collect(),
        )
    }

    /// Reports a missing field that is required, at the place of its table.
    pub(crate) fn required<T>(&self, name: &str, value: Option<T>, example: &str) -> Option<T> {
        if value.is_none() && self.table.get(name).is_none() {
            self.reader.report(
                self.reader
                    .problem(self.span(), format!("{} has no `{name}`", self.place))
                    .help(format!("add `{name} = {example}`")),
            );
        }
        value
    }
}
