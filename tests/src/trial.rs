//! Wraps tests for the runner.

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

/// Makes a test that shows the whole chain of errors if it fails.
pub fn trial(name: String, run: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || run().map_err(|error| failed(&error)))
}

/// Makes a test that needs `tools`. If one is missing, the test is skipped with the reason.
pub fn trial_with(name: String, tools: &[&str], run: fn() -> Result<()>) -> Trial {
    let missing = tools.iter().find(|tool| which::which(tool).is_err());
    if let Some(tool) = missing {
        println!("SKIPPED: {name}: {tool} is not installed");
    }
    trial(name, run).with_ignored_flag(missing.is_some())
}

/// Makes a test that may find out that this machine can't run it. It then counts as skipped.
pub fn ignorable(name: String, run: impl FnOnce() -> Result<Completion> + Send + 'static) -> Trial {
    let title = name.clone();
    Trial::ignorable_test(title, move || {
        let completion = run().map_err(|error| failed(&error))?;
        if let Completion::Ignored { reason } = &completion {
            let reason = reason.as_deref().unwrap_or("this machine can't run it");
            println!("SKIPPED: {name}: {reason}");
        }
        Ok(completion)
    })
}

/// Makes an error for the runner.
pub fn failed(error: &anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
