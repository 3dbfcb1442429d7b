//! Evaluates and builds the attributes of a workspace's flake, by Nix.
//!
//! [`Nix`] is the way to call Nix, with the machine's settings ([`NixConfig`]). [`driven`] builds
//! attributes by the driver of `crateyard-drive`; [`plan_lock`] keeps a plan for evaluation, and
//! [`programs`] the programs that evaluation runs.
//!
//! ```no_run
//! use crateyard_flake::Nix;
//!
//! let nix = Nix::default();
//! let flake = nix.flake(".".as_ref())?;
//! for derivation in nix.images(&flake, &["gateway-image".to_owned()])? {
//!     println!("{derivation}");
//! }
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(unreachable_pub, clippy::undocumented_unsafe_blocks)]
// `crateyard_terminal` prints, and cleans what it prints.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod arguments;
mod config;
pub mod driven;
mod evaluation;
mod inputs;
mod interrupts;
pub mod isolation;
mod links;
mod pinned;
mod place;
pub mod plan_lock;
pub mod programs;
mod progress;
mod reference;
mod said;
mod tree;
pub mod trusted_user;

use anyhow::{Context, Result, bail, ensure};
pub use config::NixConfig;
use crateyard_nix::{Store, creation, environment, process};
pub use crateyard_workspace::git::AS_CARGO_CHECKS_OUT;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Output;
use tree::may_lock;
pub use tree::{remember, remember_own};

/// Forbids Nix to fetch an input that flake.lock does not name with its hash, because the input
/// might be a directory of this machine.
const LOCKED: &str = "--no-update-lock-file";

/// Returns the argument that limits Nix to the inputs in a workspace's flake.lock, or `None` if Nix
/// may write that file.
pub fn locked(workspace: &Path) -> Option<&'static str> {
    (!may_lock(workspace)).then_some(LOCKED)
}

/// The length of the hash and dash at the start of a store path's name.
pub const STORE_HASH: usize = 33;

/// The output of `nix build --json` for one installable.
#[derive(Debug, Deserialize)]
struct Built {
    /// The store path of each output.
    outputs: BTreeMap<String, PathBuf>,
}

/// The way to call Nix.
#[derive(Clone, Debug, Default)]
pub struct Nix {
    /// The store, if it is not the machine's own.
    pub store: Option<String>,
    /// Further arguments for `nix build`.
    pub extra: Vec<OsString>,
    /// Lines of nix.conf that the machine's own settings may override.
    pub defaults: String,
    /// Lines of nix.conf that come after the machine's own, because the command line asked for
    /// them.
    pub settings: String,
}

impl Nix {
    /// Builds attributes of a flake with `nix build`, and returns their store paths in the order of
    /// `attributes`. If there are several, each must be the name of its derivation. The attributes
    /// are below `prefix`, which is empty or ends in a dot.
    ///
    /// If `out_link` is given, Nix keeps links to the results there, so that garbage collection
    /// keeps the results.
    ///
    /// # Errors
    /// When Nix is not installed or a build fails. Nix has then shown the reason.
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
        // These come before the user's own arguments, which may include `--max-jobs`.
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

    /// Runs `nix` with arguments, and returns its output.
    ///
    /// # Errors
    /// When Nix is not installed or fails. Nix has then shown the reason.
    pub fn read(&self, mut args: Vec<OsString>) -> Result<String> {
        self.forbid_builds_elsewhere(&mut args);
        read(&self.config()?, args)
    }

    /// Keeps Nix from building anything by itself in another store, where
    /// `crateyard_drive::driver::Driver` does it.
    fn forbid_builds_elsewhere(&self, args: &mut Vec<OsString>) {
        if self.is_elsewhere() {
            args.extend(["--option", "max-jobs", "0"].map(OsString::from));
        }
    }

    /// Whether Nix works on another directory than the machine's own store.
    pub fn is_elsewhere(&self) -> bool {
        Store::new(self.store.clone()).is_elsewhere()
    }

    /// Evaluates images to their `.drv` files, and builds the derivations that evaluation reads.
    /// Asks for the one derivation that has all images, because Nix copies and evaluates a changed
    /// tree again for each attribute.
    ///
    /// # Errors
    /// When Nix is not installed or evaluation fails. Nix has then shown the reason.
    pub fn images(&self, flake: &str, attributes: &[String]) -> Result<Vec<String>> {
        let all = self.derivations(flake, &[evaluation::ALL.to_owned()])?;
        let store = Store::new(self.store.clone());
        let all = all.first().context("nix printed no derivation")?;
        match evaluation::inputs(&store, all, attributes)? {
            Some(paths) => Ok(paths),
            None => self.derivations(flake, attributes),
        }
    }

    /// Evaluates attributes to their `.drv` files, in Nix's own order. Builds the derivations that
    /// evaluation reads.
    ///
    /// # Errors
    /// When Nix is not installed or evaluation fails. Nix has then shown the reason.
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

