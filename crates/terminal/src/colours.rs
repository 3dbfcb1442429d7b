//! Decides whether logs keep their colours.
//!
//! Compilers in a build can't know where their output goes, so it always has colours. They are for
//! terminals, and for the consoles of CI systems. <https://no-color.org>

use std::borrow::Cow;
use std::io::{IsTerminal, stderr};
use std::sync::LazyLock;

use crate::commands::SYSTEMS;

/// Forbids colours.
const FORBIDS: &str = "NO_COLOR";

/// What most CI systems set. Their consoles show colours.
const CI: &str = "CI";

/// Whether standard error shows colours.
static ARE_SHOWN: LazyLock<bool> = LazyLock::new(|| {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    are_shown(is_set, stderr().is_terminal())
});

fn are_shown(is_set: impl Fn(&str) -> bool, is_terminal: bool) -> bool {
    let is_console = || is_set(CI) || SYSTEMS.into_iter().any(&is_set);
    !is_set(FORBIDS) && (is_terminal || is_console())
}

/// Removes the colours of a clean log, unless standard error shows them.
pub(crate) fn shown(log: Cow<'_, str>) -> Cow<'_, str> {
    match *ARE_SHOWN || !log.contains('\u{1b}') {
        true => log,
        false => Cow::Owned(removed(&log)),
    }
}

/// Removes colours (`ESC [ 1 ; 31 m`), which are the only escape sequences in a clean log.
fn removed(log: &str) -> String {
    let mut parts = log.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_consoles_show_colours_unless_somebody_forbids_them() {
        let shown = |set: &[&str], terminal| are_shown(|name| set.contains(&name), terminal);
        assert!(shown(&[], true));
        assert!(!shown(&[], false));
        assert!(!shown(&["NO_COLOR"], true));
        for system in ["CI", "GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"] {
            assert!(shown(&[system], false), "{system}");
            assert!(!shown(&[system, "NO_COLOR"], false), "{system}");
        }
    }

    #[test]
    fn only_colours_are_removed() {
        let log = "\u{1b}[1;31merror\u{1b}[0m: a\u{1b}]0;m\u{7}\n\u{1b}[2Jmm\u{1b}[m\n";
        let clean = crateyard_text::clean_log(log);
        assert_eq!(removed(&clean), "error: a\\u{1b}]0;m\\u{7}\n\\u{1b}[2Jmm\n");
    }
}
