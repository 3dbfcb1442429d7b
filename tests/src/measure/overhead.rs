//! Measures the overhead of a derivation: with Nix alone, and with a cell.

use crate::nix;
use anyhow::{Result, ensure};
use crateyard_drive::serve::{Built, Launch};
use crateyard_nix::{Closure, Store};
use serde::Deserialize;
use std::path::Path;
use std::time::Instant;

/// The number of derivations of each kind, built one after another.
const COUNT: usize = 40;

/// Seconds for each derivation.
pub struct Overhead {
    /// The seed makes an empty directory. The time is Nix's sandbox, hashing and registering.
    pub derivation: Vec<f64>,
    /// A program of the toolchain makes it inside a cell.
    pub cell: Vec<f64>,
}

#[derive(Deserialize)]
struct Derivations {
    derivation: Vec<String>,
    cell: Vec<String>,
}

/// Builds new derivations.
pub fn measure(flake: &Path, store: &str) -> Result<Overhead> {
    let unique = std::process::id();
    let text = nix::nix(&[
        "eval",
        "--impure",
        "--json",
        "--store",
        store,
        "--expr",
        &nix::in_flake(flake, &expression(unique)),
    ])?;
    let derivations: Derivations = serde_json::from_str(&text)?;
    Ok(Overhead {
        derivation: build(store, &derivations.derivation)?,
        cell: build(store, &derivations.cell)?,
    })
}

fn expression(unique: u32) -> String {
    format!(
        r#"
        let
            foundation = (flake.inputs.crateyard or flake).lib.foundationFor "x86_64-linux";
            each = make: builtins.genList (n: (make "${{toString n}}-{unique}").drvPath) {COUNT};
        in {{
            derivation = each (name: derivation {{
                name = "derivation-${{name}}";
                system = "x86_64-linux";
                builder = foundation.seed;
                args = [ "unpack" "--into" (placeholder "out") ];
            }});
            cell = each (name: foundation.cell {{
                name = "cell-${{name}}";
                roots = foundation.toolchain;
                program = "/usr/bin/mkdir";
                args = [ (placeholder "out") ];
            }});
        }}"#
    )
}

fn build(store: &str, derivations: &[String]) -> Result<Vec<f64>> {
    let launch = Launch {
        program: "nix-store".into(),
        store: Store::new(Some(store.to_owned())),
        config: nix::configuration(),
        is_direct: true,
        ..Launch::default()
    };
    let mut server = launch.start(1, 1)?;
    server.greet()?;
    let mut seconds = Vec::new();
    for derivation in derivations {
        let closure = Closure::read(&launch.store, std::slice::from_ref(derivation))?;
        let begin = Instant::now();
        let recipe = closure.recipe(&closure.nodes[closure.roots[0]]);
        let built = server.build(&recipe, &mut |_| {})?;
        ensure!(built == Built::Done, "{derivation}: {built:?}");
        seconds.push(begin.elapsed().as_secs_f64());
    }
    Ok(seconds)
}
