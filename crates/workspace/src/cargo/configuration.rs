//! Selects the part of a workspace's configuration that Cargo gets for commands that only read the
//! workspace.
//!
//! A workspace may be somebody else's, and its `.cargo/config.toml` can name programs: compilers,
//! wrappers, credential providers, and variables such as `LD_PRELOAD` for all of them. So Cargo
//! runs outside the repository, where it does not find that file. It only gets the settings about
//! the sources of crates.
//!
//! <https://doc.rust-lang.org/cargo/reference/config.html>

use crate::git;
use anyhow::{Context, Result};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use toml::{Table, Value};

/// The files that Cargo looks for, in order of precedence.
const FILES: [&str; 2] = [".cargo/config", ".cargo/config.toml"];

/// Tables that can't name programs.
const PLAIN: [&str; 5] = ["http", "net", "patch", "paths", "source"];

/// The keys of `[registry]` and `[registries.NAME]` that can't name programs.
const REGISTRY: [&str; 4] = ["default", "index", "protocol", "token"];

/// The keys of a source or a patch that are paths, relative to the parent of `.cargo`.
const PATHS: [&str; 3] = ["directory", "local-registry", "path"];

/// The keys of a source that holds unpacked packages, or crates in a directory.
const DIRECTORIES: [&str; 2] = ["directory", "local-registry"];

/// The places from which Cargo takes the crates of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    /// Those that the configuration names.
    Configured,
    /// Registries, and not directories in their place, such as `cargo vendor` makes: they lack the
    /// `.crate` files that `Cargo.lock` pins.
    Registries,
}

/// A repository's configuration: the part that is kept, and the programs that are left out.
#[derive(Debug)]
pub(super) struct Configuration {
    /// A directory outside the repository. Cargo finds the configuration of the directories above
    /// it, which are the user's own.
    pub outside: PathBuf,
    /// The kept configuration, if there is any.
    pub file: Option<NamedTempFile>,
    /// The programs that are not run, as `FILE: KEY`.
    pub refused: Vec<String>,
}

impl Configuration {
    /// Reads the configuration of the workspace in a directory.
    ///
    /// # Errors
    /// Fails if a file can't be read, or is not TOML.
    pub(super) fn of(workspace: &Path, sources: Sources) -> Result<Self> {
        let workspace = workspace.canonicalize();
        let workspace = workspace.context("the workspace does not exist")?;
        let top = git::top(&workspace).unwrap_or_else(|_| workspace.clone());
        let mut kept = Table::new();
        let mut refused = Vec::new();
        // The nearest file comes first and takes precedence.
        for directory in workspace.ancestors() {
            if let Some((file, mut table)) = read(directory)? {
                programs(&table, "", &mut |key| {
                    refused.push(format!("{}: {key}", file.display()));
                });
                keep_plain(&mut table);
                make_absolute(&mut table, directory);
                merge(&mut kept, table);
            }
            if directory == top {
                break;
            }
        }
        if sources == Sources::Registries {
            keep_registries(&mut kept);
        }
        let outside = top.parent().unwrap_or(&top).to_owned();
        let file = (!kept.is_empty()).then(|| write(&kept)).transpose()?;
        Ok(Self {
            outside,
            file,
            refused,
        })
    }
}

fn read(directory: &Path) -> Result<Option<(PathBuf, Table)>> {
    for name in FILES {
        let file = directory.join(name);
        let context = || format!("cannot read {}", file.display());
        match fs::read_to_string(&file) {
            Ok(text) => {
                let table = text.parse().with_context(context)?;
                return Ok(Some((file, table)));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::NotADirectory => {}
            Err(error) => return Err(error).with_context(context),
        }
    }
    Ok(None)
}

/// Reports each key that names a program that Cargo would run to read or fetch.
fn programs(table: &Table, place: &str, tell: &mut dyn FnMut(String)) {
    for (key, value) in table {
        let whole = format!("{place}{key}");
        let is_program =
            key.contains("credential") || (place == "build." && key.starts_with("rustc"));
        match value {
            _ if is_program && key != "rustc-flags" => tell(whole),
            Value::Table(inner) => programs(inner, &format!("{whole}."), tell),
            _ => {}
        }
    }
}

fn keep_plain(table: &mut Table) {
    table.retain(|key, value| match (key, value) {
        ("registry", Value::Table(registry)) => {
            registry.retain(|key, _| REGISTRY.contains(&key));
            true
        }
        ("registries", Value::Table(registries)) => {
            for (_, registry) in registries.iter_mut() {
                if let Value::Table(registry) = registry {
                    registry.retain(|key, _| REGISTRY.contains(&key));
                }
            }
            true
        }
        (key, _) => PLAIN.contains(&key),
    });
}

/// Removes the sources that are directories, and what says that they replace others.
fn keep_registries(table: &mut Table) {
    let Some(Value::Table(sources)) = table.get_mut("source") else {
        return;
    };
    let is_directory = |source: &Value| DIRECTORIES.iter().any(|key| source.get(key).is_some());
    let (directories, mut registries): (Table, Table) = std::mem::take(sources)
        .into_iter()
        .partition(|(_, source)| is_directory(source));
    for source in registries
        .iter_mut()
        .filter_map(|(_, it)| it.as_table_mut())
    {
        let replacement = source.get("replace-with").and_then(Value::as_str);
        if replacement.is_some_and(|name| directories.contains_key(name)) {
            source.remove("replace-with");
        }
    }
    // Cargo refuses a source that says nothing.
    registries.retain(|_, source| source.as_table().is_none_or(|it| !it.is_empty()));
    *sources = registries;
}

fn make_absolute(table: &mut Table, directory: &Path) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => make_absolute(inner, directory),
            Value::String(path) if PATHS.contains(&key.as_str()) => {
                *path = directory.join(&*path).to_string_lossy().into_owned();
            }
            Value::Array(paths) if key == "paths" => {
                for path in paths.iter_mut() {
                    if let Value::String(path) = path {
                        *path = directory.join(&*path).to_string_lossy().into_owned();
                    }
                }
            }
            _ => {}
        }
    }
}

