//! What images hold beside binaries of the workspace.

mod parts;

use libtest_mimic::Trial;

/// The tests of this group.
pub fn trials() -> Vec<Trial> {
    parts::trials()
}
