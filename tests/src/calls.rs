//! Images whose programs are compiled with their own options, through Nix.

use crate::checkout::{Checkout, assemble, repository, write};
use crate::nix;
use crate::trial::trial;
use crate::workspaces::{attribute, fetch};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial(
        "calls::each_image_has_its_own_program_of_a_name".to_owned(),
        own_programs,
    )]
}

const IMAGES: &str = "version = 1
[images.orders]
binaries = [\"orders/server\"]
[images.stock]
binaries = [\"stock/server\"]
[images.stock.variants.loud]
build = { features = [\"loud\"] }
[images.admin]
build = { profile = \"dev\" }
binaries = [{ package = \"orders\", bin = \"orders-admin\", path = \"/usr/bin/server\" }]
";

/// Two packages with binaries of the same name, a binary that requires a feature, and a feature for
/// one image.
fn own_programs() -> Result<()> {
    let workspace = tempfile::tempdir()?;
    let root = workspace.path();
    write(root, "images.toml", IMAGES)?;
    let members = "[workspace]\nresolver = \"2\"\nmembers = [\"orders\", \"stock\"]\n";
    write(root, "Cargo.toml", members)?;
    for name in ["orders", "stock"] {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \
             \"2021\"\n[features]\nloud = []\n[[bin]]\nname = \"server\"\npath = \
             \"src/main.rs\"\n[[bin]]\nname = \"{name}-admin\"\npath = \
             \"src/main.rs\"\nrequired-features = [\"loud\"]\n"
        );
        write(root, &format!("{name}/Cargo.toml"), &manifest)?;
        let main = format!("fn main() {{ print!(\"{name} {{}}\", cfg!(feature = \"loud\")) }}\n");
        write(root, &format!("{name}/src/main.rs"), &main)?;
    }
    duct::cmd!("cargo", "generate-lockfile", "--offline", "--quiet")
        .dir(root)
        .run()?;
    fetch(root, &repository().join("debian.lock"))?;
    for (image, says) in [
        ("orders", "orders false"),
        ("stock", "stock false"),
        ("stock-loud", "stock true"),
        ("admin", "orders true"),
    ] {
        let layout = nix::build(&attribute(root, &format!("images.{image}")))?;
        let program = root.join(format!("{image}-program"));
        duct::cmd!(assemble(), "cat", layout, "/usr/bin/server")
            .stdout_path(&program)
            .run()?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        let said = duct::cmd!(&program).read()?;
        ensure!(said == says, "{image} says {said:?}, not {says:?}");
    }
    documented(root)?;
    planned(root)
}

/// Cargo documents programs of one name only in different calls.
fn documented(root: &Path) -> Result<()> {
    for name in ["orders", "stock"] {
        let pages = nix::build(&attribute(root, &format!("checks.{name}.doc")))?;
        let unit = format!("{name}-0.1.0-bin-server-doc");
        let found = fs::read_dir(&pages)?.filter_map(Result::ok);
        let mut found = found.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let is_there = found.any(|entry| entry.starts_with(&unit));
        ensure!(is_there, "{} has no {unit}", pages.display());
    }
    Ok(())
}

/// `assemble plan` shows the units of all calls of Cargo together.
fn planned(root: &Path) -> Result<()> {
    let crateyard = Checkout::new()?;
    let flake = format!(
        "{{\n  inputs.crateyard.url = \"path:{}\";\n  outputs = {{ self, crateyard }}: \
         crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
        crateyard.path().display()
    );
    write(root, "flake.nix", &flake)?;
    nix::nix(&["flake", "lock", &format!("path:{}", root.display())])?;
    let said = duct::cmd!(assemble(), "plan", "--json").dir(root).read()?;
    let units: Vec<serde_json::Value> = serde_json::from_str(&said)?;
    let programs: BTreeSet<&str> = units
        .iter()
        .flat_map(|unit| unit["programs"].as_array().into_iter().flatten())
        .filter_map(|name| name.as_str())
        .collect();
    ensure!(
        programs == BTreeSet::from(["orders-admin", "server"]),
        "the plan is for {programs:?}"
    );
    let links = units.iter().filter(|unit| unit["kind"] == "bin");
    ensure!(links.count() == 4, "not four programs are linked: {said}");
    Ok(())
}
