//! A test as its runner takes it.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// A test of that name; of an error the whole chain is shown.
pub fn trial(name: String, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(|error| failed(&error)))
}

/// An error as the runner shows it.
pub fn failed(error: &anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
