//! Compares `assemble build` with `nix build`: another order, the same paths. Also tests its
//! reports.

use crate::checkout::{Checkout, assemble, repository};
use crate::nix;
use crate::trial::trial;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("driver::{name}"), run);
    vec![
        test("assemble_build_gives_the_paths_of_nix_build", same_paths),
        test("an_edit_is_recorded_with_its_reason", reasons),
        test("the_plan_has_every_unit_and_says_why", plan),
        test(
            "a_compile_error_is_annotated_at_its_line_on_github",
            annotation,
        ),
        test("a_release_that_is_too_old_is_named_with_its_cure", too_old),
    ]
}

fn run(directory: &Path, arguments: &[&str]) -> Result<String> {
    duct::cmd(assemble(), arguments)
        .dir(directory)
        .read()
        .with_context(|| format!("assemble {} failed", arguments.join(" ")))
}

fn same_paths() -> Result<()> {
    let images: Value = serde_json::from_str(&run(&repository(), &["build", "--json"])?)?;
    let images = images.as_array().context("no list of images")?;
    ensure!(images.len() >= 3, "only {} images", images.len());
    for image in images {
        let name = image["name"].as_str().context("an image has no name")?;
        let flake = format!("git+file://{}#{name}-image", repository().display());
        let built: Value =
            serde_json::from_str(&nix::nix(&["build", "--no-link", "--json", &flake])?)?;
        ensure!(
            image["path"] == built[0]["outputs"]["out"],
            "{name}: {} is not {}",
            image["path"],
            built[0]["outputs"]["out"]
        );
    }
    Ok(())
}

/// A new file causes only its layer and the image above it to be built.
fn reasons() -> Result<()> {
    let checkout = Checkout::new()?;
    run(checkout.path(), &["build", "gateway"])?;
    let label = format!("labels = {{ edited = \"{}\" }}\n", std::process::id());
    let image = "[images.gateway]\n";
    checkout.replace("images.toml", image, &format!("{image}{label}"))?;
    run(checkout.path(), &["build", "gateway"])?;
    let record: Value = serde_json::from_str(&run(checkout.path(), &["report", "--json"])?)?;
    let units = record["units"].as_array().context("no units")?;
    let image = units
        .iter()
        .find(|unit| unit["name"] == "gateway-image")
        .context("the image was not recorded")?;
    ensure!(image["outcome"] == "built", "{image}");
    ensure!(
        units.iter().all(|unit| unit["kind"] == "other"),
        "a label compiled something"
    );
    run(checkout.path(), &["report", "--out", "page.html"])?;
    let page = fs::read_to_string(checkout.path().join("page.html"))?;
    ensure!(page.contains("gateway-image") && page.contains("binary-gateway"));
    Ok(())
}

fn annotation() -> Result<()> {
    let checkout = Checkout::new()?;
    let file = "services/gateway/src/main.rs";
    let line = fs::read_to_string(checkout.path().join(file))?
        .lines()
        .count()
        + 1;
    checkout.append(file, "const BROKEN: u32 = \"text\";\n")?;
    let output = duct::cmd!(assemble(), "build", "gateway")
        .dir(checkout.path())
        .env("GITHUB_ACTIONS", "true")
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!(
        "\n::error file={file},line={line},col=21,title=gateway-0.1.0-bin-gateway\
         ::error[E0308]: mismatched types\n"
    );
    ensure!(
        !output.status.success() && said.contains(&expected),
        "{said}"
    );
    Ok(())
}

fn too_old() -> Result<()> {
    let checkout = Checkout::new()?;
    let manifest = "services/gateway/Cargo.toml";
    checkout.replace(
        manifest,
        "rust-version.workspace = true",
        "rust-version = \"1.999\"",
    )?;
    let output = duct::cmd!(assemble(), "plan")
        .dir(checkout.path())
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        !output.status.success() && said.contains("write `release = \"1.999.0\"`"),
        "{said}"
    );
    Ok(())
}

fn plan() -> Result<()> {
    let units: Value = serde_json::from_str(&run(&repository(), &["plan", "--json"])?)?;
    let units = units.as_array().context("no list of units")?;
    let expected: usize = nix::evaluate(
        &repository(),
        "builtins.length (builtins.attrNames flake.legacyPackages.x86_64-linux.units)",
    )?;
    ensure!(
        units.len() == expected,
        "{} units, not {expected}",
        units.len()
    );
    for unit in units {
        let is_program = unit["kind"] == "bin";
        let because = unit["because"].as_array().context("no reason")?;
        ensure!(is_program == because.is_empty(), "{unit}");
    }
    let dot = run(&repository(), &["plan", "--dot"])?;
    ensure!(dot.matches("[label=").count() == expected);
    let forecast: Value =
        serde_json::from_str(&run(&repository(), &["plan", "--cores", "1,4", "--json"])?)?;
    for machine in forecast["machines"].as_array().context("no machines")? {
        let seconds = |name: &str| machine[name].as_f64().context("no time");
        ensure!(
            seconds("bound")? <= seconds("longestPathFirst")? + 1e-6,
            "{machine}"
        );
    }
    Ok(())
}
