//! Prints the messages of Nix, without repetitions.
//!
//! Nix warns of a changed repository each time it reads the flake: several times in one call, and
//! a command may call it several times.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The warnings that this process has printed.
static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Prints lines from Nix to standard error.
pub(crate) fn print(said: &str) {
    let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    crateyard_terminal::log(&news(said, &mut printed));
}

/// Leaves out the warnings that were printed before, and adds the others to them.
fn news(said: &str, printed: &mut BTreeSet<String>) -> String {
    let is_news = |line: &&str| {
        let line = line.trim_end();
        let warns = line.contains("Git tree '") && line.ends_with("is dirty");
        !warns || printed.insert(line.to_owned())
    };
    said.split_inclusive('\n').filter(is_news).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_called_dirty_once() {
        let mut printed = BTreeSet::new();
        let mut print = |said: &str| news(said, &mut printed);
        let (a, b) = (
            "warning: Git tree '/a' is dirty\n",
            "warning: Git tree '/b' is dirty\n",
        );
        assert_eq!(print(&format!("{a}x\n{a}x\n")), format!("{a}x\nx\n"));
        assert_eq!(print(&format!("{b}{a}")), b);
        assert_eq!(print("error: y\n\n"), "error: y\n\n");
    }
}
