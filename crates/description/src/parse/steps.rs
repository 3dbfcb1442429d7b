//! Reads steps: commands whose changes become layers of an image.

use crate::model::{Step, StepPlace};
use crate::reader::Fields;
use crate::{schema, value};

/// Reads `steps` of an image.
pub(super) fn read(image: &Fields) -> Option<Vec<Step>> {
    super::tables(image, "steps", &schema::STEP, read_step)
}

fn read_step(fields: &Fields) -> Option<Step> {
    let run = read_run(fields);
    let place = super::choice(fields, "after", &["files", "binaries"]);
    let workdir = fields
        .string("workdir")
        .map(|path| super::image_path(fields.reader, path).into_inner());
    let environment = super::read_map(fields, "environment", value::variable);
    Some(Step {
        run: run?,
        place: match place.as_deref() {
            Some("binaries") => StepPlace::Binaries,
            _ => StepPlace::Files,
        },
        workdir: workdir.unwrap_or_else(|| "/".to_owned()),
        environment: environment.unwrap_or_default(),
    })
}

/// Reads the command: at least a program's name, and only words that can be passed to a program.
fn read_run(fields: &Fields) -> Option<Vec<String>> {
    const EXAMPLE: &str = "[\"/usr/sbin/ldconfig\"]";
    let words = fields.required("run", fields.strings("run"), EXAMPLE)?;
    if words.first().is_none_or(|word| word.get_ref().is_empty()) {
        let span = fields.value("run").map_or(0..0, toml::Spanned::span);
        let message = format!("{} names no program", fields.place_of("run"));
        let problem = fields.reader.problem(span, message);
        let help = "begin with a program, such as \"/bin/sh\"";
        fields.reader.report(problem.help(help));
        return None;
    }
    Some(super::plain(words))
}

#[cfg(test)]
mod tests {
    use crate::Description;
    use crate::model::StepPlace;

    fn read(fields: &str) -> Result<Description, String> {
        let text =
            format!("version = 1\n[images.app]\ntags = [\"1\"]\n[[images.app.steps]]\n{fields}\n");
        Description::parse(&text, "images.toml").map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_step_has_defaults() {
        let described = read("run = [\"/usr/sbin/ldconfig\"]").expect("a description");
        let steps = described.images["app"].fields.steps.clone();
        let [step] = &steps.expect("steps")[..] else {
            panic!("not one step");
        };
        assert_eq!(step.run, ["/usr/sbin/ldconfig"]);
        assert_eq!((step.place, step.workdir.as_str()), (StepPlace::Files, "/"));
    }

    #[test]
    fn wrong_steps_are_refused() {
        for (fields, expected) in [
            ("", "has no `run`"),
            ("run = []", "names no program"),
            ("run = [\"\"]", "names no program"),
            ("run = \"ldconfig\"", "must be an array of strings"),
            ("run = [\"a\\u0000b\"]", "has a zero byte"),
            (
                "run = [\"a\"]\nafter = \"binary\"",
                "the possible ones are: `files`, `binaries`",
            ),
            ("run = [\"a\"]\nworkdir = \"srv\"", "absolute"),
            ("run = [\"a\"]\nenvironment = { \"A=B\" = \"\" }", "A=B"),
            ("run = [\"a\"]\nnetwork = true", "unknown key `network`"),
        ] {
            let error = read(fields).expect_err(fields);
            assert!(error.contains(expected), "{fields}: {error}");
        }
    }
}
