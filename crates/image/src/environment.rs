//! The environment of a development shell, as `nix develop` reads it.
//!
//! `nix develop` replaces the arguments of a derivation by a script of its own, which prints bash's
//! variables and functions. It accepts only a builder with the name `bash`. Under that name this
//! program ignores the script and writes the derivation's variables in the same form:
//! <https://nix.dev/manual/nix/stable/command-ref/new-cli/nix3-print-dev-env#examples>.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

/// The name under which Nix starts the builder of a development shell.
pub(crate) const BUILDER: &str = "bash";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    bash_functions: BTreeMap<String, String>,
    variables: BTreeMap<String, Variable>,
}

#[derive(Serialize)]
struct Variable {
    r#type: &'static str,
    value: String,
}

/// Writes the variables of this process to the file that `out` names.
///
/// # Errors
/// When `out` is not set or can't be written.
pub(crate) fn write() -> anyhow::Result<()> {
    let out = PathBuf::from(std::env::var_os("out").context("the variable out is not set")?);
    let json = to_json(std::env::vars_os())?;
    std::fs::write(&out, json).with_context(|| format!("cannot write {}", out.display()))
}

/// Converts variables to JSON. Leaves out variables that are not UTF-8, because JSON has no form
/// for them.
fn to_json(variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<String> {
    let exported = |(name, value): (OsString, OsString)| {
        let value = value.into_string().ok()?;
        let r#type = "exported";
        Some((name.into_string().ok()?, Variable { r#type, value }))
    };
    let environment = Environment {
        bash_functions: BTreeMap::new(),
        variables: variables.filter_map(exported).collect(),
    };
    Ok(serde_json::to_string(&environment)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_variables_in_the_form_that_nix_reads() {
        let variables = [("PATH", "/usr/bin"), ("A", "line\n\"quoted\"")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let json = to_json(variables.into_iter()).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"bashFunctions":{},"variables":{"#,
                r#""A":{"type":"exported","value":"line\n\"quoted\""},"#,
                r#""PATH":{"type":"exported","value":"/usr/bin"}}}"#
            )
        );
    }
}
