//! Self-contained HTML files.

use crate::explain::Explained;
use crateyard_drive::build_record::BuildRecord;
use serde::Serialize;

const STYLE: &str = include_str!("assets/style.css");
const COMMON: &str = include_str!("assets/common.js");
const BUILD: &str = include_str!("assets/build.js");
const PLAN: &str = include_str!("assets/plan.js");

/// An image in the treemap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its platform.
    pub platform: String,
    /// Its layers.
    pub layers: Vec<Layer>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// The digest of its compressed bytes. Layers with the same digest are the same layer.
    pub digest: String,
    /// The number of its compressed bytes.
    pub bytes: u64,
}

/// Makes a page about a build: what was built, when and why, what came from a cache, and the
/// images' layers.
pub fn of_build(record: &BuildRecord, images: &[Image]) -> String {
    #[derive(Serialize)]
    struct Data<'a> {
        record: &'a BuildRecord,
        reasons: Vec<String>,
        images: &'a [Image],
    }
    let reasons = record.units.iter().map(|unit| unit.reason.to_string());
    let names: Vec<&str> = record
        .images
        .iter()
        .map(|image| image.name.as_str())
        .collect();
    let title = match names.is_empty() {
        true => "Build".to_owned(),
        false => format!("Build of {}", names.join(", ")),
    };
    let data = Data {
        record,
        reasons: reasons.collect(),
        images,
    };
    page(&title, &data, BUILD)
}

/// Makes a page about a plan: its units as a graph, each with an explanation.
pub fn of_plan(units: &[Explained]) -> String {
    page("Plan", &units, PLAN)
}

fn page(title: &str, data: &impl Serialize, script: &str) -> String {
    let title = escaped(title);
    let data = embedded(data);
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{STYLE}</style>
<body>
<h1>{title}</h1>
<main></main>
<script type="application/json" id="data">{data}</script>
<script>
{COMMON}{script}</script>
</body>
</html>
"#
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// Formats JSON for a script element, so that no text in it can end the element early.
fn embedded(data: &impl Serialize) -> String {
    let text = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    text.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, tests::plan};

    #[test]
    fn a_page_names_nothing_outside_of_itself() {
        let image = Image {
            name: "</script><script>alert(1)".into(),
            platform: "linux/amd64".into(),
            layers: Vec::new(),
        };
        let pages = [
            of_build(&BuildRecord::default(), &[image]),
            of_plan(&explain(&plan(), |_| None)),
        ];
        for page in pages {
            assert_eq!(page.matches("</script>").count(), 2);
            for outside in ["http:", "https:", " src=", "@import", "url("] {
                let found = page.replace("http://www.w3.org/2000/svg", "");
                assert!(!found.contains(outside), "the page has {outside:?}");
            }
        }
    }
}
