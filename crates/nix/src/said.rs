//! Finds the cause of a failure in Nix's messages on standard error.
//!
//! Programs report their progress there too, and their reason is neither the first line nor the
//! last. So no error may quote one line, or all of them.

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
    let margin = lines[first].len() - lines[first].trim_start().len();
    let error = lines[first..].iter().filter(|line| is_told(line));
    let error = error.map(|line| line.get(margin..).unwrap_or(line.trim_start()));
    let told: Vec<&str> = complaints(&lines[..first])
        .into_iter()
        .chain(error)
        .collect();
    let told = told.join("\n");
    told.trim().trim_start_matches("error: ").to_owned()
}

/// Returns the complaints of git and ssh among the messages of a program that calls them, each
/// once: the program may have tried several times.
pub fn complaints<'l>(lines: &[&'l str]) -> Vec<&'l str> {
    let mut found = Vec::new();
    for line in lines.iter().map(|line| line.trim()) {
        let mut known = COMPLAINTS.iter();
        if known.any(|beginning| line.starts_with(beginning)) && !found.contains(&line) {
            found.push(line);
        }
    }
    found
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

    /// A web server's answer follows Nix's error, and is part of it.
    #[test]
    fn a_failed_download_is_told_with_its_address() {
        let said = "warning: error: unable to download 'https://x.example/a': HTTP error 503; \
                    retrying in 250 ms\nerror: unable to download 'https://x.example/a': HTTP \
                    error 503\n\n       response body:\n\n       <html>\n";
        let expected = "unable to download 'https://x.example/a': HTTP error 503\n\n       \
                        response body:\n\n       <html>";
        assert_eq!(cause(said), expected);
    }

    #[test]
    fn a_complaint_is_told_once() {
        let lines = ["fatal: gone", "retrying", "  fatal: gone", "ssh: refused"];
        assert_eq!(complaints(&lines), ["fatal: gone", "ssh: refused"]);
    }

    #[test]
    fn without_an_error_all_is_told() {
        assert_eq!(cause("killed\n"), "killed");
        assert_eq!(cause(""), "");
    }
}
