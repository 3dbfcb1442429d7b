//! Any images.toml is read, or refused with a position. Nothing panics.

use crateyard_description::{Description, Sources, Targets, Workspace};
use crateyard_testing::mutations::survive;

const TEXT: &str = include_str!("normalize/images.toml");
const TARGETS: &str = include_str!("normalize/targets.json");
const FILES: &str = include_str!("normalize/files.txt");
/// A minimal image: damage leaves more of it intact.
const SMALL: &str = "version = 1\n\n[images.gateway]\nbinaries = [\"gateway\"]\n";

#[test]
fn nothing_panics_and_every_problem_has_a_place() {
    let mut workspace = Workspace::new(Targets::from_json(TARGETS).unwrap());
    workspace.sources = Sources::listed(FILES);
    let whole = [TEXT, SMALL].map(Vec::from);
    survive("images.toml", &whole, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let outcome =
            Description::parse(&text, "images.toml").and_then(|it| it.normalize(&workspace));
        match outcome {
            Ok(normal) => {
                assert!(normal.to_json().ends_with("}\n"));
                true
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason: {text}");
                let lines = text.split('\n').count();
                assert!(
                    problems
                        .iter()
                        .all(|problem| (1..=lines).contains(&problem.position().0))
                );
                assert!(!problems.to_string().is_empty());
                false
            }
        }
    });
}
