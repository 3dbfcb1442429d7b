//! Checks that the flake hands over all named parts, and places the parts of crates.

use std::collections::BTreeSet;

use crate::model::{Content, Crate, CratePart, Description, Spanned};
use crate::normal;
use crate::own_part;
use crate::problem::{Problem, nearest};

impl Description {
    /// Reports parts that the description names and that are not among `known`.
    pub(super) fn unknown_parts(&self, known: &BTreeSet<String>) -> Vec<Problem> {
        let images = self.images.values();
        let files = images.flat_map(|image| image.fields.files.iter().flatten());
        let of_files = files.filter_map(|file| match file.content.get_ref() {
            Content::Part { name, .. } => Some((name, file.content.span())),
            _ => None,
        });
        let crates = self.crates.iter().flat_map(|each| &each.parts);
        let of_crates = crates.map(|part| (part.part.get_ref(), part.part.span()));
        let mut seen = BTreeSet::new();
        // A variant has the files of its image, and so the same problem.
        let once = |span: &std::ops::Range<usize>| seen.insert((span.start, span.end));
        let mut once = once;
        of_files
            .chain(of_crates)
            .filter(|(name, _)| !known.contains(*name) && !self.downloads.contains_key(*name))
            .filter(|(_, span)| once(span))
            .map(|(name, span)| {
                let message = format!("the flake passes no part `{name}`");
                let line = format!(
                    "add `parts.{name} = …;`, a derivation or a path, to the arguments of \
                     `mkFlake` in flake.nix"
                );
                let help = match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`? Else {line}"),
                    None => line,
                };
                self.source.problem(span, message).help(help)
            })
            .collect()
    }

    /// Returns the parts of a crate, sorted by place.
    pub(super) fn normal_parts(
        &self,
        each: &Crate,
        problems: &mut Vec<Problem>,
    ) -> Vec<normal::CratePart> {
        let mut parts: Vec<&CratePart> = each.parts.iter().collect();
        parts.sort_by_key(|part| (part.path.get_ref(), part.path.span().start));
        for (at, part) in parts.iter().enumerate() {
            let covers = |other: &&&CratePart| covers(&other.path, &part.path);
            if let Some(other) = parts[..at].iter().find(covers) {
                let [own, above] = [part, other].map(|it| own_part::shown(it.part.get_ref()));
                let message = format!(
                    "{own} of the crate `{}` lies in {above}, at `{}`",
                    each.name.get_ref(),
                    other.path.get_ref()
                );
                let problem = self.source.problem(part.path.span(), message);
                let problem = problem.note_at(&self.source, other.path.span(), "that is");
                problems.push(problem.help("give one of them another path"));
            }
        }
        let normal = |part: &CratePart| normal::CratePart {
            part: part.part.get_ref().clone(),
            path: part.path.get_ref().clone(),
            from: part.from.clone(),
        };
        parts.into_iter().map(normal).collect()
    }
}

/// Whether `above` is `path`, or a directory above it.
fn covers(above: &Spanned<String>, path: &Spanned<String>) -> bool {
    let rest = path.get_ref().strip_prefix(above.get_ref().as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
