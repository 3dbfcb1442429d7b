//! End-to-end tests on real tools: Nix, engines, readers.
//!
//! Run as `cargo run -p e2e -- [FILTER]`. A test that this machine can't run is reported as
//! ignored, with the reason. `--test-threads` says how many tests run at once.
// No code outside a program can reach its items, so `pub` means the same as `pub(crate)`.
#![allow(unreachable_pub)]

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

mod affected;
mod aptsources;
mod arm64;
mod bootstrap;
mod cache;
mod calls;
mod checkout;
mod checks;
mod compose;
mod driver;
mod engine;
mod explain;
mod fidelity;
mod first_image;
mod flake;
mod foreign;
mod hostile;
mod images;
mod init;
mod kept;
mod native;
mod nix;
mod npm;
mod plan_lock;
mod platforms;
mod precision;
mod privileges;
mod python;
mod reach;
mod reading;
mod rebuild;
mod registries;
mod release;
mod released;
mod reproducible;
mod rollout;
mod served;
mod statics;
mod steps;
mod toolchains;
mod tree;
mod trial;
mod trust;
mod versions;
mod watch;
mod ways;
mod workflows;
mod workspaces;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let clone = match checkout::InClone::new() {
        Ok(clone) => clone,
        Err(error) => {
            eprintln!("e2e: cannot clone this repository: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    // A test waits for a build of another test, for servers and for timeouts more than for a core.
    // Two tests for each core keep all cores busy.
    let cores = available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * cores);
    // Before a run has measured them, those that usually take longest come first.
    let mut trials: Vec<Trial> = arm64::trials()
        .into_iter()
        .chain(affected::trials())
        .chain(flake::trials())
        .chain(privileges::trials())
        .chain(cache::trials())
        .chain(precision::trials())
        .chain(bootstrap::trials())
        .chain(hostile::trials())
        .chain(images::trials())
        .chain(trust::trials())
        .chain(rebuild::trials())
        .chain(driver::trials())
        .chain(tree::trials())
        .chain(explain::trials())
        .chain(rollout::trials())
        .chain(workspaces::trials())
        .chain(reading::trials())
        .chain(reach::trials())
        .chain(registries::trials())
        .chain(fidelity::trials())
        .chain(toolchains::trials())
        .chain(platforms::trials())
        .chain(statics::trials())
        .chain(checks::trials())
        .chain(calls::trials())
        .chain(init::trials())
        .chain(first_image::trials())
        .chain(compose::trials())
        .chain(native::trials())
        .chain(aptsources::trials())
        .chain(steps::trials())
        .chain(foreign::trials())
        .chain(npm::trials())
        .chain(reproducible::trials())
        .chain(versions::trials())
        .chain(plan_lock::trials())
        .chain(ways::trials())
        .chain(workflows::trials())
        .chain(released::trials())
        .collect();
    watch::longest_first(&mut trials, |trial| trial.name().to_owned());
    watch::tell(Duration::from_secs(30));
    let conclusion = libtest_mimic::run(&arguments, trials);
    watch::print_slowest();
    if let Err(error) = watch::remember() {
        eprintln!("e2e: {error:#}");
    }
    drop(clone);
    conclusion.exit_code()
}
