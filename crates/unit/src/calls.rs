//! The arguments and variables of a unit's program: those that Cargo gave when the plan was made,
//! and those that build scripts have added since.

use crate::directives::{Directives, Scope};
use crate::{Action, Unit};
use anyhow::Result;

/// Additions of build scripts to a call.
#[derive(Debug, Default, PartialEq)]
pub struct Added {
    /// Arguments, after Cargo's own.
    pub args: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
}

/// Returns the additions of build scripts to a unit's call, in Cargo's order. `said` returns the
/// directives of the script with an `OUT_DIR`.
///
/// # Errors
/// When `said` fails.
pub fn added(unit: &Unit, said: impl Fn(&str) -> Result<Directives>) -> Result<Added> {
    match &unit.action {
        Action::Compile { .. } => to_compiler(unit, said),
        Action::RunBuildScript { metadata, .. } => {
            let mut added = Added::default();
            for (prefix, from) in metadata {
                for (key, value) in said(from)?.metadata {
                    added
                        .env
                        .push((format!("{prefix}_{}", envify(&key)), value));
                }
            }
            Ok(added)
        }
        Action::RunTest { build_script, .. } => {
            let own = build_script.as_deref().map(said).transpose()?;
            Ok(Added {
                args: Vec::new(),
                env: own.map(|own| own.env).unwrap_or_default(),
            })
        }
    }
}

/// Adds the search paths of all native libraries below, then each script's libraries and linker
/// arguments, then the cfgs and variables of the package's own script.
fn to_compiler(unit: &Unit, said: impl Fn(&str) -> Result<Directives>) -> Result<Added> {
    let mut added = Added::default();
    let Action::Compile {
        program,
        target,
        build_script,
        native,
        takes_link_libs,
        ..
    } = &unit.action
    else {
        return Ok(added);
    };
    let links = program != "rustdoc";
    let scripts = native
        .iter()
        .map(|out_dir| Ok((out_dir, said(out_dir)?)))
        .collect::<Result<Vec<_>>>()?;
    if links || target.test {
        for path in search_paths(scripts.iter().flat_map(|(_, d)| &d.link_search)) {
            added.option("-L", path);
        }
    }
    for (out_dir, directives) in scripts.iter().filter(|_| links) {
        let own = build_script.as_ref() == Some(*out_dir);
        if own && *takes_link_libs {
            for lib in &directives.link_libs {
                added.option("-l", lib);
            }
        }
        for link in &directives.link_args {
            let reaches = own || link.scope == Scope::Cdylib;
            if reaches && link.scope.applies_to(target) {
                added.option("-C", &format!("link-arg={}", link.arg));
            }
        }
    }
    if let Some(out_dir) = build_script {
        let own = said(out_dir)?;
        for cfg in &own.cfgs {
            added.option("--cfg", cfg);
        }
        for cfg in &own.check_cfgs {
            added.option("--check-cfg", cfg);
        }
        added.env.extend(own.env);
    }
    Ok(added)
}

impl Added {
    fn option(&mut self, option: &str, value: &str) {
        self.args.extend([option.to_owned(), value.to_owned()]);
    }
}

/// Sorts search paths as Cargo does: paths inside its target directory come before the system's.
fn search_paths<'a>(paths: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let (inside, outside): (Vec<_>, Vec<_>) = paths.partition(|path| {
        let path = path.split_once('=').map_or(path.as_str(), |(_, p)| p);
        path.starts_with("/cargo/target/")
    });
    inside.into_iter().chain(outside).collect()
}

/// Returns a key as a part of a `DEP_*` variable's name, by Cargo's rule.
fn envify(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}
