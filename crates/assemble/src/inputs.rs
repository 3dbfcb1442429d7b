//! The inputs in provenances, and the differences between those of two images, as text.

use crateyard_attestation::provenance::{Difference, Kind, Statement, compare};
use crateyard_terminal::{clean, count, sign, table};

/// The kinds of inputs in the order of the output, each with its heading.
const TITLES: [(Kind, &str); 15] = [
    (Kind::Description, "description"),
    (Kind::Profile, "profile and features asked for"),
    (Kind::Source, "source files"),
    (Kind::Download, "downloads"),
    (Kind::Npm, "npm packages"),
    (Kind::Dependency, "dependencies"),
    (Kind::Features, "features of crates"),
    (Kind::Options, "compiler options"),
    (Kind::Declared, "variables and revision of crates"),
    (Kind::Toolchain, "toolchain"),
    (Kind::Library, "native libraries"),
    (Kind::Package, "Debian packages"),
    (Kind::Base, "base image"),
    (Kind::NestedImage, "images in it"),
    (Kind::Builder, "Crateyard itself"),
];

/// The number of names of a kind that a line lists.
const LISTED: usize = 4;

/// Returns the commit that a provenance names: the repository's address with the branch or tag, and
/// the commit's hash.
pub fn commit(statement: &Statement) -> Option<(&str, &str)> {
    let definition = &statement.predicate.build_definition;
    let mut repositories = definition.resolved_dependencies.iter().filter(|it| {
        let role = it.annotations.get("role");
        role.is_some_and(|role| role == "repository")
    });
    repositories.find_map(|it| Some((it.uri.as_deref()?, it.digest.get("gitCommit")?.as_str())))
}

/// Summarizes the inputs that differ, with a line for each kind that has its first names:
/// `source files: src/main.rs`.
pub fn summary(before: &Statement, after: &Statement) -> Vec<String> {
    let differences = compare(before, after);
    let of = |(kind, title): (Kind, &str)| {
        let names: Vec<_> = differences
            .iter()
            .filter(|it| it.kind == kind)
            .map(|it| clean(&it.name))
            .collect();
        let more = match names.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let first = &names[..names.len().min(LISTED)];
        (!names.is_empty()).then(|| format!("{title}: {}{more}", first.join(", ")))
    };
    TITLES.into_iter().filter_map(of).collect()
}

/// Lists the inputs that differ, with a heading for each kind and a line for each input.
pub fn listing(differences: &[Difference]) -> String {
    let mut text = String::new();
    for (kind, title) in TITLES {
        let of_kind = differences.iter().filter(|it| it.kind == kind);
        let rows: Vec<Vec<String>> = of_kind.map(row).collect();
        if !rows.is_empty() {
            text += &format!("{title}: {}\n", count(rows.len(), "change"));
            text += &table(&rows, "  ", &[]);
        }
    }
    text
}

fn row(difference: &Difference) -> Vec<String> {
    let (before, after) = (difference.before.as_ref(), difference.after.as_ref());
    let shown = [before, after].map(|value| value.map(|text| short(text)).unwrap_or_default());
    let values: Vec<String> = shown.into_iter().filter(|text| !text.is_empty()).collect();
    vec![
        sign(before, after),
        clean(&difference.name).into_owned(),
        values.join(" -> "),
    ]
}

/// Cleans a text, and shortens a digest to its first digits.
pub fn short(text: &str) -> String {
    let text = clean(text);
    match text.strip_prefix("sha256:") {
        // A string that looks like a digest may contain characters other than hexadecimal digits.
        Some(rest) => match (rest.get(..12), rest.get(64..)) {
            (Some(first), Some(behind)) => format!("{first}{behind}"),
            _ => text.into_owned(),
        },
        None => text.into_owned(),
    }
}
