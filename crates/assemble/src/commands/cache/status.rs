//! `assemble cache status`: shows what a build would fetch and build.

use std::collections::BTreeSet;

use anyhow::Result;
use crateyard_cache::status::{Forecast, Known, ask, forecast};
use crateyard_nix::StorePath;
use crateyard_terminal::{count, without_passwords};
use serde::Serialize;

use super::{WorkArgs, listed};
use crate::caches::CacheArgs;
use crate::connection::{ConnectionArgs, bytes};

/// The number of names of future builds that are listed.
const NAMED: usize = 20;

/// Show how much of a build caches have: what it would fetch, and what it would build
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    work: WorkArgs,
    /// Print JSON, with all names
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    caches: CacheArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The command's JSON output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The number of outputs of all derivations, except downloads.
    outputs: usize,
    /// The number of outputs that the store has.
    in_store: usize,
    /// The number of the other outputs that the caches have.
    in_cache: usize,
    /// The number of outputs that the caches have without a trusted signature.
    untrusted: usize,
    /// The number of outputs that neither the store nor the caches have.
    nowhere: usize,
    /// The fetches and builds of a build that starts now.
    fetched: usize,
    fetched_bytes: u64,
    built: Vec<String>,
    downloaded: Vec<String>,
    /// The caches that could not be queried.
    failures: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When evaluation fails.
pub fn run(args: Args) -> Result<()> {
    let substituters = args.caches.start(&args.connection)?;
    let nix = args.work.nix(&substituters);
    let closure = args.work.evaluate(&nix)?;
    let client = args.connection.impatient_client()?;
    let outputs = closure.built_outputs()?;
    let all: BTreeSet<StorePath> = outputs.union(&closure.downloads()?).cloned().collect();
    let present = args.work.store().present(&all)?;
    let absent: BTreeSet<StorePath> = all.difference(&present).cloned().collect();
    let known = crateyard_registry::run(async {
        let caches = args.caches.open(&client).await;
        ask(&caches, &args.caches.trusted(), &absent).await
    });
    let forecast = forecast(&closure, &present, &known)?;
    let report = report(forecast, &outputs, &present, &known);
    match args.json {
        true => crateyard_terminal::print_json(&report),
        false => crateyard_terminal::print(&describe(&report)),
    }
}

fn report(
    forecast: Forecast,
    outputs: &BTreeSet<StorePath>,
    present: &BTreeSet<StorePath>,
    known: &Known,
) -> Report {
    let among =
        |found: &dyn Fn(&StorePath) -> bool| outputs.iter().filter(|path| found(path)).count();
    let in_store = among(&|path| present.contains(path));
    let in_cache = among(&|path| known.cached.contains_key(path));
    let untrusted = among(&|path| known.untrusted.contains(path));
    let shown = |failure: &String| without_passwords(failure).into_owned();
    let strip = |names: Vec<String>| -> Vec<String> {
        let short = |name: &String| name.trim_end_matches(".drv").to_owned();
        names.iter().map(short).collect()
    };
    Report {
        outputs: outputs.len(),
        in_store,
        in_cache,
        untrusted,
        nowhere: outputs.len() - in_store - in_cache - untrusted,
        fetched: forecast.fetched.len(),
        fetched_bytes: forecast.bytes,
        built: strip(listed(&forecast.built)),
        downloaded: listed(&forecast.downloaded),
        failures: known.failures.iter().map(shown).collect(),
    }
}

fn describe(report: &Report) -> String {
    let mut text = format!(
        "{} outputs: {} in the store, {} in a cache, {} nowhere\n",
        report.outputs, report.in_store, report.in_cache, report.nowhere
    );
    if report.untrusted > 0 {
        text += &format!(
            "{} more in a cache, signed by no trusted key\n",
            report.untrusted
        );
    }
    for failure in &report.failures {
        text += &format!("not asked: {failure}\n");
    }
    text += &format!(
        "a build fetches {} ({})\n",
        count(report.fetched, "path"),
        bytes(report.fetched_bytes)
    );
    if !report.downloaded.is_empty() {
        text += &format!(
            "and downloads {}\n",
            count(report.downloaded.len(), "source")
        );
    }
    text += &format!("and builds {}\n", count(report.built.len(), "derivation"));
    for name in report.built.iter().take(NAMED) {
        text += &format!("    {name}\n");
    }
    if report.built.len() > NAMED {
        text += &format!(
            "    and {} more (--json names them)\n",
            report.built.len() - NAMED
        );
    }
    text
}
