//! What images hold beside binaries of the workspace.

mod downloads;
mod parts;

use libtest_mimic::Trial;

/// The tests of this group.
pub fn trials() -> Vec<Trial> {
    let mut all = parts::trials();
    all.extend(downloads::trials());
    all
}