    /// Checks that all inputs of the flake in a directory are pinned, and returns the flake's
    /// reference.
    ///
    /// # Errors
    /// The errors of `flake_at`; when an input is not pinned; and when a file of the workspace is
    /// not a regular file.
    pub fn flake(&self, directory: &Path) -> Result<String> {
        let flake = flake_at(directory)?;
        crateyard_workspace::files::check(directory)?;
        pinned::expect(directory, self)?;
        Ok(flake)
    }

    /// Checks that the flake.nix and flake.lock in a directory, copied from another commit of a
    /// workspace's repository, pin all inputs.
    ///
    /// # Errors
    /// When an input is not pinned.
    pub fn check_inputs(&self, files: &Path, workspace: &Path) -> Result<()> {
        pinned::check(files, workspace, self)
    }

    /// Finds Nix, and reads its settings for these calls. Creates the store if it does not exist.
    ///
    /// # Errors
    /// When Nix is not installed, or the store can't be created.
    pub fn config(&self) -> Result<NixConfig> {
        creation::create(self.store.as_deref())?;
        NixConfig::read(&self.defaults, &self.settings)
    }
}

/// Explains what to do if Nix refused to go beyond flake.lock.
///
/// # Errors
/// When Nix refused.
pub fn expect_locked(said: &str, flake: &str) -> Result<()> {
    ensure!(!said.contains(LOCKED), "{}", not_locked(flake));
    Ok(())
}

/// The command that writes flake.lock, also where nix.conf turns on no feature.
pub const LOCK_COMMAND: &str = "nix --extra-experimental-features 'nix-command flakes' flake lock";

fn not_locked(flake: &str) -> String {
    let place = match flake {
        "" | "." => String::new(),
        _ => format!(" {flake}"),
    };
    format!(
        "flake.lock does not name each input of flake.nix with its hash, and nothing else is \
         evaluated\n  try: {LOCK_COMMAND}{place}, and commit flake.lock"
    )
}

/// Sorts the outputs, which Nix prints in its own order, by their attributes.
///
/// # Errors
/// When an attribute has no output, or one of several attributes does not have the name of its
/// derivation.
fn in_order(built: Vec<Built>, attributes: &[String]) -> Result<Vec<PathBuf>> {
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

/// Returns the reference of the flake in a directory. Nix reads the reference as a path, and never
/// as a name in a flake registry, which it would look up online.
///
/// # Errors
/// When it is not a directory, or its path can't be written in a reference.
fn flake_at(directory: &Path) -> Result<String> {
    let shown = directory.display();
    if !directory.is_dir() {
        bail!("{shown} is not a directory\n  try: the directory with flake.nix and images.toml");
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

/// Quotes a text as a string of the Nix language.
pub fn string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("${", "\\${"))
}

/// Whether a store path, or a path of the same form, has this name after its hash.
pub fn is_named(path: &Path, name: &str) -> bool {
    let file = path.file_name().and_then(|file| file.to_str());
    file.and_then(|file| file.get(STORE_HASH..)) == Some(name)
}

/// Prepares a call of Nix that ends when this process does. It captures the output, and a failure
/// of Nix is not an error.
fn call(nix: &Path, settings: &str, args: Vec<OsString>) -> duct::Expression {
    duct::cmd(nix, args)
        .env(AS_CARGO_CHECKS_OUT.0, AS_CARGO_CHECKS_OUT.1)
        .full_env(environment::with_config(settings))
        .stdout_capture()
        .unchecked()
        .before_spawn(|command| {
            process::end_with_parent(command);
            Ok(())
        })
}

/// The longest line of Nix's messages that is cleaned at once, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// Runs a call of Nix, and prints its messages when they come. What it evaluates may be somebody
/// else's, and can have it say anything. The output has the message for [`expect_locked`], if any.
///
/// # Errors
/// When Nix can't be started.
fn shown(call: duct::Expression) -> Result<Output> {
    let (reader, writer) = os_pipe::pipe()?;
    let started = call
        .stderr_file(writer)
        .start()
        .context("cannot start nix")?;
    let mut reader = BufReader::new(reader);
    let (mut line, mut refusal) = (Vec::new(), Vec::new());
    while (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        said::print(&text);
        if text.contains(LOCKED) {
            refusal.clone_from(&line);
        }
        line.clear();
    }
    Ok(Output {
        stderr: refusal,
        ..started.into_output()?
    })
}

fn read(config: &NixConfig, mut args: Vec<OsString>) -> Result<String> {
    let what = args[0].to_string_lossy().into_owned();
    args.insert(1, LOCKED.into());
    let output = shown(call(&config.nix, &config.text, args))?;
    if !output.status.success() {
        expect_locked(&String::from_utf8_lossy(&output.stderr), "")?;
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
        assert_eq!(
            flake_at(Path::new("src/progress")).unwrap(),
            "./src/progress"
        );
        assert_eq!(flake_at(Path::new(".")).unwrap(), ".");
        let error = flake_at(Path::new("nixpkgs")).unwrap_err().to_string();
        assert!(error.contains("not a directory"), "{error}");
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
