//! Runs rustc with Cargo's arguments and the additions of the build scripts below.

use crate::inputs::Inputs;
use crate::output::{Output, keep_metadata};
use crate::run::Request;
use crate::{Action, Product, Target, TargetKind};
use crate::{calls, diagnostics, environment, files, hints, points, source};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

/// Compiles the unit and keeps rustc's files.
///
/// # Errors
/// When rustc fails. Its messages are then on standard error.
pub fn compile(request: &Request, inputs: &Inputs, output: &Output) -> Result<()> {
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
    let added = calls::added(unit, |out_dir| inputs.directives(out_dir))?;
    command.args(args).args(added.args).envs(added.env);
    environment::show_revision(&mut command, request)?;
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let tokens = environment::share_cores(&mut command, request.cores)?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let stream = child.stderr.take().context("rustc has no standard error")?;
    let said = diagnostics::show(stream, std::io::stderr(), *metadata_only)?;
    if said.is_metadata_there {
        // rustc would only make code now.
        child.kill()?;
        child.wait()?;
        keep_points(request, inputs, output)?;
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
    keep_points(request, inputs, output)?;
    let out_dir = Path::new(out_dir);
    match unit.product() {
        Product::Files => keep(out_dir, target, args, &output.files()),
        Product::Program => keep(out_dir, target, args, &output.bin()),
        Product::Documentation => source::place_tree(out_dir, &output.doc()),
        Product::Verdict => Ok(()),
    }
}

/// Writes down the files to which the unit's code points, if something may run the code.
fn keep_points(request: &Request, inputs: &Inputs, output: &Output) -> Result<()> {
    let unit = &request.unit;
    let Action::Compile {
        args,
        out_dir,
        target,
        ..
    } = &unit.action
    else {
        return Ok(());
    };
    let is_plugin = matches!(target.kind, TargetKind::ProcMacro | TargetKind::BuildScript);
    let is_test = target.test || matches!(target.kind, TargetKind::Test | TargetKind::Bench);
    let is_kept = match unit.product() {
        Product::Files => true,
        Product::Program => is_test,
        Product::Documentation | Product::Verdict => false,
    };
    if !is_kept {
        return Ok(());
    }
    let dep_info =
        Path::new(out_dir).join(format!("{}{}.d", crate_name(args), extra_filename(args)));
    let mut points = points::of_crate(&dep_info, &request.own_source(inputs)?, inputs)?;
    if is_plugin || is_test {
        points = points::of_program(points, inputs)?;
    }
    points.write(output.root())
}

/// Copies rustc's files to the output. Links in the directory are dependencies.
fn keep(out_dir: &Path, target: &Target, args: &[String], into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let suffix = extra_filename(args);
    for name in files::names(out_dir)? {
        let from = out_dir.join(&name);
        // Nix knows the dependencies of a unit. rustc's own list would only be one more output.
        let is_dep_info = from.extension() == Some("d".as_ref());
        if is_dep_info || !fs::symlink_metadata(&from)?.is_file() {
            continue;
        }
        let mut to = name.to_string_lossy().into_owned();
        if target.kind == TargetKind::BuildScript {
            if is_executable(&from)? {
                // Cargo runs it under this name.
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

fn crate_name(args: &[String]) -> &str {
    let at = args.iter().position(|arg| arg == "--crate-name");
    at.and_then(|at| args.get(at + 1))
        .map_or("", String::as_str)
}

fn extra_filename(args: &[String]) -> &str {
    args.iter()
        .find_map(|arg| arg.strip_prefix("extra-filename="))
        .unwrap_or_default()
}
