//! Python environments that tests keep between runs.

use crate::release::cache;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Returns the directory of programs of an environment with the packages that a requirements file
/// lists.
pub fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    environment_with(name, requirements, "")
}

/// Returns the same, with more packages that are installed without what they depend on.
pub fn environment_with(name: &str, requirements: &str, alone: &str) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = cache(name)?;
    let programs = environment.join("bin");
    let installed = environment.join("requirements.txt");
    let all = format!("{requirements}{alone}");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == all) {
        return Ok(programs);
    }
    duct::cmd!("python3", "-m", "venv", &environment)
        .stdout_null()
        .run()?;
    let (wanted, pip) = (environment.join("wanted.txt"), programs.join("pip"));
    let wanted = wanted.to_string_lossy().into_owned();
    for (list, option) in [(requirements, None), (alone, Some("--no-deps"))] {
        fs::write(&wanted, list)?;
        let install = ["install", "--quiet", "--requirement", &wanted].into_iter();
        duct::cmd(&pip, install.chain(option))
            .stdout_null()
            .run()
            .with_context(|| format!("cannot install the packages of {}", environment.display()))?;
    }
    fs::write(&wanted, all)?;
    fs::rename(wanted, installed)?;
    Ok(programs)
}
