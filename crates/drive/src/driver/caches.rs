//! Fetches paths from Nix's caches.

use super::pool::{Job, Message, Pool};
use super::{Context, Settings, TICK};
use crate::Result;
use crate::build_record::{Fetch, Span};
use crate::event::Event;
use crate::serve::Said;
use crateyard_nix::{environment, process};
use std::collections::HashMap;
use std::process::Stdio;

/// Fetches all paths that the roots need and that caches have. Paths that can't be fetched after
/// all are built.
pub(super) fn fetch(
    settings: &Settings,
    roots: &[String],
    context: &mut Context,
) -> Result<Vec<Fetch>> {
    let paths = fetchable(settings, roots)?;
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let mut pool = Pool::new(&settings.launch);
    let worker = pool.idle(settings.cores)?;
    pool.give(worker, Job::Fetch { paths });
    let mut begun: HashMap<u64, Fetch> = HashMap::new();
    let mut fetched = Vec::new();
    loop {
        match pool.wait(TICK) {
            Some(Message::Said(Said::Copying { id, path, from })) => {
                let start = context.now();
                let span = Span { start, end: start };
                begun.insert(id, Fetch { path, from, span });
            }
            Some(Message::Said(Said::Over { id })) => {
                if let Some(mut fetch) = begun.remove(&id) {
                    fetch.span.end = context.now();
                    (context.observe)(&event(&fetch));
                    fetched.push(fetch);
                }
            }
            Some(Message::Fetched { result }) => {
                result?;
                return Ok(fetched);
            }
            Some(Message::Said(_) | Message::Built { .. }) | None => {}
        }
        context.stop_if_interrupted()?;
    }
}

fn event(fetch: &Fetch) -> Event {
    Event::Fetched {
        path: fetch.path.clone(),
        from: fetch.from.clone(),
        start: fetch.span.start,
        end: fetch.span.end,
    }
}

/// Returns the paths that Nix would fetch. Nix knows its caches, their order and their earlier
/// answers.
fn fetchable(settings: &Settings, roots: &[String]) -> Result<Vec<String>> {
    let launch = &settings.launch;
    let mut command = match launch.has_bucket() {
        true => environment::with_credentials(&launch.program),
        false => environment::nix(&launch.program),
    };
    command.args(["--realise", "--dry-run"]).args(roots);
    launch.store.name_in(&mut command);
    command.args(&launch.arguments);
    command.env("NIX_CONFIG", &launch.config);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    process::end_with_parent(&mut command);
    let output = command.output();
    let output = output.map_err(crateyard_nix::Error::start(&launch.program))?;
    Ok(listed(&String::from_utf8_lossy(&output.stderr)))
}

/// Returns the paths in Nix's message "these 3 paths will be fetched (...):".
fn listed(text: &str) -> Vec<String> {
    let lines = text.lines();
    let below = lines.skip_while(|line| !line.contains(" will be fetched"));
    below
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_fetched_is_told_from_what_will_be_built() {
        let text = "these 2 derivations will be built:\n  /nix/store/a.drv\n  \
                    /nix/store/b.drv\nthis path will be fetched (0.01 MiB download, 0.05 MiB \
                    unpacked):\n  /nix/store/c\n";
        assert_eq!(listed(text), ["/nix/store/c"]);
        assert!(listed("these 2 derivations will be built:\n  /nix/store/a.drv\n").is_empty());
    }
}
