//! Manifests that nobody writes by accident: the memory and the time for them grow with their size.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crateyard_deploy::manifest::{DeployManifest, Names, Pushed, Syntax};
use crateyard_testing::mutations::{is_bounded, survive};

/// The size of the texts, in bytes.
const SIZE: usize = 4 << 20;
/// Far more than a slow machine needs for a text of this size, and far less than a quadratic search
/// takes.
const TIME: Duration = Duration::from_secs(60);

fn names() -> Names {
    let mapping = BTreeMap::from([("docker.io/team/app".to_owned(), "app".to_owned())]);
    Names::new(&["app".to_owned()], &mapping).unwrap()
}

fn pushed() -> BTreeMap<String, Pushed> {
    let image = Pushed {
        repository: "registry.example/team/app".parse().unwrap(),
        tag: "0123456789ab".to_owned(),
        digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
    };
    BTreeMap::from([("app".to_owned(), image)])
}

/// Reads a text and resolves it. It may be refused, but must not take long.
fn read(text: &str, syntax: Syntax) -> Result<(), String> {
    let begin = Instant::now();
    let read = DeployManifest::parse(text, syntax, &names());
    let resolved = read.and_then(|manifest| manifest.resolve(&pushed()));
    assert!(begin.elapsed() < TIME, "{:?}", begin.elapsed());
    resolved.map(drop).map_err(|error| error.to_string())
}

/// Repeats a line up to the size of the texts, after a beginning.
fn lines(beginning: &str, line: &str) -> String {
    beginning.to_owned() + &line.repeat((SIZE - beginning.len()) / line.len())
}

fn refused(text: &str, why: &str) {
    let said = read(text, Syntax::Yaml).unwrap_err();
    assert!(said.contains(why), "{said}");
    assert!(said.len() < 1_000, "{} bytes are said", said.len());
}

#[test]
fn aliases_of_a_long_text_are_not_copies() {
    if !is_bounded("aliases_of_a_long_text_are_not_copies") {
        return;
    }
    let long = "x".repeat(SIZE / 2);
    for alias in ["- *a\n", "- image: *a\n", "- *a : 1\n"] {
        let few = alias.repeat(100_000);
        read(&format!("- &a {long}\n{few}"), Syntax::Yaml).unwrap();
    }
}

#[test]
fn values_nesting_and_places_are_limited() {
    if !is_bounded("values_nesting_and_places_are_limited") {
        return;
    }
    refused(&lines("", "- a\n"), "500000 values");
    // The parser itself limits brackets.
    for (open, why) in [
        ("[", "recursion limit"),
        ("{a: ", "recursion limit"),
        ("- ", "200 deep"),
    ] {
        refused(&lines("", open), why);
    }
    refused(&lines("a: |\n", "  crateyard://app\n"), "100000 places");
    refused(&lines("", "- crateyard://app\n"), "100000 places");
    let said = read(&lines("", "Image=crateyard://app\n"), Syntax::Unit).unwrap_err();
    assert!(said.contains("100000 places"), "{said}");
    let said = read(&lines("Image=", "crateyard://app,"), Syntax::Unit).unwrap_err();
    assert!(said.contains("100000 places"), "{said}");
}

#[test]
fn the_search_takes_time_in_proportion_to_the_text() {
    // As many as the limits allow, each with values that the search looks for beside it.
    let images = "- {repository: crateyard://app, tag: a, digest: x}\n".repeat(50_000);
    read(&images, Syntax::Yaml).unwrap();
    let one = "  repository: crateyard://app\n".repeat(100_000);
    read(&format!("a:\n  tag: x\n{one}"), Syntax::Yaml).ok();
    let merged = "a: &a {repository: crateyard://app, tag: x}\n";
    let merging = "b: {<<: *a, other: 1}\n".repeat(50_000);
    read(&format!("{merged}{merging}"), Syntax::Yaml).ok();
    let mentions = "crateyard://app ".repeat(90_000);
    read(&format!("a: \"{mentions}\"\n"), Syntax::Yaml).unwrap();
    read(&format!("Exec={mentions}\n"), Syntax::Unit).unwrap();
}

#[test]
fn ten_thousand_damaged_manifests_do_no_harm() {
    let yaml = "# app\na: &a {repository: crateyard://app, tag: \"v1\"}\nb:\n  <<: *a\n  c: [1, \
                'crateyard://app']\n---\nimage: team/app:1\nscript: |\n  run \
                crateyard://app\n";
    let json = r#"{"spec": {"containers": [
        {"image": "crateyard://app", "args": ["\u00e4", 1e9, null]}]}}"#;
    let unit = "[Container]\nImage=crateyard://app\n# Image=\nExec=a crateyard://app:1 \\\n  b\n";
    let whole = [yaml, json].map(Vec::from);
    survive("manifests", &whole, |bytes| is_read(bytes, Syntax::Yaml));
    survive("units", &[unit.into()], |bytes| {
        is_read(bytes, Syntax::Unit)
    });
}

fn is_read(bytes: &[u8], syntax: Syntax) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let read = DeployManifest::parse(&text, syntax, &names());
    read.is_ok_and(|manifest| manifest.resolve(&pushed()).is_ok())
}
