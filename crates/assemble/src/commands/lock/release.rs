//! Pins the release of the Rust project that a workspace is built with in `toolchain.lock`.

use anyhow::{Result, bail};
use crateyard_build::placed::placed;
use crateyard_description::Description;
use crateyard_fetch::toolchains::{self, Server};
use crateyard_nix::Store;
use crateyard_terminal::{note, print_line};
use crateyard_toolchain::lock::{Component, FILE, Lock, Pin};
use crateyard_toolchain::rustup::Installed;
use std::path::Path;

/// Pins the release that a workspace asks for, or reports that it needs no pin of its own.
///
/// # Errors
/// When the workspace asks for an unavailable release, or, with `check`, when the file is out of
/// date.
pub fn pin(workspace: &Path, description: &Description, check: bool) -> Result<()> {
    if description.toolchain.provider != "release" {
        return Ok(());
    }
    let path = placed(None, workspace, FILE);
    let choice = toolchains::choice(workspace, description)?;
    if choice.is_default && !path.exists() {
        return print_line(format!(
            "Rust {}: {}; Crateyard's own {FILE} pins it",
            choice.channel, choice.reason
        ));
    }
    let older = path.exists().then(|| Lock::load(&path)).transpose()?;
    let store = Store::new(None);
    let mut server = Server::new(&store);
    let (manifest, from) = toolchains::manifest(&choice.channel, &mut server)?;
    let (mut lock, without) = Lock::new(&choice, &manifest, &toolchains::host())?;
    if let Some(older) = &older {
        lock.keep_files_of(older);
    }
    let lacking = add_files(&mut lock, &mut server)?;
    let is_same = older.as_ref() == Some(&lock);
    if check && !is_same {
        bail!(
            "{} is not what the workspace asks for today; write it with: assemble lock",
            path.display()
        );
    }
    if !is_same {
        lock.save(&path)?;
    }
    print_line(format!(
        "Rust {} ({}): {}; the manifest is from {from}",
        lock.release, lock.date, choice.reason
    ))?;
    for reason in without {
        note!("{reason}, so nothing is pinned for that platform");
    }
    for (name, reason) in lacking {
        note!("{name} is pinned by its archive alone, because its files can't be had: {reason}");
    }
    let state = if is_same { "is up to date" } else { "written" };
    print_line(format!("{} {state}", path.display()))
}

/// Adds hashes of the files that this machine builds with, if no older lock has them. The files
/// come from rustup or from the archive. Returns the components that were unavailable, each with
/// the reason.
fn add_files(lock: &mut Lock, server: &mut Server<'_>) -> Result<Vec<(String, String)>> {
    let all = Installed::all();
    let installed = Installed::of_lock(&all, lock);
    let host = toolchains::host();
    let wanted = lock.for_host(&host);
    let wanted: Vec<(String, String)> = wanted
        .filter(|component| component.pin.files.is_none())
        .map(|component| (component.name.to_owned(), component.platform.to_owned()))
        .collect();
    let mut lacking = Vec::new();
    for (name, platform) in wanted {
        let Some(pin) = lock
            .components
            .get(&name)
            .and_then(|pins| pins.get(&platform))
        else {
            continue;
        };
        let component = Component {
            name: &name,
            platform: &platform,
            pin,
        };
        match hash(lock, component, installed, server) {
            Ok(hash) => set_files(lock, &name, &platform, hash),
            Err(error) => lacking.push((lock.store_name(component), format!("{error:#}"))),
        }
    }
    Ok(lacking)
}

fn set_files(lock: &mut Lock, name: &str, platform: &str, hash: String) {
    let pin: Option<&mut Pin> = lock
        .components
        .get_mut(name)
        .and_then(|pins| pins.get_mut(platform));
    if let Some(pin) = pin {
        pin.files = Some(hash);
    }
}

/// Hashes a component's files. Prefers rustup's files, because they need no download.
fn hash(
    lock: &Lock,
    component: Component<'_>,
    installed: Option<&Installed>,
    server: &mut Server<'_>,
) -> Result<String> {
    let name = lock.store_name(component);
    if let Some(installed) = installed.filter(|installed| installed.has(component)) {
        return Ok(installed.files(component, &name)?.sha256()?);
    }
    let archive = server.archive(component)?;
    Ok(toolchains::checked(lock, component, &archive)?.sha256()?)
}
