//! `[parts.NAME]`: parts that npm makes from a `package-lock.json`. nix/npm/part.nix reads the same
//! fields.

use super::{accept, report_repeated};
use crate::model::NpmPart;
use crate::reader::Fields;
use crate::value;

/// The fields that only apply to parts that npm makes.
pub(super) const FIELDS: [&str; 5] = ["build", "output", "scripts", "ignored-scripts", "dev"];

pub(super) fn read(fields: &Fields) -> Option<NpmPart> {
    let (reader, place) = (fields.reader, &fields.place);
    let npm = fields.string("npm")?;
    accept(reader, &npm, value::workspace_path(npm.get_ref()));
    let build = fields.strings("build");
    let output = fields.string("output");
    if let Some(output) = &output {
        accept(reader, output, value::inner_path(output.get_ref()));
    }
    let lacks = match (&build, &output) {
        (Some(build), _) if build.is_empty() => Some("a command for `build`"),
        (Some(_), None) => Some("`output`, which says what `build` makes"),
        (None, Some(_)) => Some("`build`, which makes its `output`"),
        _ => None,
    };
    if let Some(lacks) = lacks {
        let problem = reader.problem(fields.span(), format!("{place} lacks {lacks}"));
        let help =
            "add `build = [\"npm\", \"run\", \"build\"]` and `output = \"dist\"`, or neither";
        reader.report(problem.help(help));
    }
    let scripts = packages(fields, "scripts");
    let ignored = packages(fields, "ignored-scripts");
    for both in ignored.iter().filter(|name| scripts.contains(name)) {
        let message = format!("`{both}` is in both `scripts` and `ignored-scripts` of {place}");
        reader.report(
            reader
                .problem(fields.span(), message)
                .help("drop one of them"),
        );
    }
    let _ = fields.boolean("dev");
    Some(NpmPart {
        directory: npm.into_inner(),
    })
}

fn packages(fields: &Fields, name: &str) -> Vec<String> {
    let names = fields.strings(name).unwrap_or_default();
    for name in &names {
        accept(fields.reader, name, package_name(name.get_ref()));
    }
    report_repeated(fields, name, &names);
    super::plain(names)
}

/// Checks the name of an npm package:
/// <https://docs.npmjs.com/cli/configuring-npm/package-json#name>
fn package_name(text: &str) -> Result<(), String> {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric() || "_~".contains(c))
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c))
    };
    let fits = match text.strip_prefix('@').map(|rest| rest.split_once('/')) {
        None => is_word(text),
        Some(Some((scope, name))) => is_word(scope) && is_word(name),
        Some(None) => false,
    };
    match fits {
        true => Ok(()),
        false => Err("is not the name of an npm package, such as `esbuild` or `@swc/core`".into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::Description;

    fn read(fields: &str) -> Result<Description, String> {
        let text = format!("version = 1\n[parts.web]\n{fields}\n[images]\n");
        Description::parse(&text, "images.toml").map_err(|problems| problems.to_string())
    }

    #[test]
    fn parts_are_read_and_bring_their_set() {
        let described = read(
            "npm = \"ui\"\nbuild = [\"npm\", \"run\", \"build\"]\noutput = \"dist\"\n\
             scripts = [\"@swc/core\"]",
        )
        .expect("a description");
        assert_eq!(described.npm_parts["web"].directory, "ui");
        assert!(described.package_sets().contains_key("npm"));
        let without = Description::parse("version = 1\n[images]\n", "images.toml");
        let without = without.expect("a description");
        assert!(!without.package_sets().contains_key("npm"));
    }

    #[test]
    fn wrong_parts_are_refused() {
        for (fields, expected) in [
            ("", "made by `npm` or from a `download`, and this has none"),
            ("npm = \"../ui\"", "leaves the workspace"),
            ("npm = \"ui\"\nbuild = [\"x\"]", "lacks `output`"),
            ("npm = \"ui\"\noutput = \"dist\"", "lacks `build`"),
            (
                "npm = \"ui\"\nbuild = []\noutput = \"dist\"",
                "lacks a command",
            ),
            (
                "npm = \"ui\"\nbuild = [\"x\"]\noutput = \"../dist\"",
                "leads out",
            ),
            (
                "npm = \"ui\"\nscripts = [\"--x\"]",
                "name of an npm package",
            ),
            (
                "npm = \"ui\"\nscripts = [\"a\"]\nignored-scripts = [\"a\"]",
                "in both",
            ),
        ] {
            let error = read(fields).expect_err(fields);
            assert!(error.contains(expected), "{fields}: {error}");
        }
    }
}
