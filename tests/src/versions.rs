//! Newer versions of Nix make the same derivations and the same bytes.
//!
//! The machine's Nix builds all images and copies the outputs into a signed binary cache. The Nix
//! of another release evaluates a clean clone, fetches from the cache, and builds a part again in
//! its own sandbox: every layer and image, all imports of the evaluation, the bootstrap, and a few
//! units of each kind. It remembers what it has built, and does not build it again. Then one image
//! is deleted, and the driver builds it with that Nix.

use crate::checkout::{Checkout, assemble, repository};
use crate::nix;
use crate::release::{Release, cache};
use crate::trial::ignorable;
use anyhow::{Context, Result, ensure};
use libtest_mimic::{Completion, Trial};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    ["trixie", "sid"]
        .map(|suite| {
            let name = format!("versions::nix_of_{suite}_gives_the_same_digests");
            ignorable(name, move || match Release::with_nix(suite) {
                Err(why) => Ok(Completion::ignored_with(format!("{why:#}"))),
                Ok(release) => same_digests(suite, &release).map(|()| Completion::Completed),
            })
        })
        .into()
}

/// A derivation and its output path.
#[derive(Deserialize, PartialEq, Debug)]
struct Derivation {
    derivation: String,
    output: String,
}

/// The flake's derivations for this repository's images.
#[derive(Deserialize)]
struct Evaluated {
    /// Maps keys in the plan to units.
    units: BTreeMap<String, Derivation>,
    /// Maps names to images.
    images: BTreeMap<String, Derivation>,
    /// The imports of the evaluation: the targets, the description, the plan.
    imported: BTreeMap<String, Derivation>,
}

const EVERYTHING: &str = r#"
    let
        system = "x86_64-linux";
        packages = flake.packages.${system};
        made = flake.legacyPackages.${system};
        parents = [ "base-image" "builder-image" ];
        isImage = name: builtins.match ".*-image" name != null && !(builtins.elem name parents);
        paths = _: value: { derivation = value.drvPath; output = value.outPath; };
        pick = names: set: builtins.listToAttrs
            (map (name: { inherit name; value = paths name set.${name}; }) names);
    in {
        units = builtins.mapAttrs paths made.units;
        images = pick (builtins.filter isImage (builtins.attrNames packages)) packages;
        imported = pick [ "targets" "description" "plan" ] made;
    }
"#;

fn same_digests(suite: &str, release: &Release) -> Result<()> {
    let checkout = Checkout::new()?;
    let machine: Evaluated = nix::evaluate(checkout.path(), EVERYTHING)?;
    ensure!(
        machine.units.len() > 200 && machine.images.len() >= 3,
        "only {} units and {} images: is this the real plan?",
        machine.units.len(),
        machine.images.len()
    );
    let handed = hand_over(&machine)?;
    let other = Other {
        release,
        settings: settings(&handed),
        directories: vec![
            checkout.path().to_owned(),
            handed.directory.clone(),
            PathBuf::from(assemble()).with_file_name(""),
        ],
    };
    let (version, _) = other.run(&["nix", "--version"])?;

    let start = Instant::now();
    let found: Evaluated = other.evaluate(checkout.path(), EVERYTHING)?;
    let evaluated = start.elapsed().as_secs();
    compare("unit", &machine.units, &found.units)?;
    compare("image", &machine.images, &found.images)?;
    compare("imported derivation", &machine.imported, &found.imported)?;

    let start = Instant::now();
    let wanted = to_rebuild(&machine)?;
    let known = Known::of(release);
    let unknown = wanted.difference(&known.derivations).cloned().collect();
    let differing = other.rebuild(&unknown)?;
    let rebuilt = start.elapsed().as_secs();
    let digests = manifest_digests(&machine, |path| release.path(path))?;
    ensure!(
        digests == manifest_digests(&machine, |path| PathBuf::from(path))?,
        "{suite}: the images have other manifests: {digests:?}"
    );
    ensure!(differing.is_empty(), "{suite}: these differ: {differing:?}");
    other.drive(checkout.path(), "gateway", &machine.images["gateway-image"])?;
    println!(
        "{}: {} units, {} images and {} imports are the same derivations ({evaluated} s); \
         {} built again are the same bytes ({} of them now, {rebuilt} s)",
        version.trim(),
        found.units.len(),
        found.images.len(),
        found.imported.len(),
        wanted.len(),
        unknown.len()
    );
    known.remember(&wanted)
}

/// The derivations that earlier runs have rebuilt with the same bytes.
struct Known {
    file: PathBuf,
    derivations: BTreeSet<String>,
}

impl Known {
    /// Reads the file beside the release's store. The file vanishes with the store.
    fn of(release: &Release) -> Self {
        let file = release.path("/nix/built-again");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let derivations = text.lines().map(str::to_owned).collect();
        Self { file, derivations }
    }

