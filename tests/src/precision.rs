//! An edit rebuilds exactly the expected derivations. The tests compare evaluations.
//!
//! A derivation that keeps its path is not built again. So the sets of derivations before and after
//! an edit suffice, and only the plan is built.

use crate::checkout::{Checkout, assemble};
use crate::nix::{self, name_of};
use crate::trial::trial;
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("precision::{name}"), run);
    vec![
        test(
            "an_edit_in_supervisor_rebuilds_what_contains_it",
            edit_in_supervisor,
        ),
        test(
            "an_edit_in_shared_code_rebuilds_its_dependents",
            edit_in_shared_code,
        ),
        test("a_document_or_a_test_rebuilds_nothing", edit_in_documents),
        test("a_version_bump_rebuilds_only_the_workspace", version_bump),
        test("a_tag_or_a_label_compiles_nothing", tag_and_label),
        test("a_new_variant_compiles_nothing", new_variant),
        test("a_bumped_leaf_rebuilds_its_dependents", leaf_bump),
    ]
}

/// The derivations to compare, by path.
#[derive(Deserialize)]
struct Derivations {
    /// Maps keys in the plan to derivations.
    units: BTreeMap<String, String>,
    /// Maps names to derivations.
    images: BTreeMap<String, String>,
}

const DERIVATIONS: &str = r#"
    let
        system = "x86_64-linux";
        packages = flake.packages.${system};
        isImage = name: builtins.match ".*-image" name != null;
        names = builtins.filter isImage (builtins.attrNames packages);
    in {
        units = builtins.mapAttrs (_: unit: unit.drvPath) flake.legacyPackages.${system}.units;
        images = builtins.listToAttrs
            (map (name: { inherit name; value = packages.${name}.drvPath; }) names);
    }
"#;

impl Derivations {
    fn of(checkout: &Checkout) -> Result<Self> {
        nix::evaluate(checkout.path(), DERIVATIONS)
    }

    fn paths(&self) -> BTreeSet<&String> {
        self.units.values().collect()
    }
}

/// Returns the names of units that are built again.
fn rebuilt(before: &Derivations, after: &Derivations) -> BTreeSet<String> {
    let old = before.paths();
    let new = after.units.values().filter(|path| !old.contains(path));
    new.map(|path| name_of(path)).collect()
}

/// Returns the images that are made again.
fn remade(before: &Derivations, after: &Derivations) -> BTreeSet<String> {
    let changed = after
        .images
        .iter()
        .filter(|(name, path)| before.images.get(*name) != Some(path));
    changed.map(|(name, _)| name.clone()).collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// Makes an edit and returns the derivations before and after it.
fn around(edit: impl FnOnce(&Checkout) -> Result<()>) -> Result<(Derivations, Derivations)> {
    let checkout = Checkout::new()?;
    let before = Derivations::of(&checkout)?;
    ensure!(
        before.units.len() > 200,
        "only {} units: is this the real plan?",
        before.units.len()
    );
    edit(&checkout)?;
    Ok((before, Derivations::of(&checkout)?))
}

fn expect(what: &str, found: BTreeSet<String>, expected: BTreeSet<String>) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: expected {expected:?}, found {found:?}"
    );
    Ok(())
}

fn edit_in_supervisor() -> Result<()> {
    let (before, after) = around(|c| c.append("services/supervisor/src/main.rs", "\n// edited\n"))?;
    let units = local(&before, |name| name.starts_with("supervisor-"));
    ensure!(!units.is_empty(), "the plan has no unit of supervisor");
    expect("units", rebuilt(&before, &after), units)?;
    expect(
        "images",
        remade(&before, &after),
        names(&["cluster-image", "supervisor-image"]),
    )
}

fn edit_in_shared_code() -> Result<()> {
    let (before, after) = around(|c| c.append("services/fleet/src/lib.rs", "\n// edited\n"))?;
    let units = local(&before, |name| !name.is_empty());
    expect("units", rebuilt(&before, &after), units)
}

/// Edits after which Cargo would compile nothing.
fn documents_and_tests(checkout: &Checkout) -> Result<()> {
    checkout.append("README.md", "\nedited\n")?;
    checkout.append("docs/images-toml.md", "\nedited\n")?;
    checkout.append("tests/src/main.rs", "\n// edited\n")?;
    checkout.write("services/gateway/tests/new.rs", "#[test]\nfn new() {}\n")
}

