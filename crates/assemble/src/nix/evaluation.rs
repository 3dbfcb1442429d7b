//! Attributes of a flake, evaluated to `.drv` files.

use super::config::Config;
use super::tree::Tree;
use anyhow::{Context as _, Result};
use drive::closure::{self, Store, name_of};
use drive::serve::Launch;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The derivation that all images are inputs of (nix/lib.nix).
pub const ALL: &str = "images";

/// Calls a flake whose files lie in a directory.
const CALL_FLAKE: &str = include_str!("call-flake.nix");

/// The one address that evaluation in a tree may name: what has a hash and is in the store already is "fetched" from
/// there. The top-level domain is one that never exists (RFC 2606).
const NOWHERE: &str = "https://inputs.crateyard.invalid/";

/// In a tree Nix evaluates without the features that bring `fetchTree` and `getFlake`: Nix 2.8 does not restrict them.
const FEATURES: &str = "nix-command";

/// Whether evaluation may build what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Building {
    /// Nix does so by itself, in its own order.
    Allowed,
    /// It stops there.
    Refused,
    /// The same, and Nix shows what is wrong. For a store elsewhere, in which only the driver builds.
    Never,
}

/// How an evaluation ended.
pub enum Evaluated {
    /// The `.drv` files, in the order of the attributes.
    Done(Vec<String>),
    /// It reads something that is not built yet.
    WantsBuilds,
    /// It failed otherwise.
    Failed,
}

/// Where a flake's files are read.
#[derive(Clone, Copy)]
pub enum Files<'a> {
    /// In the store, to which Nix copies them.
    Flake,
    /// In a directory.
    Tree(&'a Tree),
}

/// How a flake is evaluated.
pub struct Evaluation {
    nix: PathBuf,
    /// The value of `NIX_CONFIG`.
    config: String,
    flake: String,
    /// What goes before the names of attributes.
    prefix: &'static str,
    launch: Launch,
}

impl Evaluation {
    /// Of a flake, with the store and the arguments that Nix is started with otherwise. Attributes are those below `prefix`,
    /// which is empty or ends in a dot.
    pub fn new(config: &Config, flake: &str, prefix: &'static str, launch: &Launch) -> Self {
        Self {
            nix: config.nix.clone(),
            config: config.text.clone(),
            flake: flake.to_owned(),
            prefix,
            launch: launch.clone(),
        }
    }

    /// Evaluates images, and builds nothing.
    ///
    /// # Errors
    /// When Nix can't be started.
    pub fn images(&self, files: Files<'_>, attributes: &[String]) -> Result<Evaluated> {
        if attributes.len() > 1 {
            match self.together(files, attributes)? {
                Evaluated::Failed => {}
                evaluated => return Ok(evaluated),
            }
        }
        self.attributes(files, attributes, Building::Refused)
    }

    /// The images' `.drv` files by way of the one derivation that they are all inputs of: Nix evaluates a
    /// flake anew for each thing that it is asked for.
    fn together(&self, files: Files<'_>, attributes: &[String]) -> Result<Evaluated> {
        let all = match self.attributes(files, &[ALL.to_owned()], Building::Refused)? {
            Evaluated::Done(all) => all,
            other => return Ok(other),
        };
        let paths = inputs(&self.launch.store, &all[0], attributes)?;
        Ok(paths.map_or(Evaluated::Failed, Evaluated::Done))
    }

