//! Python environments that tests keep between runs.

use crate::release::cache;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Returns the directory of programs of an environment with the packages that a requirements file
/// lists.
pub fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = cache(name)?;
    let programs = environment.join("bin");
    let installed = environment.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == requirements) {
        return Ok(programs);
    }
    duct::cmd!("python3", "-m", "venv", &environment)
        .stdout_null()
        .run()?;
    let wanted = environment.join("wanted.txt");
    fs::write(&wanted, requirements)?;
    let pip = programs.join("pip");
    duct::cmd!(pip, "install", "--quiet", "--requirement", &wanted)
        .stdout_null()
        .run()
        .with_context(|| format!("cannot install the packages of {}", environment.display()))?;
    fs::rename(wanted, installed)?;
    Ok(programs)
}
