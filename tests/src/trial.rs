//! Wraps tests for the runner.

use crate::watch;
use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

/// Makes a test that shows the whole chain of errors if it fails.
pub fn trial(name: String, run: fn() -> Result<()>) -> Trial {
    ignorable(name, move || run().map(|()| Completion::Completed))
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
        let (completion, seconds) = watch::time(&name, run);
        println!("{seconds:>7.1} s  {name}");
        let completion = completion.map_err(|error| failed(&error));
        if let Ok(Completion::Ignored { reason }) = &completion {
            let reason = reason.as_deref().unwrap_or("this machine can't run it");
            println!("SKIPPED: {name}: {reason}");
        }
        completion
    })
}

/// Makes an error for the runner.
fn failed(error: &anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
