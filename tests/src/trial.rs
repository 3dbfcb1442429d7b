//! A test as its runner takes it.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// A test of that name; of an error the whole chain is shown.
pub fn trial(name: String, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(|error| failed(&error)))
}

/// The same where the machine has all of `tools`; where it lacks one the test is skipped, and the reason said.
pub fn trial_with(name: String, tools: &[&str], run: fn() -> Result<()>) -> Trial {
    let missing = tools.iter().find(|tool| which::which(tool).is_err());
    if let Some(tool) = missing {
        println!("SKIPPED: {name}: {tool} is not installed");
    }
    trial(name, run).with_ignored_flag(missing.is_some())
}

/// An error as the runner shows it.
pub fn failed(error: &anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