    /// Evaluates attributes.
    ///
    /// # Errors
    /// When Nix can't be started.
    pub fn attributes(
        &self,
        files: Files<'_>,
        attributes: &[String],
        building: Building,
    ) -> Result<Evaluated> {
        let arguments = self.arguments(files, attributes, building);
        let command = super::call(&self.nix, &self.config, arguments);
        // What Nix builds by itself it tells by itself.
        let command = match building {
            Building::Refused | Building::Never => command.stderr_capture(),
            Building::Allowed => command,
        };
        let output = command.run().context("cannot start nix")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            eprint!("{}", crate::text::clean_log(&said));
            let printed = String::from_utf8(output.stdout)?;
            return self.in_order(files, attributes, printed.lines().collect());
        }
        super::expect_locked(&said, &self.flake)?;
        if building == Building::Never {
            eprint!("{}", crate::text::clean_log(&said));
        }
        // It names the setting that forbids the build. What else is wrong it says when it may build.
        let is_refused = building == Building::Refused && said.contains("max-jobs");
        Ok(match is_refused {
            true => Evaluated::WantsBuilds,
            false => Evaluated::Failed,
        })
    }

    /// Whether Nix may build by itself at all.
    pub fn building(&self) -> Building {
        match self.launch.store.is_elsewhere() {
            true => Building::Never,
            false => Building::Allowed,
        }
    }

    fn arguments(
        &self,
        files: Files<'_>,
        attributes: &[String],
        building: Building,
    ) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["path-info".into(), "--derivation".into()];
        if let Some(store) = &self.launch.store.uri {
            args.extend(["--store".into(), store.into()]);
        }
        args.extend(self.launch.arguments.iter().map(OsString::from));
        if building != Building::Allowed {
            args.extend(["--option", "max-jobs", "0"].map(OsString::from));
        }
        let prefix = self.prefix;
        let attributes = attributes.iter().map(|name| format!("{prefix}{name}"));
        match files {
            Files::Flake => {
                let flake = &self.flake;
                args.extend(super::locked(Path::new(flake)).map(OsString::from));
                args.extend(attributes.map(|name| OsString::from(format!("{flake}#{name}"))));
            }
            Files::Tree(tree) => {
                args.extend(in_tree(tree));
                args.extend(attributes.map(OsString::from));
            }
        }
        args
    }

    /// Nix prints paths in an order of its own. A derivation has the name of its attribute; where
    /// that does not tell, each is asked for alone.
    fn in_order(
        &self,
        files: Files<'_>,
        attributes: &[String],
        printed: Vec<&str>,
    ) -> Result<Evaluated> {
        if let ([_], [path]) = (attributes, printed.as_slice()) {
            return Ok(Evaluated::Done(vec![(*path).to_owned()]));
        }
        let named = |attribute: &String| {
            let mut found = printed.iter().filter(|path| name_of(path) == attribute);
            found.next().filter(|_| found.next().is_none())
        };
        let paths: Option<Vec<String>> = attributes
            .iter()
            .map(|attribute| Some((*named(attribute)?).to_owned()))
            .collect();
        if let Some(paths) = paths {
            return Ok(Evaluated::Done(paths));
        }
        let mut paths = Vec::new();
        for attribute in attributes {
            let attribute = std::slice::from_ref(attribute);
            match self.attributes(files, attribute, self.building())? {
                Evaluated::Done(path) => paths.extend(path),
                other => return Ok(other),
            }
        }
        Ok(Evaluated::Done(paths))
    }
}

/// The `.drv` files of images among the inputs of the one that has them all; none where one is missing.
///
/// # Errors
/// When that can't be read.
pub fn inputs(store: &Store, all: &str, images: &[String]) -> Result<Option<Vec<String>>> {
    let all = closure::read(store, all)?;
    let named = |image: &String| {
        let mut inputs = all.input_derivations.keys();
        inputs.find(|path| name_of(path) == image).cloned()
    };
    Ok(images.iter().map(named).collect())
}

/// What has Nix find attributes in a tree. No other file of the machine can be read, nothing is fetched, and of inputs
/// there are those that flake.lock names with a hash.
fn in_tree(tree: &Tree) -> Vec<OsString> {
    let top = tree.top.to_string_lossy();
    let json = |text: &str| format!("(builtins.fromJSON {})", super::string(text));
    let call = format!(
        "({CALL_FLAKE}) {{ tree = {}; below = {}; lock = {}; sources = {}; nowhere = {}; }}",
        super::string(&top),
        super::string(&tree.below),
        json(&tree.inputs.lock),
        json(&tree.inputs.sources),
        super::string(NOWHERE),
    );
    let mut args = confined("tree", &top);
    args.extend(["--expr".into(), call.into()]);
    args
}

/// What keeps the evaluation of an expression to the files of one directory, which it knows as
/// `<NAME>`.
pub fn confined(name: &str, directory: &str) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--impure".into()];
    for (name, value) in [
        ("restrict-eval", "true"),
        ("allowed-uris", NOWHERE),
        ("experimental-features", FEATURES),
    ] {
        args.extend(["--option", name, value].map(OsString::from));
    }
    args.extend(["-I".into(), format!("{name}={directory}").into()]);
    args
}
