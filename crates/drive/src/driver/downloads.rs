//! Downloads into a store in another directory.
//!
//! `builtin:fetchurl` of Nix 2.8 opens its output's logical path, `/nix/store/…`, and not the path
//! in the store that it builds for. If the machine's own store has a file of that name, the builder
//! empties it. So that builder never runs for another store. Instead, `nix-prefetch-url` fetches
//! the files first, and adds them to the store like any other file.

use super::{Context, DOWNLOADS, Settings};
use crate::build_record::{Fetch, Span};
use crate::event::Event;
use crate::serve::Launch;
use crate::{Error, Result};
use crateyard_nix::derivation::Output;
use crateyard_nix::{Node, environment, process, said};
use std::process::Stdio;

/// The builder that must not run for another store.
const BUILDER: &str = "builtin:fetchurl";

/// Fetches the downloads among some derivations, if the store is in another directory.
///
/// # Errors
/// Fails if a download fails, has another hash, or is not a plain file.
pub(super) fn fetch(
    settings: &Settings,
    nodes: &[&Node],
    context: &mut Context,
) -> Result<Vec<Fetch>> {
    let launch = &settings.launch;
    if !launch.store.is_elsewhere() {
        return Ok(Vec::new());
    }
    let is_download = |node: &&&Node| node.derivation.builder == BUILDER;
    let downloads: Vec<&Node> = nodes.iter().filter(is_download).copied().collect();
    let mut fetched = Vec::new();
    for batch in downloads.chunks(DOWNLOADS) {
        let start = context.now();
        let results = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for &node in batch {
                threads.push(scope.spawn(move || prefetch(launch, node)));
            }
            let threads = threads.into_iter();
            threads.map(|thread| thread.join()).collect::<Vec<_>>()
        });
        context.stop_if_interrupted()?;
        let end = context.now();
        for result in results {
            // A panic has already printed its message.
            let (path, from) = result.map_err(|_| Error::Interrupted)??;
            (context.observe)(&Event::Fetched {
                path: path.clone(),
                from: from.clone(),
                start,
                end,
            });
            let span = Span { start, end };
            fetched.push(Fetch { path, from, span });
        }
    }
    Ok(fetched)
}

/// Fetches one download, and returns its path and its URL.
fn prefetch(launch: &Launch, node: &Node) -> Result<(String, String)> {
    let failed = |reason: String| Error::Download {
        name: node.name().to_owned(),
        reason,
    };
    let (output, url) = plain_file(node).ok_or_else(|| {
        failed(format!(
            "it is not a plain file with a SHA-256, and {BUILDER} does not run for a store in \
             another directory"
        ))
    })?;
    let program = launch.program.with_file_name("nix-prefetch-url");
    let mut command = environment::nix(&program);
    launch.store.name_in(&mut command);
    command.args(&launch.arguments);
    command.args(["--type", "sha256", "--name", node.name(), url, &output.hash]);
    command.env("NIX_CONFIG", &launch.config);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    process::end_with_parent(&mut command);
    let run = command.output();
    let run = run.map_err(crateyard_nix::Error::start(&program))?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        let reason = match said::cause(&said) {
            cause if cause.is_empty() => format!("nix-prefetch-url failed: {}", run.status),
            cause => cause,
        };
        return Err(failed(reason));
    }
    Ok((output.path.clone(), url.to_owned()))
}

/// Returns the only output of a download, and its URL.
fn plain_file(node: &Node) -> Option<(&Output, &str)> {
    let derivation = &node.derivation;
    let mut outputs = derivation.outputs.values();
    let (output, None) = (outputs.next()?, outputs.next()) else {
        return None;
    };
    let is_set = |name: &str| derivation.env.get(name).is_some_and(|value| value == "1");
    let is_plain = output.hash_algorithm == "sha256" && !is_set("unpack") && !is_set("executable");
    let url = derivation.env.get("url").filter(|_| is_plain)?;
    Some((output, url))
}
