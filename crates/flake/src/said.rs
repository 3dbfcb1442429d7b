//! Finds the cause of a failure in Nix's messages on standard error.

/// Prefixes of lines that report Nix's activity or how to see more of it, not errors.
const NOISE: [&str; 9] = [
    "(use '--show-trace'",
    "(stack trace truncated",
    "warning:",
    "building ",
    "copying ",
    "fetching ",
    "querying ",
    "these ",
    "this derivation",
];

/// Prefixes of complaints from other programs that Nix calls, such as git and ssh.
const COMPLAINTS: [&str; 4] = ["fatal:", "ssh:", "remote:", "Host key"];

/// Returns the cause of a failure: complaints of git and ssh, and then the whole last error. Newer
/// versions of Nix print a trace before the error, and all versions add a remark about
/// `--show-trace`.
pub fn cause(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let is_error = |line: &&str| {
        let rest = line.trim_start().strip_prefix("error:");
        rest.is_some_and(|rest| !rest.trim().is_empty())
    };
    let Some(first) = lines.iter().rposition(is_error) else {
        let told: Vec<&str> = lines.into_iter().filter(|line| is_told(line)).collect();
        return told.join("\n").trim().to_owned();
    };
    let complained = lines[..first].iter().map(|line| line.trim());
    let complaints = complained.filter(|line| {
        let mut known = COMPLAINTS.iter();
        known.any(|beginning| line.starts_with(beginning))
    });
    let margin = lines[first].len() - lines[first].trim_start().len();
    let error = lines[first..].iter().filter(|line| is_told(line));
    let error = error.map(|line| line.get(margin..).unwrap_or(line.trim_start()));
    let told: Vec<&str> = complaints.chain(error).collect();
    let told = told.join("\n");
    told.trim().trim_start_matches("error: ").to_owned()
}

fn is_told(line: &str) -> bool {
    let line = line.trim_start();
    !NOISE.iter().any(|noise| line.starts_with(noise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_whole_and_without_its_trace() {
        let old = "warning: Git tree '/w' is dirty\nerror: opening file '/w/Cargo.lock': No such \
                   file or directory\n\n       at /w/flake.nix:4:5:\n\n            3| \
                   x\n            4| y\n(use '--show-trace' to show detailed location \
                   information)\n";
        let expected = "opening file '/w/Cargo.lock': No such file or directory\n\n       at \
                        /w/flake.nix:4:5:\n\n            3| x\n            4| y";
        assert_eq!(cause(old), expected);
        let new = "error:\n       … while calling the 'throw' builtin\n         at \
                   /w/flake.nix:4:5:\n       (stack trace truncated; use '--show-trace' to show \
                   the full, detailed trace)\n\n       error: no lock\n       add one\n";
        assert_eq!(cause(new), "no lock\nadd one");
    }

    #[test]
    fn git_says_itself_what_is_wrong() {
        let said = "fetching Git repository 'file:///gone'\nfatal: '/gone' does not appear to be a \
                    git repository\nerror: program 'git' failed with exit code 128\n(use \
                    '--show-trace' to show detailed location information)\n";
        let expected = "fatal: '/gone' does not appear to be a git repository\nerror: program \
                        'git' failed with exit code 128";
        assert_eq!(cause(said), expected);
    }

    #[test]
    fn without_an_error_all_is_told() {
        assert_eq!(cause("killed\n"), "killed");
        assert_eq!(cause(""), "");
    }
}