    fn remember(self, derivations: &BTreeSet<String>) -> Result<()> {
        let lines: Vec<&str> = derivations.iter().map(String::as_str).collect();
        fs::write(&self.file, lines.join("\n"))
            .with_context(|| format!("cannot write {}", self.file.display()))
    }
}

fn compare(
    what: &str,
    machine: &BTreeMap<String, Derivation>,
    other: &BTreeMap<String, Derivation>,
) -> Result<()> {
    let names: BTreeSet<&String> = machine.keys().chain(other.keys()).collect();
    let differing: Vec<&String> = names
        .into_iter()
        .filter(|name| machine.get(*name) != other.get(*name))
        .collect();
    ensure!(
        differing.is_empty(),
        "{} of {} {what}s are another derivation: {:?}",
        differing.len(),
        machine.len(),
        &differing[..differing.len().min(5)]
    );
    Ok(())
}

/// A binary cache in a directory, and the key that signs its paths.
struct Handed {
    directory: PathBuf,
    public_key: String,
}

/// Builds the images, and copies them and their inputs into a binary cache. The cache is kept, so
/// that paths are copied only once.
fn hand_over(machine: &Evaluated) -> Result<Handed> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = cache("handed-over")?;
    fs::create_dir_all(&directory)?;
    let secret = cache("handed-over.key")?;
    if !secret.exists() {
        let key = nix::nix(&["key", "generate-secret", "--key-name", "crateyard-tests-1"])?;
        fs::write(&secret, key)?;
    }
    let public_key = duct::cmd!("nix", "key", "convert-secret-to-public")
        .env("NIX_CONFIG", nix::SETTINGS)
        .stdin_path(&secret)
        .read()?;

    let flake = format!("git+file://{}#images", repository().display());
    nix::nix(&["build", "--no-link", &flake])?;
    let roots = machine.images.values().chain(machine.imported.values());
    let mut query = vec!["-qR", "--include-outputs"];
    query.extend(roots.map(|derivation| derivation.derivation.as_str()));
    let closure = duct::cmd("nix-store", query).read()?;
    let to = format!(
        "file://{}?compression=none&secret-key={}",
        directory.display(),
        secret.display()
    );
    let mut copy = vec!["copy", "--quiet", "--to", &to];
    copy.extend(closure.lines().filter(|path| !path.ends_with(".drv")));
    nix::nix(&copy)?;
    Ok(Handed {
        directory,
        public_key: public_key.trim().to_owned(),
    })
}

/// Returns the settings for the other Nix: the machine's own, and the cache.
fn settings(handed: &Handed) -> String {
    let own = nix::SETTINGS.replace("substituters =\n", "");
    format!(
        "{own}substituters = file://{}\ntrusted-public-keys = {}\nrequire-sigs = true\n",
        handed.directory.display(),
        handed.public_key
    )
}

/// The Nix of another release, with its own store.
struct Other<'a> {
    release: &'a Release,
    settings: String,
    directories: Vec<PathBuf>,
}

impl Other<'_> {
    fn run(&self, command: &[&str]) -> Result<(String, String)> {
        let directories: Vec<&Path> = self.directories.iter().map(|d| d.as_path()).collect();
        let environment = [
            ("NIX_CONFIG", self.settings.as_str()),
            // Nix runs as root, without the daemon.
            ("NIX_REMOTE", "local"),
        ];
        self.release.run(&directories, &environment, command)
    }

    fn evaluate(&self, directory: &Path, expression: &str) -> Result<Evaluated> {
        let (text, _) = self.run(&[
            "nix",
            "eval",
            "--impure",
            "--json",
            "--expr",
            &nix::in_flake(directory, expression),
        ])?;
        serde_json::from_str(&text).context("nix eval printed something else than expected")
    }

    /// Deletes an image, and rebuilds it with `assemble build`, to test the driver with this Nix.
    fn drive(&self, checkout: &Path, name: &str, image: &Derivation) -> Result<()> {
        let script = format!(
            "set -eu; cd $(mktemp -d); cp -r {checkout}/. .; nix-store --delete --ignore-liveness \
             $(nix-store --query --referrers-closure {image}) >&2; NIX_CONFIG='{settings}' exec \
             {assemble} build {name} --json --events -",
            checkout = checkout.display(),
            image = image.output,
            settings = nix::SETTINGS,
            assemble = assemble(),
        );
        let (printed, said) = self.run(&["sh", "-c", &script])?;
        let images: serde_json::Value = serde_json::from_str(&printed)?;
        ensure!(
            images[0]["path"] == image.output,
            "another image: {printed}"
        );
        let finished = format!("\"event\":\"finished\",\"name\":\"{name}-image\"");
        ensure!(said.contains(&finished), "it was not built:\n{said}");
        Ok(())
    }

    /// Rebuilds derivations, and returns the outputs whose content differs from the machine's.
    fn rebuild(&self, derivations: &BTreeSet<String>) -> Result<Vec<String>> {
        if derivations.is_empty() {
            return Ok(Vec::new());
        }
        let mut realise = vec!["nix-store", "--realise"];
        realise.extend(derivations.iter().map(String::as_str));
        self.run(&realise)?;
        realise.insert(2, "--check");
        let (_, log) = self.run(&realise)?;
        let checked =
            |derivation: &String| log.contains(&format!("checking outputs of '{derivation}'"));
        let unchecked: Vec<&String> = derivations.iter().filter(|d| !checked(d)).collect();
        ensure!(unchecked.is_empty(), "not built again: {unchecked:?}");

        let mut query = vec!["nix-store", "--query", "--outputs"];
        query.extend(derivations.iter().map(String::as_str));
        let (outputs, _) = self.run(&query)?;
        let outputs: Vec<&str> = outputs.lines().collect();
        ensure!(outputs.len() == derivations.len(), "an output is missing");
        let hashes = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut query = vec!["nix-store", "--query", "--hash"];
        query.extend(&outputs);
        let machine = hashes(duct::cmd(query[0], &query[1..]).read()?);
        let other = hashes(self.run(&query)?.0);
        ensure!(machine.len() == outputs.len(), "a hash is missing");
        let pairs = outputs.iter().zip(machine.iter().zip(&other));
        Ok(pairs
            .filter(|(_, (one, two))| one != two)
            .map(|(output, _)| (*output).to_owned())
            .collect())
    }
}

