//! Prints an audit for people.

use std::collections::BTreeMap;

use crateyard_audit::{Finding, Kind, Status};
use crateyard_terminal::{clean, table};

use super::Audited;

/// Formats an image, its open findings, and the number of others.
pub fn describe(image: &Audited, with_all: bool) -> String {
    let mut text = format!(
        "{}  {}  {}\n",
        clean(&image.name),
        image.platform,
        image.digest.as_deref().unwrap_or("planned")
    );
    let open = image
        .findings
        .iter()
        .filter(|it| it.is_open() && it.kind != Kind::Unimportant);
    for finding in open {
        text += &open_finding(finding);
    }
    if with_all {
        let is_rest = |it: &&Finding| !it.is_open() || it.kind == Kind::Unimportant;
        let rows = image.findings.iter().filter(is_rest).map(row);
        text += &table(&rows.collect::<Vec<_>>(), "  ", &[]);
    }
    let mut counts: BTreeMap<usize, (&str, usize)> = BTreeMap::new();
    for finding in &image.findings {
        let (rank, word) = word(finding);
        counts.entry(rank).or_insert((word, 0)).1 += 1;
    }
    let counts: Vec<String> = counts
        .values()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    text += &match counts.is_empty() {
        true => "  no advisory is about anything in it\n".to_owned(),
        false => format!("  {}\n", counts.join(", ")),
    };
    text
}

fn open_finding(finding: &Finding) -> String {
    let component = &finding.component;
    let severity = finding.severity.as_deref().unwrap_or("no severity");
    let mut text = format!(
        "  {}  {}  {}  {} {}\n      {}\n      {}\n",
        word(finding).1,
        clean(&finding.id),
        clean(severity),
        clean(&component.name),
        clean(&component.version),
        clean(&finding.title),
        clean(&finding.reason),
    );
    if !finding.functions.is_empty() {
        text += &format!(
            "      functions: {}\n",
            clean(&finding.functions.join(", "))
        );
    }
    if !finding.fixed_in.is_empty() {
        text += &format!("      fixed in {}\n", clean(&finding.fixed_in.join(" or ")));
    }
    text + &format!("      {}\n", clean(&finding.url))
}

fn row(finding: &Finding) -> Vec<String> {
    let component = format!("{} {}", finding.component.name, finding.component.version);
    let reason = finding.ignored.as_ref().unwrap_or(&finding.reason);
    let cells = [word(finding).1, &finding.id, &component, reason];
    cells.map(|cell| clean(cell).into_owned()).to_vec()
}

/// Returns the rank of a finding among the others, and its label.
fn word(finding: &Finding) -> (usize, &'static str) {
    if finding.ignored.is_some() {
        return (6, "ignored");
    }
    match (finding.status, finding.kind) {
        (Status::NotAffected(_), _) => (7, "not affected"),
        (Status::Fixed, _) => (8, "fixed"),
        (Status::UnderInvestigation, _) => (4, "unclear"),
        (Status::Affected, Kind::Vulnerability) => (0, "affected"),
        (Status::Affected, Kind::Unsound) => (1, "unsound"),
        (Status::Affected, Kind::Unmaintained) => (2, "unmaintained"),
        (Status::Affected, Kind::Notice) => (3, "notice"),
        (Status::Affected, Kind::Unimportant) => (5, "unimportant"),
    }
}
