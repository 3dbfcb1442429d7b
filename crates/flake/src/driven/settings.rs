//! The settings of the driver: the user's, Nix's and the machine's.

use super::Request;
use crate::arguments::Arguments;
use crate::config::NixConfig;
use crateyard_drive::driver::{Settings, Sharing};
use crateyard_drive::scratch;
use crateyard_drive::serve::Launch;
use crateyard_nix::Store;

pub(super) fn settings(request: &Request, config: &NixConfig, arguments: &Arguments) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let given = config.number("cores").filter(|&given| given != cores);
    // Without a word of the user, Nix's setting is the number of cores.
    let is_asked = arguments.options.iter().any(|(name, _)| name == "max-jobs");
    let jobs = match config.number("max-jobs") {
        Some(given) if is_asked || given != cores => given,
        _ => overlapping(cores),
    };
    let is_direct = config.is_direct(request.nix.store.as_deref());
    // The directories of a failed build that the user keeps must outlive Nix.
    let can_be_in_memory = is_direct && !arguments.keep_failed && !config.has_build_dir();
    Settings {
        launch: Launch {
            program: config.nix_store(),
            store: Store::new(request.nix.store.clone()),
            config: config.text.clone(),
            arguments: arguments.for_nix(),
            keep_failed: arguments.keep_failed,
            is_direct,
            memory: scratch::size(jobs).filter(|_| can_be_in_memory),
            has_build_dir: config.knows_build_dir(),
        },
        jobs,
        cores,
        sharing: given.map_or(Sharing::Even, Sharing::Fixed),
        order: request.order,
        keep_going: request.keep_going || arguments.keep_going,
        has_caches: config.has_caches(),
    }
}

/// Returns the number of builds at once on this many cores.
///
/// There are more builds than cores if memory allows: while Nix prepares a build or registers its
/// output, no core computes for it, and another build takes the time.
fn overlapping(cores: usize) -> usize {
    let more = cores + cores.div_ceil(4);
    match scratch::has_room(more) {
        true => more,
        false => cores,
    }
}
