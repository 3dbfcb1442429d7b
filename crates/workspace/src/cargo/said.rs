//! Finds the cause of a failure in Cargo's messages on standard error.

use crateyard_nix::said::complaints;

/// The width of the right-aligned word with which Cargo reports progress: `    Updating ...`.
const STATUS: usize = 12;

/// Returns the cause of a failure: Cargo's whole error, which names its causes down to the first,
/// and then the complaints of git and ssh, which Cargo calls and only quotes by their exit code.
/// Progress and warnings come before them, and are left out.
#[must_use]
pub fn cause(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let is_error = |line: &&str| line.starts_with("error: ") || line.starts_with("error[");
    let Some(first) = lines.iter().position(is_error) else {
        let told = lines.iter().filter(|line| !is_status(line));
        let told: Vec<&str> = told.copied().collect();
        return told.join("\n").trim().to_owned();
    };
    let error = lines[first..].join("\n");
    let error = error.trim().trim_start_matches("error: ");
    let told = std::iter::once(error).chain(complaints(&lines[..first]));
    told.collect::<Vec<_>>().join("\n")
}

fn is_status(line: &str) -> bool {
    let word = line.trim_start().split(' ').next().unwrap_or_default();
    let end = line.len() - line.trim_start().len() + word.len();
    end == STATUS && word.starts_with(|it: char| it.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_no_cause() {
        let said = "    Updating crates.io index\n    Blocking waiting for file lock on package \
                    cache\nwarning: unused manifest key\nerror: failed to select a version for \
                    the requirement `serde = \"^9\"`\ncandidate versions found which didn't \
                    match: 1.0.219\n\nCaused by:\n  why\n";
        let expected = "failed to select a version for the requirement `serde = \"^9\"`\n\
                        candidate versions found which didn't match: 1.0.219\n\nCaused by:\n  why";
        assert_eq!(cause(said), expected);
    }

    #[test]
    fn git_is_quoted_once_after_cargo() {
        let tried = "fatal: '/gone' does not appear to be a git repository\nwarning: spurious \
                     network error (3 tries remaining): `git fetch` (exit status: 128)\n";
        let error = "error: failed to get `a` as a dependency of package `b`\n\nCaused by:\n  \
                     process didn't exit successfully: `git fetch` (exit status: 128)\n";
        let said = format!(
            "    Updating git repository `file:///gone`\n{}{error}",
            tried.repeat(3)
        );
        let expected = "failed to get `a` as a dependency of package `b`\n\nCaused by:\n  process \
                        didn't exit successfully: `git fetch` (exit status: 128)\nfatal: '/gone' \
                        does not appear to be a git repository";
        assert_eq!(cause(&said), expected);
    }

    #[test]
    fn without_an_error_all_but_progress_is_told() {
        assert_eq!(
            cause("    Updating crates.io index\nAborted (core dumped)\n"),
            "Aborted (core dumped)"
        );
        assert_eq!(cause("  Downloaded a v1\n"), "");
        assert_eq!(cause("  Indented for a reason\n"), "Indented for a reason");
    }
}