/// One unit of each kind: its package, and the suffix after the version in the derivation's name.
const UNITS: [(&str, &str); 6] = [
    // A library.
    ("itoa", ""),
    // A procedural macro.
    ("serde_derive", ""),
    // A build script, and a run of one.
    ("serde_core", "-build-script"),
    ("serde_core", "-build-script-run"),
    // A run that compiles C and assembler.
    ("ring", "-build-script-run"),
    // A program.
    ("gateway", "-bin-gateway"),
];

/// Names of other derivations. A name that ends in `-` is a prefix.
const OTHERS: [&str; 4] = ["bootstrap-", "tools", "bare", "layer-"];

/// Returns the derivations that the other Nix builds.
fn to_rebuild(machine: &Evaluated) -> Result<BTreeSet<String>> {
    let mut wanted: BTreeSet<String> = machine
        .images
        .values()
        .chain(machine.imported.values())
        .map(|derivation| derivation.derivation.clone())
        .collect();
    for (package, rest) in UNITS {
        let found = machine.units.values().map(|unit| &unit.derivation);
        let found: Vec<&String> = found.filter(|p| is_unit(p, package, rest)).collect();
        ensure!(!found.is_empty(), "the plan has no unit {package}-*{rest}");
        wanted.extend(found.into_iter().cloned());
    }
    let mut query = vec!["-qR"];
    query.extend(
        machine
            .images
            .values()
            .map(|image| image.derivation.as_str()),
    );
    query.extend(machine.imported.values().map(|i| i.derivation.as_str()));
    let closure = duct::cmd("nix-store", query).read()?;
    for name in OTHERS {
        let matches = |path: &&str| {
            let found = nix::name_of(path);
            found == name || (name.ends_with('-') && found.starts_with(name))
        };
        let found: Vec<&str> = closure
            .lines()
            .filter(|path| path.ends_with(".drv"))
            .filter(matches)
            .collect();
        ensure!(!found.is_empty(), "nothing is called {name}");
        wanted.extend(found.into_iter().map(str::to_owned));
    }
    Ok(wanted)
}

/// Whether a derivation is called PACKAGE-VERSION, followed by `rest`.
fn is_unit(path: &str, package: &str, rest: &str) -> bool {
    let name = nix::name_of(path);
    let version = name
        .strip_prefix(package)
        .and_then(|rest| rest.strip_prefix('-'));
    version.is_some_and(|version| {
        let after = version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        after.len() < version.len() && after == rest
    })
}

/// Maps the name of each image to its manifest's digest. `place` finds paths in the store.
fn manifest_digests(
    machine: &Evaluated,
    place: impl Fn(&str) -> PathBuf,
) -> Result<BTreeMap<String, String>> {
    let digest = |image: &Derivation| -> Result<String> {
        let file = place(&image.output).join("index.json");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let index: serde_json::Value = serde_json::from_str(&text)?;
        let digest = index["manifests"][0]["digest"].as_str();
        Ok(digest.context("index.json names no manifest")?.to_owned())
    };
    machine
        .images
        .iter()
        .map(|(name, image)| Ok((name.clone(), digest(image)?)))
        .collect()
}
