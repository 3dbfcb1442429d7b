//! Checks docs/images-toml.md: it explains every field of the schema, with its type and default,
//! and every example in it is valid.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crateyard_description::Description;
use crateyard_description::schema::{TABLES, Table};

const PAGE: &str = "docs/images-toml.md";

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(PAGE)).unwrap()
}

/// Returns the rows of the section of `table`. They map fields to types and defaults.
fn documented<'p>(page: &'p str, table: &Table) -> BTreeMap<&'p str, (&'p str, &'p str)> {
    let heading = format!("\n## `{}`\n", table.path);
    let start = page
        .find(&heading)
        .unwrap_or_else(|| panic!("{PAGE} has no section `{}`", table.path));
    let section = &page[start + heading.len()..];
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            let row = (cells.next()?, cells.next()?);
            let meaning = cells.next().unwrap_or("");
            assert!(
                meaning.len() > 5,
                "`{name}` of `{}` has no meaning",
                table.path
            );
            Some((name, row))
        })
        .collect()
}

#[test]
fn every_field_is_explained_and_nothing_else() {
    let page = page();
    for table in TABLES {
        if is_variant(table) {
            // The section refers to that of the image, so the two must have the same fields.
            assert!(page.contains(&format!("\n## `{}`\n", table.path)));
            continue;
        }
        let said = documented(&page, table);
        let is: BTreeMap<&str, (&str, &str)> = table
            .fields
            .iter()
            .map(|field| (field.name, (field.kind, field.default)))
            .collect();
        assert_eq!(said, is, "{PAGE}, section `{}`", table.path);
    }
}

fn is_variant(table: &Table) -> bool {
    table.path == "images.NAME.variants.NAME"
}

#[test]
fn a_variant_has_the_fields_of_an_image() {
    let names =
        |table: &Table| -> Vec<&str> { table.fields.iter().map(|field| field.name).collect() };
    let image = TABLES
        .iter()
        .find(|table| table.path == "images.NAME")
        .unwrap();
    let variant = TABLES.iter().find(|table| is_variant(table)).unwrap();
    let mut expected = names(image);
    expected.retain(|name| *name != "variants");
    assert_eq!(names(variant), expected);
}

/// Returns the TOML examples of the page.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// Completes an example with the fields that it leaves out.
fn completed(example: &str) -> String {
    let mut text = String::new();
    if !example.contains("version =") {
        text.push_str("version = 1\n");
    }
    text.push_str(example);
    if !example.contains("[debian]") {
        text.push_str("[debian]\nsuites = [\"bookworm\"]\n");
        text.push_str("[debian.sets.toolchain]\npackages = [\"rustc-web\"]\n");
        text.push_str("[debian.sets.base]\npackages = [\"libc6\"]\n");
    }
    if !example.contains("[images.") {
        text.push_str("[images.gateway]\nbinaries = [\"gateway\"]\n");
    }
    text
}

#[test]
fn every_example_is_right() {
    let page = page();
    let examples = examples(&page);
    assert!(examples.len() > 10);
    for example in examples {
        if let Err(problems) = Description::parse(&completed(example), PAGE) {
            panic!("{problems}");
        }
    }
}

#[test]
fn every_field_is_in_an_example() {
    let page = page();
    let examples = examples(&page).join("\n");
    for table in TABLES.iter().filter(|table| !is_variant(table)) {
        for field in table.fields {
            let name = field.name;
            let forms = [
                format!("{name} = "),
                format!("[{name}"),
                format!(".{name}."),
                format!(".{name}]]"),
            ];
            let shown = forms.iter().any(|form| examples.contains(form));
            assert!(shown, "no example has `{name}` of `{}`", table.path);
        }
    }
}
