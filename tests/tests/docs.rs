//! Checks the documentation: links have targets, and every page is in the book.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Markdown files at the top and in `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in [root(), root().join("docs"), root().join("docs/bench")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns the text without code, where brackets are not links.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with("    ")
    });
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n");
    text.split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// The targets of the inline links of a page.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let ends = text.match_indices("](");
    ends.filter_map(|(at, _)| {
        let target = &text[at + 2..];
        Some(target[..target.find(')')?].to_owned())
    })
    .collect()
}

/// A heading's anchor, as in GitHub and mdBook.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// The fault of a link in `page`, if it has one.
fn problem(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => page.to_owned(),
        file => page.parent()?.join(file),
    };
    if !path.exists() {
        return Some(format!("{target}: no such file"));
    }
    if fragment.is_empty() {
        return None;
    }
    let known = anchors(&fs::read_to_string(&path).ok()?);
    (!known.contains(fragment)).then(|| format!("{target}: no such heading"))
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    let mut problems = Vec::new();
    for page in pages() {
        for target in links(&fs::read_to_string(&page).unwrap()) {
            checked += 1;
            problems
                .extend(problem(&page, &target).map(|why| format!("{}: {why}", page.display())));
        }
    }
    assert!(checked > 50, "only {checked} links were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_dead_link_is_seen() {
    let page = root().join("README.md");
    let text = "[a](docs/absent.md) `[b](c)` [c](docs/ci.md#nowhere) [d](docs/ci.md#retention)";
    let found: Vec<_> = links(text)
        .iter()
        .filter_map(|target| problem(&page, target))
        .collect();
    assert_eq!(
        found,
        [
            "docs/absent.md: no such file",
            "docs/ci.md#nowhere: no such heading"
        ]
    );
}

#[test]
fn every_page_is_in_the_book() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<String> = links(&summary).into_iter().collect();
    let docs = root().join("docs");
    for page in pages() {
        let Ok(name) = page.strip_prefix(&docs) else {
            continue;
        };
        let name = name.to_str().unwrap();
        assert!(
            name == "SUMMARY.md" || listed.contains(name),
            "docs/SUMMARY.md does not list {name}"
        );
    }
}
