//! Runs rustc with Cargo's arguments and what the build scripts below have said.

use crate::closure::Closure;
use crate::output::{Output, keep_metadata};
use crate::run::Request;
use crate::{
    Action, Product, Target, TargetKind, Unit, diagnostics, environment, files, hints, source,
};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Compiles the unit and keeps what rustc wrote.
///
/// # Errors
/// When rustc fails; it has then said why on standard error.
pub fn compile(request: &Request, closure: &Closure, output: &Output) -> Result<()> {
    let unit = &request.unit;
    let Action::Compile {
        program,
        args,
        out_dir,
        target,
        metadata_only,
        ..
    } = &unit.action
    else {
        bail!("the unit {} does not compile", unit.name);
    };
    let mut command = environment::command(program, unit);
    command.args(args);
    add_directives(&mut command, unit, closure)?;
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let tokens = environment::share_cores(&mut command, request.cores)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let stream = child.stderr.take().context("rustc has no standard error")?;
    let said = diagnostics::show(stream, std::io::stderr(), *metadata_only)?;
    if said.is_metadata_there {
        // The rest would be code.
        child.kill()?;
        child.wait()?;
        return keep_metadata(Path::new(out_dir), &output.files());
    }
    let status = child.wait()?;
    drop(tokens);
    if !status.success() {
        if let Some(hint) = hints::hint(request, &said.text) {
            eprintln!("help: {hint}");
        }
        bail!("{program} failed for {}: {status}", unit.name);
    }
    if *metadata_only {
        bail!(
            "{program} has not said where the metadata of {} is",
            unit.name
        );
    }
    let out_dir = Path::new(out_dir);
    match unit.product() {
        Product::Files => keep(out_dir, target, args, &output.files()),
        Product::Program => keep(out_dir, target, args, &output.bin()),
        Product::Documentation => source::place_tree(out_dir, &output.doc()),
        Product::Verdict => Ok(()),
    }
}

/// Adds what build scripts ask for, in Cargo's order: search paths of all native libraries below,
/// then each script's libraries and linker arguments, then the cfgs and variables of the
/// package's own script.
fn add_directives(command: &mut Command, unit: &Unit, closure: &Closure) -> Result<()> {
    let Action::Compile {
        program,
        target,
        build_script,
        native,
        takes_link_libs,
        ..
    } = &unit.action
    else {
        return Ok(());
    };
    let links = program != "rustdoc";
    let scripts = native
        .iter()
        .map(|out_dir| Ok((out_dir, closure.directives(out_dir)?)))
        .collect::<Result<Vec<_>>>()?;
    if links || target.test {
        for path in search_paths(scripts.iter().flat_map(|(_, d)| &d.link_search)) {
            command.arg("-L").arg(path);
        }
    }
    for (out_dir, directives) in scripts.iter().filter(|_| links) {
        let own = build_script.as_ref() == Some(*out_dir);
        if own && *takes_link_libs {
            for lib in &directives.link_libs {
                command.arg("-l").arg(lib);
            }
        }
        for link in &directives.link_args {
            let reaches = own || link.scope == crate::directives::Scope::Cdylib;
            if reaches && link.scope.applies_to(target) {
                command.arg("-C").arg(format!("link-arg={}", link.arg));
            }
        }
    }
    if let Some(out_dir) = build_script {
        let own = closure.directives(out_dir)?;
        for cfg in &own.cfgs {
            command.arg("--cfg").arg(cfg);
        }
        for cfg in &own.check_cfgs {
            command.arg("--check-cfg").arg(cfg);
        }
        command.envs(own.env);
    }
    Ok(())
}

/// Cargo puts paths inside its target directory before the system's.
fn search_paths<'a>(paths: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let (inside, outside): (Vec<_>, Vec<_>) = paths.partition(|path| {
        let path = path.split_once('=').map_or(path.as_str(), |(_, p)| p);
        path.starts_with("/cargo/target/")
    });
    inside.into_iter().chain(outside).collect()
}

/// Moves what rustc wrote to the output. Links in the directory are dependencies.
fn keep(out_dir: &Path, target: &Target, args: &[String], into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let suffix = extra_filename(args);
    for name in files::names(out_dir)? {
        let from = out_dir.join(&name);
        // Nix knows what a unit depends on; rustc's own list would only be one more output.
        let is_dep_info = from.extension() == Some("d".as_ref());
        if is_dep_info || !fs::symlink_metadata(&from)?.is_file() {
            continue;
        }
        let mut to = name.to_string_lossy().into_owned();
        if target.kind == TargetKind::BuildScript {
            if is_executable(&from)? {
                // The name under which Cargo runs it.
                let link = to.replacen(suffix, "", 1).replace('_', "-");
                files::link(Path::new(&to), &into.join(link))?;
            }
        } else if is_program(target) {
            // Cargo links `deps/NAME-HASH` to `NAME`, with the manifest's spelling of the name.
            let crate_name = target.name.replace('-', "_");
            to = to.replacen(&format!("{crate_name}{suffix}"), &target.name, 1);
        }
        fs::copy(&from, into.join(&to))
            .with_context(|| format!("cannot keep {}", from.display()))?;
    }
    Ok(())
}

fn is_program(target: &Target) -> bool {
    use TargetKind::{Bench, Bin, Example, Test};
    target.test || matches!(target.kind, Bin | Example | Test | Bench)
}

fn is_executable(path: &Path) -> Result<bool> {
    Ok(fs::metadata(path)?.mode() & 0o111 != 0)
}

fn extra_filename(args: &[String]) -> &str {
    args.iter()
        .find_map(|arg| arg.strip_prefix("extra-filename="))
        .unwrap_or_default()
}
