//! Rolls out what runs on this machine: compose files and Quadlet units.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use crateyard_deploy::quadlet::{Files, Lasting};
use crateyard_terminal::note;

use super::said::Host;
use super::{Args, Texts};
use crate::rollout::compose::{self, Kept};
use crate::rollout::quadlet::{self, QuadletUnit, Units};

/// Deploys compose files and units of this machine. `all` are those that the manifests have.
pub(super) fn deploy(args: &Args, texts: &Texts, all: &Texts) -> Result<Vec<Host>> {
    let mut hosts = up(args, &texts.compose)?;
    hosts.extend(install(args, &texts.units, &all.units)?);
    Ok(hosts)
}

fn up(args: &Args, texts: &[(PathBuf, String)]) -> Result<Vec<Host>> {
    // A file whose services do not start counts as deployed all the same, so a rollback goes back
    // beyond it.
    if !args.dry_run {
        keep(args, texts)?;
    }
    let mut hosts = Vec::new();
    for (file, text) in texts {
        let output = compose::up(file, text, args.dry_run)?;
        hosts.push(Host::compose(file, output));
    }
    Ok(hosts)
}

/// Keeps compose files, and their texts from before this deployment.
fn keep(args: &Args, texts: &[(PathBuf, String)]) -> Result<()> {
    let mut kept = Vec::new();
    for (file, text) in texts {
        kept.push((Kept::of(&args.ship.workspace, file)?, text));
    }
    let mut is_new = Vec::new();
    for (one, text) in &kept {
        is_new.push(one.keep(text)?);
    }
    // A rollback restores the state before this deployment, not before earlier ones.
    if is_new.contains(&true) {
        let mut same = kept.iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
        same.try_for_each(|((one, _), _)| one.forget())?;
    }
    Ok(())
}

/// Installs the units that differ from the installed ones, and starts what is affected.
fn install(args: &Args, texts: &[QuadletUnit], all: &[QuadletUnit]) -> Result<Vec<Host>> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let units = Units::new(args.units.as_deref())?;
    let files = after(texts, all);
    let lasting = lasting(&units, texts, &files)?;
    let mut hosts = Vec::new();
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for unit in texts {
        let installed = units.installed(&unit.name)?;
        let differs = installed.as_deref() != Some(unit.text.as_bytes());
        hosts.push(Host::unit(&unit.source, differs));
        match differs {
            true => changed.push(unit),
            false => same.push(unit),
        }
    }
    lasting.iter().for_each(say_that_it_stays);
    if args.dry_run {
        return Ok(hosts);
    }
    let mut names: Vec<_> = changed.iter().map(|unit| unit.name.as_path()).collect();
    for unit in &same {
        // An earlier run may have installed the unit without starting it.
        let service = unit.name.to_str().and_then(|name| files.service(name));
        if units.is_down(&unit.name, service.as_deref())? {
            note!("{} is not running; starting it again", unit.name.display());
            names.push(&unit.name);
        }
    }
    for unit in &changed {
        units.install(&unit.name, &unit.text)?;
    }
    // A rollback goes back to the state before this deployment, not before earlier ones.
    if !changed.is_empty() {
        let mut same = same.into_iter();
        same.try_for_each(|unit| units.forget(&unit.name))?;
    }
    if !names.is_empty() {
        units.restart(&names, &files)?;
    }
    Ok(hosts)
}

/// Returns the units as they are after this run: `texts`, and the others of `all`.
fn after(texts: &[QuadletUnit], all: &[QuadletUnit]) -> Files {
    let is_other = |unit: &&QuadletUnit| !texts.iter().any(|it| it.name == unit.name);
    quadlet::files(texts.iter().chain(all.iter().filter(is_other)))
}

/// Returns the networks and volumes that a changed unit describes, and that podman has made under
/// the same name by the installed one.
fn lasting(units: &Units, texts: &[QuadletUnit], files: &Files) -> Result<BTreeSet<Lasting>> {
    let mut installed = Vec::new();
    for unit in texts {
        if let Some(text) = units.installed(&unit.name)? {
            installed.push(QuadletUnit {
                source: unit.source.clone(),
                name: unit.name.clone(),
                text: String::from_utf8_lossy(&text).into_owned(),
            });
        }
    }
    let before = quadlet::files(&installed).all_lasting();
    let differs = |unit: &&QuadletUnit| {
        let old = installed.iter().find(|it| it.name == unit.name);
        old.is_none_or(|old| old.text != unit.text)
    };
    let changed = texts.iter().filter(differs);
    let described = changed.filter_map(|unit| Some(files.lasting(unit.name.to_str()?)));
    let described: BTreeSet<Lasting> = described.flatten().collect();
    Ok(&described & &before)
}

fn say_that_it_stays(one: &Lasting) {
    let Lasting { kind, name } = one;
    let next = match *kind {
        "network" => "NetworkDeleteOnStop=true in the unit makes it anew at each restart",
        _ => "another VolumeName= begins with an empty one",
    };
    note!(
        "podman keeps the {kind} {name} as it was made, without the changes to its unit\n  try: \
         {next}"
    );
}

/// Reads the texts that ran on this machine before.
pub(super) fn before(args: &Args, texts: &Texts) -> Result<Texts> {
    let mut before = Texts::default();
    for (file, _) in &texts.compose {
        if let Some(text) = Kept::of(&args.ship.workspace, file)?.before()? {
            before.compose.push((file.clone(), text));
        }
    }
    if !texts.units.is_empty() {
        let units = Units::new(args.units.as_deref())?;
        for unit in &texts.units {
            if let Some(text) = units.before(&unit.name)? {
                before.add_unit(&unit.source, &unit.name, text)?;
            }
        }
    }
    Ok(before)
}
