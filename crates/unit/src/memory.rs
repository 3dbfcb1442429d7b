//! Sources lie in memory, so that directories list their files in the same order everywhere.
//!
//! A build script that lists a directory of its package often writes down the names in the order of
//! the list. On a disk, the order follows hashes with a seed of the file system's own. In memory it
//! follows the order in which files were made, which is the archive's or that of names.
//! `sequoia-openpgp` 2.0.0 (`build.rs`, `tests.index.rs.inc`) showed it.
//!
//! The cell mounts the memory (`nix/cargo/units.nix`, `memory`). If it may not mount, it takes a
//! directory in `/dev/shm`, which can be too small. The cell then runs the unit again, with sources
//! on disk.

use std::ffi::CString;

/// The exit code that asks the cell for another run with sources on disk (`EX_TEMPFAIL`).
pub const FULL: u8 = 75;
/// The limit for the free bytes of a full memory.
const NEXT_TO_NOTHING: u64 = 1 << 20;

/// Whether one of the places has no memory left.
pub fn is_full(places: &[&str]) -> bool {
    places
        .iter()
        .any(|place| left(place).is_some_and(|bytes| bytes < NEXT_TO_NOTHING))
}

fn left(place: &str) -> Option<u64> {
    let place = CString::new(place).ok()?;
    // SAFETY: the string ends and outlives the call, which fills the structure if it gives 0.
    unsafe {
        let mut status: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(place.as_ptr(), &raw mut status) == 0)
            .then(|| status.f_bavail.saturating_mul(status.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_with_room_or_none_at_all_is_not_full() {
        assert!(!is_full(&["/dev", "/no/such/place"]));
    }
}
