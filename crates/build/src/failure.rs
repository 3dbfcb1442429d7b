//! How a command ends that failed.

use crateyard_terminal as text;

/// The exit code that shells report for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

/// Returns the exit code for an error of a build.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(crateyard_drive::Error::Interrupted) => INTERRUPTED,
        _ => 1,
    }
}

/// Prints an error with its causes and remedies.
pub fn say(error: &anyhow::Error) {
    text::say("error", &describe(error));
}

/// What begins a remedy, on a line of its own at the end of an error's text.
const REMEDY: &str = "\n  try: ";

/// Formats an error and its causes, and then the remedies. Leaves out causes that the text of an
/// error already quotes.
fn describe(error: &anyhow::Error) -> String {
    let (mut description, mut remedies) = (String::new(), String::new());
    for text in error.chain().map(ToString::to_string) {
        let at = text.find(REMEDY).unwrap_or(text.len());
        let (cause, remedy) = text.split_at(at);
        if !description.contains(cause) {
            if !description.is_empty() {
                description += ": ";
            }
            description += cause;
        }
        if !remedies.contains(remedy) {
            remedies += remedy.trim_end();
        }
    }
    description.trim_end().to_owned() + &remedies
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context;

    use super::*;

    #[test]
    fn remedies_come_last() {
        let error = anyhow::anyhow!("git: fatal\n\n  try: c\n").context("b\n  try: d\n       e");
        let error = error.context("a").context("a\n  try: d\n       e");
        assert_eq!(
            describe(&error),
            "a: b: git: fatal\n  try: d\n       e\n  try: c"
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = crateyard_oci::Layout::open(Path::new("/nonexistent"))
            .map(drop)
            .context("cannot push")
            .unwrap_err();
        let cause = error.root_cause().to_string();
        let description = describe(&error);
        assert!(description.starts_with("cannot push: "), "{description}");
        assert_eq!(description.matches(&cause).count(), 1, "{description}");
    }

    #[test]
    fn an_interrupt_has_the_code_that_shells_report() {
        let interrupted = anyhow::Error::new(crateyard_drive::Error::Interrupted);
        assert_eq!(exit_code(&interrupted.context("cannot build")), 130);
        assert_eq!(exit_code(&anyhow::anyhow!("cannot build")), 1);
    }
}