fn edit_in_documents() -> Result<()> {
    let (before, after) = around(|checkout| {
        documents_and_tests(checkout)?;
        checkout.write("services/gateway/README.md", "new\n")
    })?;
    // Cargo passes the name of the new README, but not its content, in CARGO_PKG_README.
    let (units, images) = (rebuilt(&before, &after), remade(&before, &after));
    let known = local(&before, |name| name.starts_with("gateway-"));
    ensure!(units.is_subset(&known), "rebuilt: {units:?}");
    let gateway = names(&["cluster-image", "gateway-image"]);
    ensure!(images.is_subset(&gateway), "made again: {images:?}");
    let (before, after) = around(documents_and_tests)?;
    expect("units", rebuilt(&before, &after), names(&[]))?;
    expect("images", remade(&before, &after), names(&[]))
}

fn version_bump() -> Result<()> {
    let (before, after) = around(|checkout| {
        checkout.replace("Cargo.toml", "version = \"0.1.0\"", "version = \"0.2.0\"")?;
        checkout.run("cargo", &["metadata", "--format-version=1", "--offline"])?;
        checkout.track()
    })?;
    let bumped = local(&before, |_| true)
        .into_iter()
        .map(|name| name.replace("-0.1.0", "-0.2.0"));
    expect("units", rebuilt(&before, &after), bumped.collect())
}

fn tag_and_label() -> Result<()> {
    let (before, after) = around(|checkout| {
        checkout.replace(
            "images.toml",
            "[images.gateway]\n",
            "[images.gateway]\ntags = [\"edited\"]\nlabels = { edited = \"yes\" }\n",
        )
    })?;
    expect("units", rebuilt(&before, &after), names(&[]))?;
    expect(
        "images",
        remade(&before, &after),
        names(&["cluster-image", "gateway-image"]),
    )
}

fn new_variant() -> Result<()> {
    let (before, after) = around(|checkout| {
        checkout.append(
            "images.toml",
            "\n[images.gateway.variants.debug]\nenvironment = { RUST_LOG = \"debug\" }\n",
        )
    })?;
    expect("units", rebuilt(&before, &after), names(&[]))?;
    expect(
        "images",
        remade(&before, &after),
        names(&["gateway-debug-image"]),
    )
}

/// The leaf, and an older version that every dependent accepts. The programs that run units do not
/// depend on it; otherwise all units would be built again.
const LEAF: (&str, &str) = ("httpdate", "1.0.2");

fn leaf_bump() -> Result<()> {
    let (leaf, version) = LEAF;
    let (before, after) = around(|checkout| {
        checkout.run(
            "cargo",
            &["update", "--package", leaf, "--precise", version],
        )?;
        checkout.run(&assemble(), &["fetch"])?;
        checkout.track()
    })?;
    let found = rebuilt(&before, &after);
    let expected = dependents(&after, &format!("{leaf}-{version}"))?;
    ensure!(expected.len() > 3, "only {expected:?} depend on {leaf}");
    expect("units", found, expected)
}

/// Returns the names of a unit and of all its dependents, by their derivations.
fn dependents(derivations: &Derivations, leaf: &str) -> Result<BTreeSet<String>> {
    let paths: Vec<&str> = derivations.units.values().map(String::as_str).collect();
    let mut arguments = vec!["show-derivation"];
    arguments.extend(paths);
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown {
        input_drvs: BTreeMap<String, serde_json::Value>,
    }
    let shown: BTreeMap<String, Shown> = serde_json::from_str(&nix::nix(&arguments)?)?;
    let mut found: BTreeSet<&String> = shown.keys().filter(|path| name_of(path) == leaf).collect();
    loop {
        let more = shown
            .iter()
            .filter(|(_, d)| d.input_drvs.keys().any(|input| found.contains(input)));
        let grown: BTreeSet<&String> = found
            .iter()
            .copied()
            .chain(more.map(|(path, _)| path))
            .collect();
        if grown.len() == found.len() {
            return Ok(found.into_iter().map(|path| name_of(path)).collect());
        }
        found = grown;
    }
}

/// Returns the names of the workspace's own units.
fn local(derivations: &Derivations, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let own = ["gateway-", "supervisor-", "cluster-", "fleet-"];
    let all = derivations.units.values().map(|path| name_of(path));
    all.filter(|name| own.iter().any(|prefix| name.starts_with(prefix)) && wanted(name))
        .collect()
}
