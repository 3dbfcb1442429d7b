//! Runs Nix.

mod arguments;
mod config;
pub mod driven;
mod evaluation;
mod inputs;
mod links;
mod pinned;
mod progress;
pub mod said;
mod tree;

use anyhow::{Context, Result, bail, ensure};
pub use config::Config;
use drive::closure::Store;
use drive::environment;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tree::may_lock;
pub use tree::{remember, remember_own};

/// Nix fetches no input that flake.lock does not name with its hash: it might be a directory of this machine.
const LOCKED: &str = "--no-update-lock-file";

/// The argument that keeps Nix to what a workspace's flake.lock names; none where it may write that file.
pub fn locked(workspace: &Path) -> Option<&'static str> {
    (!may_lock(workspace)).then_some(LOCKED)
}

/// The length of the hash and dash that a store path's name starts with.
pub const STORE_HASH: usize = 33;

/// Git repositories are checked out as Cargo does it: files that git-lfs keeps elsewhere stay pointers.
/// Else a checkout would depend on whether the machine has git-lfs.
pub const AS_CARGO_CHECKS_OUT: (&str, &str) = ("GIT_LFS_SKIP_SMUDGE", "1");

/// What `nix build --json` says of one installable.
#[derive(Debug, Deserialize)]
pub struct Built {
    /// Output name to store path.
    pub outputs: BTreeMap<String, PathBuf>,
}

/// How Nix is to be called.
#[derive(Clone, Debug, Default)]
pub struct Nix {
    /// Another store than the machine's own.
    pub store: Option<String>,
    /// More arguments for `nix build`.
    pub extra: Vec<OsString>,
    /// Lines of nix.conf that the machine's own may override.
    pub defaults: String,
    /// Lines of nix.conf that come after the machine's own: what the command line asked for.
    pub settings: String,
}

impl Nix {
    /// Builds attributes of a flake with `nix build`; their store paths come in the order of `attributes`. Where there
    /// are several, each must be the name of its derivation. They are those below `prefix`, which is empty or ends in a dot.
    ///
    /// `out_link`, if given, is where Nix keeps links to the results, so that they are not
    /// collected as garbage.
    ///
    /// # Errors
    /// When Nix is not installed or a build fails; Nix has then shown why.
    pub fn build(
        &self,
        flake: &str,
        prefix: &str,
        attributes: &[String],
        out_link: Option<&Path>,
    ) -> Result<Vec<PathBuf>> {
        let config = self.config()?;
        let mut args: Vec<OsString> = vec!["build".into(), "--json".into()];
        match out_link {
            Some(link) => args.extend(["--out-link".into(), link.into()]),
            None => args.push("--no-link".into()),
        }
        if let Some(store) = &self.store {
            args.extend(["--store".into(), store.into()]);
        }
        // Before the user's own arguments: `--max-jobs` among them is their decision.
        self.forbid_builds_elsewhere(&mut args);
        args.extend(self.extra.iter().cloned());
        args.extend(
            attributes
                .iter()
                .map(|name| format!("{flake}#{prefix}{name}").into()),
        );
        let text = read(&config, args)?;
        let built: Vec<Built> =
            serde_json::from_str(&text).context("nix build --json printed no list of outputs")?;
        in_order(built, attributes)
    }

    /// Runs `nix` with arguments, and gives what it prints.
    ///
    /// # Errors
    /// When Nix is not installed or fails; it has then shown why.
    pub fn read(&self, mut args: Vec<OsString>) -> Result<String> {
        self.forbid_builds_elsewhere(&mut args);
        read(&self.config()?, args)
    }

    /// For a store elsewhere Nix builds nothing by itself (`drive::driver::Driver` does).
    fn forbid_builds_elsewhere(&self, args: &mut Vec<OsString>) {
        if self.is_elsewhere() {
            args.extend(["--option", "max-jobs", "0"].map(OsString::from));
        }
    }

    /// Whether it works on another directory than the machine's own store.
    pub fn is_elsewhere(&self) -> bool {
        let uri = self.store.clone();
        drive::closure::Store { uri }.is_elsewhere()
    }

    /// The `.drv` files of images. What evaluation reads is built. They are asked for by the one
    /// derivation that has them all: Nix copies and evaluates a changed tree for each attribute anew.
    ///
    /// # Errors
    /// When Nix is not installed or evaluation fails; Nix has then shown why.
    pub fn images(&self, flake: &str, attributes: &[String]) -> Result<Vec<String>> {
        let all = self.derivations(flake, &[evaluation::ALL.to_owned()])?;
        let store = Store {
            uri: self.store.clone(),
        };
        let all = all.first().context("nix printed no derivation")?;
        match evaluation::inputs(&store, all, attributes)? {
            Some(paths) => Ok(paths),
            None => self.derivations(flake, attributes),
        }
    }

    /// The `.drv` files of attributes, in an order of Nix's own. What evaluation reads is built.
    ///
    /// # Errors
    /// When Nix is not installed or evaluation fails; Nix has then shown why.
    fn derivations(&self, flake: &str, attributes: &[String]) -> Result<Vec<String>> {
        let mut args: Vec<OsString> = vec!["path-info".into(), "--derivation".into()];
        if let Some(store) = &self.store {
            args.extend(["--store".into(), store.into()]);
        }
        let attributes = attributes.iter();
        args.extend(attributes.map(|name| format!("{flake}#{name}").into()));
        let printed = self.read(args)?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// The reference of the flake in a directory, all inputs of which are pinned.
    ///
    /// # Errors
    /// As [`flake_at`]; when an input is not pinned; and when a file of the workspace is none.
    pub fn flake(&self, directory: &Path) -> Result<String> {
        let flake = flake_at(directory)?;
        crate::workspace::check(directory)?;
        pinned::expect(directory, self)?;
        Ok(flake)
    }

    /// Where Nix is, and how it is set for these calls.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn config(&self) -> Result<Config> {
        Config::read(&self.defaults, &self.settings)
    }
}