/// Adds the values that are not set yet.
fn merge(kept: &mut Table, more: Table) {
    for (key, value) in more {
        match (kept.get_mut(&key), value) {
            (Some(Value::Table(kept)), Value::Table(more)) => merge(kept, more),
            (Some(_), _) => {}
            (None, value) => drop(kept.insert(key, value)),
        }
    }
}

fn write(table: &Table) -> Result<NamedTempFile> {
    let write = || {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        file.write_all(table.to_string().as_bytes())?;
        Ok(file)
    };
    let written: std::io::Result<NamedTempFile> = write();
    written.context("cannot write a configuration for cargo")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> (Option<Table>, Vec<String>) {
        configuration_with(text, Sources::Configured)
    }

    fn configuration_with(text: &str, sources: Sources) -> (Option<Table>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path().join("workspace");
        fs::create_dir_all(workspace.join(".cargo")).unwrap();
        let text = text.replace("HERE", &workspace.canonicalize().unwrap().to_string_lossy());
        fs::write(workspace.join(".cargo/config.toml"), text).unwrap();
        let found = Configuration::of(&workspace, sources).unwrap();
        assert_eq!(found.outside, directory.path().canonicalize().unwrap());
        let kept = found
            .file
            .map(|file| fs::read_to_string(file.path()).unwrap());
        let refused = found.refused.iter();
        let keys = refused.filter_map(|line| Some(line.rsplit_once(": ")?.1.to_owned()));
        (kept.map(|text| text.parse().unwrap()), keys.collect())
    }

    #[test]
    fn programs_are_left_out_and_named() {
        let (kept, refused) = configuration(
            "credential-alias.x = [\"./x\"]\n[build]\nrustc = \"./x\"\nrustc-wrapper = \
             \"./x\"\ntarget-dir = \"x\"\n[env]\nLD_PRELOAD = \"./x\"\n[target.x]\nlinker = \
             \"./x\"\n[registry]\nglobal-credential-providers = [\"./x\"]\n[registries.a]\nindex = \
             \"sparse+https://a.example/\"\ncredential-provider = [\"./x\"]\n",
        );
        let expected: Table = "[registry]\n[registries.a]\nindex = \"sparse+https://a.example/\"\n"
            .parse()
            .unwrap();
        assert_eq!(kept, Some(expected));
        let expected = [
            "build.rustc",
            "build.rustc-wrapper",
            "credential-alias",
            "registries.a.credential-provider",
            "registry.global-credential-providers",
        ];
        let mut refused = refused;
        refused.sort();
        assert_eq!(refused, expected);
    }

    #[test]
    fn where_crates_come_from_stays_said() {
        let (kept, refused) = configuration(
            "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \
             \"vendor\"\n[net]\ngit-fetch-with-cli = true\n",
        );
        let kept = kept.unwrap();
        assert!(refused.is_empty());
        let vendored = kept["source"]["vendored"]["directory"].as_str().unwrap();
        assert!(
            vendored.starts_with('/') && vendored.ends_with("workspace/vendor"),
            "{vendored}"
        );
        assert_eq!(kept["net"]["git-fetch-with-cli"].as_bool(), Some(true));
    }

    /// `cargo vendor` replaces crates.io and repositories; a mirror may stand between.
    #[test]
    fn downloads_come_from_registries_alone() {
        let vendored = "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \
                        \"sparse+https://mirror.example/\"\nreplace-with = \"vendored\"\n\
                        [source.\"git+https://git.example/a\"]\ngit = \"https://git.example/a\"\n\
                        replace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n";
        let (kept, _) = configuration_with(vendored, Sources::Registries);
        let expected: Table = "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\n\
                               registry = \"sparse+https://mirror.example/\"\n\
                               [source.\"git+https://git.example/a\"]\ngit = \
                               \"https://git.example/a\"\n"
            .parse()
            .unwrap();
        assert_eq!(kept, Some(expected));
        let plain = "[source.crates-io]\nreplace-with = \"here\"\n[source.here]\n\
                     local-registry = \"crates\"\n";
        let (kept, _) = configuration_with(plain, Sources::Registries);
        assert_eq!(kept, Some("[source]\n".parse().unwrap()));
    }

    #[test]
    fn a_workspace_without_configuration_gets_none() {
        let directory = tempfile::tempdir().unwrap();
        let found = Configuration::of(directory.path(), Sources::Configured).unwrap();
        assert!(found.file.is_none() && found.refused.is_empty());
    }
}
