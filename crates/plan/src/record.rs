//! Records the arguments and environment of a process that Cargo started.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One process that Cargo started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The program's name, then its arguments.
    pub argv: Vec<String>,
    /// The variables that Cargo itself set.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: String,
}

/// The variable that names the directory of records. If it is set, this program is a stand-in.
pub const DIRECTORY: &str = "CRATEYARD_RECORDS";

/// The variable for the settings of the C library.
/// <https://www.gnu.org/software/libc/manual/html_node/Tunables.html>
pub(crate) const TUNABLES: &str = "GLIBC_TUNABLES";

/// Variables that the planner sets itself, or that concern the machine and not the unit.
const NOT_CARGOS: [&str; 19] = [
    DIRECTORY,
    TUNABLES,
    "CARGO_HOME",
    "CARGO_INCREMENTAL",
    "CARGO_MAKEFLAGS",
    "HOME",
    "LANG",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "PATH",
    "PWD",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "RUST_RECURSION_COUNT",
    "SHLVL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

impl Record {
    /// Records the calling process.
    ///
    /// # Errors
    /// Fails if an argument or a variable is not UTF-8.
    pub(crate) fn of_this_process() -> Result<Self> {
        let argv = std::env::args_os()
            .map(|arg| {
                arg.into_string()
                    .map_err(|arg| anyhow::anyhow!("{arg:?} is not UTF-8"))
            })
            .collect::<Result<Vec<_>>>()?;
        let env = std::env::vars()
            .filter(|(name, _)| !NOT_CARGOS.contains(&name.as_str()))
            .collect();
        let cwd = std::env::current_dir()?.to_string_lossy().into_owned();
        Ok(Self { argv, env, cwd })
    }

    /// Writes the record to a file of its own in `directory`.
    ///
    /// # Errors
    /// Fails if the file can't be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(format!("{}.json", std::process::id()));
        std::fs::write(&path, serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write the record {}", path.display()))
    }

    /// Reads all records of a directory, in no particular order.
    ///
    /// # Errors
    /// Fails if a record can't be read.
    pub(crate) fn load_all(directory: &Path) -> Result<Vec<Self>> {
        let mut records = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let bytes = std::fs::read(&path)
                .with_context(|| format!("cannot read the record {}", path.display()))?;
            records.push(serde_json::from_slice(&bytes)?);
        }
        Ok(records)
    }

    /// Returns the value of a variable if Cargo set it.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// Returns the values of an option, given as `--option VALUE` or `--option=VALUE`.
    pub fn values<'a>(&'a self, option: &'a str) -> impl Iterator<Item = &'a str> {
        self.argv.iter().enumerate().filter_map(move |(i, arg)| {
            if arg == option {
                return self.argv.get(i + 1).map(String::as_str);
            }
            arg.strip_prefix(option)?.strip_prefix('=')
        })
    }

    /// Returns the value of a `-C NAME=VALUE`.
    pub fn codegen(&self, name: &str) -> Option<&str> {
        self.values("-C")
            .find_map(|value| value.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether the arguments contain a flag without a value.
    pub fn has(&self, flag: &str) -> bool {
        self.argv.iter().any(|arg| arg == flag)
    }
}
