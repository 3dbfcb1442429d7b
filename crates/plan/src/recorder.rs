//! Stands in for rustc, for build scripts and for tests while Cargo is being recorded.

use crate::record::Record;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of the real compiler, which answers Cargo's questions about itself.
pub const COMPILERS: &str = "/usr/bin";

/// The programs with rustc's interface that Cargo calls.
pub const TOOLS: [&str; 3] = ["rustc", "rustdoc", "clippy-driver"];

/// The key under which a build script's stand-in passes its `OUT_DIR` to the build scripts of
/// dependent packages. Cargo hands it on as `DEP_<LINKS>_<KEY>`.
pub(crate) const METADATA_KEY: &str = "CRATEYARD_OUT_DIR";

/// Plays the program that this process was started as.
///
/// # Errors
/// Fails if the record can't be written, or rustc is called in a way that can't be recorded.
pub fn play(directory: &Path) -> Result<()> {
    let record = Record::of_this_process()?;
    let name = record
        .argv
        .first()
        .map(|p| file_name(p))
        .unwrap_or_default();
    if name.starts_with("build-script-") {
        return play_build_script(&record, directory);
    }
    if !TOOLS.contains(&name.as_str()) {
        // This is a compiled test that runs.
        return record.save(directory);
    }
    if is_question(&record) {
        let program = format!("{COMPILERS}/{name}");
        let error = Command::new(&program).args(&record.argv[1..]).exec();
        return Err(error).with_context(|| format!("cannot start {program}"));
    }
    play_rustc(&record, directory)
}

fn play_build_script(record: &Record, directory: &Path) -> Result<()> {
    record.save(directory)?;
    let out_dir = record.var("OUT_DIR").context("Cargo set no OUT_DIR")?;
    println!("cargo:{METADATA_KEY}={out_dir}");
    Ok(())
}

/// Whether Cargo asks for the version, for cfgs, or for the names of outputs.
fn is_question(record: &Record) -> bool {
    record.has("-vV")
        || record.has("-V")
        || record.has("-")
        || record.values("--print").next().is_some()
}

fn play_rustc(record: &Record, directory: &Path) -> Result<()> {
    record.save(directory)?;
    for path in outputs(record)? {
        if path.extension().is_none() {
            // Cargo runs this file if it is a build script. It is on the same file system as the
            // stand-ins.
            fs::hard_link(std::env::current_exe()?, &path)
                .with_context(|| format!("cannot link {}", path.display()))?;
        } else {
            fs::write(&path, dep_info(&path))?;
        }
    }
    Ok(())
}

/// Returns the files that rustc would write and that Cargo looks for.
pub fn outputs(record: &Record) -> Result<Vec<PathBuf>> {
    let Some(name) = record.values("--crate-name").next() else {
        bail!("Cargo called rustc without a crate name: {:?}", record.argv);
    };
    let dir = Path::new(record.values("--out-dir").next().unwrap_or("."));
    let stem = format!(
        "{name}{}",
        record.codegen("extra-filename").unwrap_or_default()
    );
    let emit: Vec<&str> = record.values("--emit").flat_map(|e| e.split(',')).collect();
    let mut files = vec![];
    if emit.contains(&"dep-info") {
        files.push(dir.join(format!("{stem}.d")));
    }
    if emit.contains(&"metadata") {
        files.push(dir.join(format!("lib{stem}.rmeta")));
    }
    if emit.contains(&"link") {
        let kinds: Vec<&str> = record.values("--crate-type").collect();
        if record.has("--test") || kinds.contains(&"bin") {
            files.push(dir.join(&stem));
        }
        for kind in kinds {
            files.extend(library(kind).map(|extension| dir.join(format!("lib{stem}.{extension}"))));
        }
    }
    Ok(files)
}

fn library(crate_type: &str) -> Option<&'static str> {
    match crate_type {
        "lib" | "rlib" => Some("rlib"),
        "dylib" | "cdylib" | "proc-macro" => Some("so"),
        "staticlib" => Some("a"),
        _ => None,
    }
}

fn dep_info(path: &Path) -> String {
    match path.extension() {
        Some(extension) if extension == "d" => format!("{}:\n", path.display()),
        _ => String::new(),
    }
}

/// Returns the last part of a path.
pub fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
