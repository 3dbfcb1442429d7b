//! Shortens the messages of a failed command to a line of a table.

/// Beginnings of Nix's errors about a builder whose log has the error itself.
const OF_BUILDERS: [&str; 3] = [
    "error: builder for",
    "error: build of",
    "error: Cannot build",
];

/// Returns the error, and its deepest cause if the error only introduces it.
pub fn summary(said: &str) -> String {
    // Nix quotes the end of a builder's log with `>`.
    let lines = said
        .lines()
        .map(|line| line.trim().trim_start_matches('>').trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| line.to_lowercase().starts_with("error");
    let is_own = |line: &&str| is_error(line) && !OF_BUILDERS.iter().any(|it| line.starts_with(it));
    let own = lines.iter().position(is_own);
    let error = own.or_else(|| lines.iter().position(is_error));
    let Some(first) = error.or_else(|| lines.len().checked_sub(1)) else {
        return "it says nothing".to_owned();
    };
    let mut text = lines[first].to_owned();
    let rest = &lines[first + 1..];
    if let (true, Some(next)) = (text.ends_with(':'), rest.first()) {
        text = format!("{text} {next}");
    }
    match deepest(rest) {
        Some(cause) if !text.contains(cause) => format!("{text} … {cause}"),
        _ => text,
    }
}

/// Returns git's first complaint, or the line after the last `Caused by:`.
fn deepest<'l>(lines: &[&'l str]) -> Option<&'l str> {
    let complaint = lines.iter().find(|line| line.starts_with("fatal:"));
    let introduced = lines.iter().rposition(|line| *line == "Caused by:");
    let caused = introduced.and_then(|at| lines.get(at + 1));
    complaint.or(caused).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_deepest_cause() {
        let said = "note: x\nerror: `cargo fetch` failed in .: failed to get `a`\n\nCaused \
                    by:\n  unable to update b\n\nCaused by:\n  `git fetch` (exit status: \
                    128)\nfatal: no repository\nfatal: Could not read from remote repository.\n";
        let expected = "error: `cargo fetch` failed in .: failed to get `a` … fatal: no repository";
        assert_eq!(summary(said), expected);
        let said = "error: cannot read\n\nCaused by:\n  one\n\nCaused by:\n  two\n";
        assert_eq!(summary(said), "error: cannot read … two");
        assert_eq!(summary("error: these fail:\n  a\n"), "error: these fail: a");
        assert_eq!(summary("killed\n"), "killed");
        assert_eq!(summary(""), "it says nothing");
    }

    #[test]
    fn a_builders_own_error_comes_before_nixs() {
        let said = "error: builder for '/nix/store/x-plan.drv' failed with exit code 1;\n       \
                    last 3 log lines:\n       > error: failed to parse lock file\n       > \n\
                    \x20      > Caused by:\n       >   package `a` is missing\n\
                    \x20      For full logs, run 'nix log /nix/store/x-plan.drv'.\n";
        let expected = "error: failed to parse lock file … package `a` is missing";
        assert_eq!(summary(said), expected);
        let alone = "error: builder for '/nix/store/x-plan.drv' failed with exit code 1\n";
        assert_eq!(summary(alone), alone.trim());
    }
}
