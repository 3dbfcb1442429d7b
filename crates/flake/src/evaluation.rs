//! Evaluates attributes of a flake to `.drv` files.

use super::config::NixConfig;
use super::tree::Tree;
use anyhow::{Context as _, Result};
use crateyard_drive::serve::Launch;
use crateyard_nix::{Store, name_of};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The derivation that has all images as inputs (nix/lib.nix).
pub(crate) const ALL: &str = "images";

/// A Nix function that calls a flake with the files in a directory.
const CALL_FLAKE: &str = include_str!("call-flake.nix");

/// The only address that evaluation in a tree may name. Nix "fetches" from there an input whose
/// hash is already in the store. The top-level domain never exists (RFC 2606).
const NOWHERE: &str = "https://inputs.crateyard.invalid/";

/// The features of Nix for evaluation in a tree. They leave out those that add `fetchTree` and
/// `getFlake`, which Nix 2.8 does not restrict.
const FEATURES: &str = "nix-command";

/// Whether evaluation may build the derivations that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Building {
    /// Nix builds them itself, in its own order.
    Allowed,
    /// Evaluation stops at the first of them.
    Refused,
    /// Evaluation stops, and Nix shows the error. This is for another store, in which only the
    /// driver builds.
    Never,
}

/// The outcome of an evaluation.
pub(crate) enum Evaluated {
    /// The `.drv` files, in the order of the attributes.
    Done(Vec<String>),
    /// Evaluation reads a derivation that is not built yet.
    WantsBuilds,
    /// Evaluation failed for another reason.
    Failed,
}

/// The location of a flake's files.
#[derive(Clone, Copy)]
pub(crate) enum Files<'a> {
    /// In the store, after Nix copied them.
    Flake,
    /// In a directory.
    Tree(&'a Tree),
}

/// The way to evaluate a flake.
pub(crate) struct Evaluation {
    nix: PathBuf,
    /// The value of `NIX_CONFIG`.
    config: String,
    flake: String,
    /// The prefix of attribute names.
    prefix: &'static str,
    launch: Launch,
}

impl Evaluation {
    /// Evaluates a flake with the store and the arguments that Nix gets otherwise. The attributes
    /// are below `prefix`, which is empty or ends in a dot.
    pub(crate) fn new(
        config: &NixConfig,
        flake: &str,
        prefix: &'static str,
        launch: &Launch,
    ) -> Self {
        Self {
            nix: config.nix.clone(),
            config: config.text.clone(),
            flake: flake.to_owned(),
            prefix,
            launch: launch.clone(),
        }
    }

    /// Evaluates images without building anything.
    ///
    /// # Errors
    /// When Nix can't be started.
    pub(crate) fn images(&self, files: Files<'_>, attributes: &[String]) -> Result<Evaluated> {
        if attributes.len() > 1 {
            match self.together(files, attributes)? {
                Evaluated::Failed => {}
                evaluated => return Ok(evaluated),
            }
        }
        self.attributes(files, attributes, Building::Refused)
    }

    /// Evaluates images to their `.drv` files through the one derivation that has them all as
    /// inputs, because Nix evaluates a flake again for each requested attribute.
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
    pub(crate) fn attributes(
        &self,
        files: Files<'_>,
        attributes: &[String],
        building: Building,
    ) -> Result<Evaluated> {
        let arguments = self.arguments(files, attributes, building);
        let command = super::call(&self.nix, &self.config, arguments);
        // Nix reports the builds that it does itself.
        let output = match building {
            Building::Refused | Building::Never => {
                let output = command.stderr_capture().run();
                output.context("cannot start nix")?
            }
            Building::Allowed => super::shown(command)?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            super::said::print(&said);
            let printed = String::from_utf8(output.stdout)?;
            return self.in_order(files, attributes, printed.lines().collect());
        }
        super::expect_locked(&said, &self.flake)?;
        if building == Building::Never {
            super::said::print(&said);
        }
        // The error names the setting that forbids the build. If Nix may build, its errors are
        // other ones, and it shows them.
        let is_refused = building == Building::Refused && said.contains("max-jobs");
        Ok(match is_refused {
            true => Evaluated::WantsBuilds,
            false => Evaluated::Failed,
        })
    }

    /// Whether Nix may build anything itself.
    pub(crate) fn building(&self) -> Building {
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
        if let Some(store) = self.launch.store.url() {
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

    /// Sorts the paths, which Nix prints in its own order, by their attributes. A derivation has
    /// the name of its attribute. If the names are ambiguous, evaluates each attribute alone.
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

/// Finds the `.drv` files of images among the inputs of the derivation that has them all. Returns
/// `None` if one is missing.
///
/// # Errors
/// When that derivation can't be read.
pub(crate) fn inputs(store: &Store, all: &str, images: &[String]) -> Result<Option<Vec<String>>> {
    let all = store.derivation(all)?;
    let named = |image: &String| {
        let mut inputs = all.input_derivations.keys();
        inputs.find(|path| name_of(path) == image).cloned()
    };
    Ok(images.iter().map(named).collect())
}

/// Returns the arguments that make Nix find attributes in a tree. Nix can then read no other file
/// of the machine, and fetches nothing. Its only inputs are those that flake.lock names with a
/// hash.
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

/// Returns the arguments that limit an expression to the files of one directory, which it knows as
/// `<NAME>`.
pub(crate) fn confined(name: &str, directory: &str) -> Vec<OsString> {
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