/// Says what to do where Nix has refused to go beyond flake.lock.
///
/// # Errors
/// Where it has.
pub fn expect_locked(said: &str, flake: &str) -> Result<()> {
    ensure!(!said.contains(LOCKED), "{}", not_locked(flake));
    Ok(())
}

fn not_locked(flake: &str) -> String {
    format!(
        "flake.lock does not name each input of flake.nix with its hash, and nothing else is evaluated\n  \
         try: nix flake lock {flake}, and commit flake.lock"
    )
}

/// The outputs in the order of the attributes. Nix prints them in an order of its own.
///
/// # Errors
/// When an attribute has no output or, among several, not the name of its derivation.
pub fn in_order(built: Vec<Built>, attributes: &[String]) -> Result<Vec<PathBuf>> {
    let outputs: Vec<PathBuf> = built
        .into_iter()
        .filter_map(|mut built| built.outputs.remove("out"))
        .collect();
    if let ([only], [_]) = (&outputs[..], attributes) {
        return Ok(vec![only.clone()]);
    }
    let paths = attributes.iter().map(|attribute| {
        let found = outputs.iter().find(|path| is_named(path, attribute));
        let found = found.cloned();
        found.with_context(|| format!("nix has built no {attribute}"))
    });
    paths.collect()
}

/// The reference of the flake in a directory. Nix takes it for a path, and never for a name in a registry of flakes,
/// which it would look up online.
///
/// # Errors
/// When it is no directory, or its path is none that a reference can hold.
fn flake_at(directory: &Path) -> Result<String> {
    let shown = directory.display();
    if !directory.is_dir() {
        bail!("{shown} is no directory\n  try: the directory with flake.nix and images.toml");
    }
    let text = directory.to_str().filter(|text| !text.contains(['#', '?']));
    let text = text.with_context(|| {
        format!("Nix can't be told of {shown}\n  try: a path in UTF-8 without '#' and '?'")
    })?;
    let is_path = text.starts_with(['/', '.']);
    Ok(if is_path {
        text.to_owned()
    } else {
        format!("./{text}")
    })
}

/// A text as a string of the Nix language.
pub fn string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("${", "\\${"))
}

/// Whether a store path, or one that is built like it, has this name behind its hash.
pub fn is_named(path: &Path, name: &str) -> bool {
    let file = path.file_name().and_then(|file| file.to_str());
    file.and_then(|file| file.get(STORE_HASH..)) == Some(name)
}

/// A call of Nix that ends when this process does. Its output is captured; failing is no error.
fn call(nix: &Path, settings: &str, args: Vec<OsString>) -> duct::Expression {
    duct::cmd(nix, args)
        .env(AS_CARGO_CHECKS_OUT.0, AS_CARGO_CHECKS_OUT.1)
        .full_env(environment::with_config(settings))
        .stdout_capture()
        .unchecked()
        .before_spawn(|command| {
            drive::process::end_with_parent(command);
            Ok(())
        })
}

fn read(config: &Config, mut args: Vec<OsString>) -> Result<String> {
    let what = args[0].to_string_lossy().into_owned();
    args.insert(1, LOCKED.into());
    let output = call(&config.nix, &config.text, args);
    let output = output.run().context("cannot start nix")?;
    if !output.status.success() {
        bail!("nix {what} failed: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_string_is_evaluated() {
        assert_eq!(string("a\"${b}\\"), "\"a\\\"\\${b}\\\\\"");
    }

    #[test]
    fn a_workspace_is_a_directory_and_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(flake_at(path).unwrap(), path.to_str().unwrap());
        // Tests run in the directory of their package.
        assert_eq!(flake_at(Path::new("src")).unwrap(), "./src");
        assert_eq!(flake_at(Path::new("src/nix")).unwrap(), "./src/nix");
        assert_eq!(flake_at(Path::new(".")).unwrap(), ".");
        let error = flake_at(Path::new("nixpkgs")).unwrap_err().to_string();
        assert!(error.contains("no directory"), "{error}");
        for odd in ["a#b", "a?b"] {
            std::fs::create_dir(path.join(odd)).unwrap();
            assert!(flake_at(&path.join(odd)).is_err(), "{odd}");
        }
    }

    #[test]
    fn outputs_are_told_apart_by_name() {
        let output = |hash: char, name: &str| {
            let path = format!(
                "/nix/store/{}-{name}",
                String::from(hash).repeat(STORE_HASH - 1)
            );
            Built {
                outputs: BTreeMap::from([("out".to_owned(), PathBuf::from(path))]),
            }
        };
        let built = || vec![output('a', "app-bare-image"), output('b', "app-image")];
        let attributes = ["app-image", "app-bare-image"].map(str::to_owned);
        let paths = in_order(built(), &attributes).unwrap();
        assert!(paths[0].ends_with(format!("{}-app-image", "b".repeat(STORE_HASH - 1))));
        assert!(in_order(built(), &["app-image", "other-image"].map(str::to_owned)).is_err());
    }
}
