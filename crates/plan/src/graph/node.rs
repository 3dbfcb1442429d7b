//! A record of a call, with the facts that follow from it alone.

use crate::record::Record;
use crate::recorder::{self, TOOLS};
use anyhow::{Context, Result};
use crateyard_unit::{Target, TargetKind};
use semver::Version;
use std::collections::BTreeMap;
use std::path::Path;

/// The directory to which examples in documentation are compiled.
const DOC_TESTS: &str = "/cargo/target/doc-tests";

/// A record and the facts derived from it.
pub(super) struct Node<'a> {
    pub(super) record: &'a Record,
    /// The unit's key in the plan.
    pub(super) key: String,
    /// The target that the record compiles, if it compiles one.
    pub(super) target: Option<Target>,
    /// The directory that Cargo makes the program write to; empty for a test that runs.
    pub(super) out_dir: String,
}

impl<'a> Node<'a> {
    pub(super) fn new(record: &'a Record) -> Result<Self> {
        let tool = tool(record);
        let (target, out_dir) =
            if !TOOLS.contains(&tool.as_str()) && !tool.starts_with("build-script-") {
                (None, "")
            } else if tool.starts_with("build-script-") {
                (
                    None,
                    record
                        .var("OUT_DIR")
                        .context("a build script without OUT_DIR")?,
                )
            } else {
                let dir = record
                    .values("--out-dir")
                    .next()
                    .or(record.values("-o").next());
                // Only examples in documentation have no output directory. They are run.
                (Some(target(record)?), dir.unwrap_or(DOC_TESTS))
            };
        let mut node = Self {
            record,
            key: String::new(),
            target,
            out_dir: out_dir.to_owned(),
        };
        node.key = format!("{}-{}", node.name()?, node.hash());
        Ok(node)
    }

    pub(super) fn var(&self, name: &str) -> Result<&'a str> {
        let value = self.record.var(name);
        value.with_context(|| format!("Cargo set no {name} for {:?}", self.record.argv))
    }

    pub(super) fn package_dir(&self) -> Result<&'a str> {
        self.var("CARGO_MANIFEST_DIR")
    }

    pub(super) fn tool(&self) -> String {
        tool(self.record)
    }

    pub(super) fn runs_test(&self) -> bool {
        self.target.is_none() && self.out_dir.is_empty()
    }

    /// Returns the tool's arguments. A wrapper gets the compiler's name before them.
    pub(super) fn arguments(&self) -> Vec<String> {
        let wrapper = self.tool() == "clippy-driver";
        let name = |(index, arg): (usize, &String)| {
            if wrapper && index == 0 {
                "rustc".to_owned()
            } else {
                arg.clone()
            }
        };
        self.record.argv[1..].iter().enumerate().map(name).collect()
    }

    /// Returns the derivation's name.
    pub(super) fn name(&self) -> Result<String> {
        let package = self.var("CARGO_PKG_NAME")?;
        let version = self.var("CARGO_PKG_VERSION")?;
        let base = format!("{package}-{version}");
        if self.runs_test() {
            // The program `deps/NAME-HASH` tells which of the package's tests this is.
            let program = self.tool();
            let test = program.rsplit_once('-').map_or("", |(name, _)| name);
            return Ok(format!("{base}-run-{test}"));
        }
        let Some(target) = &self.target else {
            return Ok(format!("{base}-build-script-run"));
        };
        let suffix = match target.kind {
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib if target.test => {
                "-test".to_owned()
            }
            TargetKind::Bin if target.test => format!("-test-bin-{}", target.name),
            TargetKind::Lib | TargetKind::ProcMacro | TargetKind::Cdylib => String::new(),
            TargetKind::BuildScript => "-build-script".to_owned(),
            TargetKind::Bin => format!("-bin-{}", target.name),
            TargetKind::Example => format!("-example-{}", target.name),
            TargetKind::Test => format!("-test-{}", target.name),
            TargetKind::Bench => format!("-bench-{}", target.name),
        };
        let tool = match self.tool().as_str() {
            "clippy-driver" => "-clippy",
            "rustdoc" => "-doc",
            _ if !self.writes_code() => "-check",
            _ => "",
        };
        Ok(format!("{base}{suffix}{tool}"))
    }

    pub(super) fn writes_code(&self) -> bool {
        self.record
            .values("--emit")
            .any(|emit| emit.split(',').any(|e| e == "link"))
    }

    /// Returns Cargo's own hash of the unit.
    fn hash(&self) -> String {
        if let Some(extra) = self.record.codegen("extra-filename") {
            return extra.trim_start_matches('-').to_owned();
        }
        if self.runs_test() {
            let program = self.tool();
            return program
                .rsplit_once('-')
                .map_or("", |(_, hash)| hash)
                .to_owned();
        }
        if let Some(metadata) = self.record.codegen("metadata") {
            return metadata.to_owned();
        }
        // A build script is in target/.../build/PACKAGE-HASH/out.
        let parent = Path::new(&self.out_dir).parent().and_then(Path::file_name);
        let parent = parent.unwrap_or_default().to_string_lossy().into_owned();
        parent
            .rsplit_once('-')
            .map_or(parent.clone(), |(_, hash)| hash.to_owned())
    }

    /// Returns the variables that Cargo set, as the unit should see them.
    pub(super) fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.record.env.clone();
        let runs = self.tool() == "rustdoc" && self.target.as_ref().is_some_and(|t| t.test);
        if self.target.is_some() && !runs {
            // It names Cargo's own directories and serves only plugins linked dynamically.
            env.remove("LD_LIBRARY_PATH");
        }
        if self.tool() != "clippy-driver" {
            // Only lints need these. Without them, a unit is the same in every build.
            env.remove("CLIPPY_ARGS");
            env.remove("CARGO_PRIMARY_PACKAGE");
        }
        env.retain(|name, _| !self.is_metadata(name));
        for (name, program) in [("RUSTC", "rustc"), ("RUSTDOC", "rustdoc")] {
            if let Some(value) = env.get_mut(name) {
                *value = program.to_owned();
            }
        }
        env
    }

    fn is_metadata(&self, name: &str) -> bool {
        self.target.is_none() && metadata_prefix(name).is_some()
    }

    /// Returns the prefixes of `DEP_*` variables, and the `OUT_DIR` of the build scripts that set
    /// them.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let vars = self.record.env.iter();
        vars.filter_map(|(name, value)| {
            let prefix = metadata_prefix(name)?;
            Some((prefix.to_owned(), value.clone()))
        })
        .collect()
    }

    /// Returns the key by which Cargo sorts packages: name, version, source.
    pub(super) fn package_order(&self) -> (String, Option<Version>, String) {
        let get = |name: &str| self.record.var(name).unwrap_or_default().to_owned();
        let version = Version::parse(&get("CARGO_PKG_VERSION")).ok();
        (get("CARGO_PKG_NAME"), version, get("CARGO_MANIFEST_DIR"))
    }
}

/// Returns the file name of the program.
pub(super) fn tool(record: &Record) -> String {
    recorder::file_name(record.argv.first().map_or("", String::as_str))
}

fn metadata_prefix(name: &str) -> Option<&str> {
    let rest = name
        .strip_suffix(recorder::METADATA_KEY)?
        .strip_suffix('_')?;
    rest.starts_with("DEP_").then_some(rest)
}

fn target(record: &Record) -> Result<Target> {
    let crate_name = record.values("--crate-name").next();
    let crate_name = crate_name.context("rustc is given no --crate-name")?;
    let types: Vec<&str> = record.values("--crate-type").collect();
    let out_dir = record.values("--out-dir").next().unwrap_or_default();
    let test = record.has("--test");
    let named = |kind, name: &str| Target {
        kind,
        name: name.to_owned(),
        test,
    };
    let bin_name = record.var("CARGO_BIN_NAME").unwrap_or(crate_name);
    // A test has no crate type. Cargo's variables tell which target it tests.
    Ok(if test && record.var("CARGO_TARGET_TMPDIR").is_some() {
        named(TargetKind::Test, crate_name)
    } else if test && record.var("CARGO_BIN_NAME").is_some() {
        named(TargetKind::Bin, bin_name)
    } else if test {
        named(TargetKind::Lib, crate_name)
    } else if types.contains(&"proc-macro") {
        named(TargetKind::ProcMacro, crate_name)
    } else if types.contains(&"cdylib") {
        named(TargetKind::Cdylib, crate_name)
    } else if !types.contains(&"bin") {
        named(TargetKind::Lib, crate_name)
    } else if crate_name.starts_with("build_script_") && out_dir.contains("/build/") {
        named(TargetKind::BuildScript, crate_name)
    } else if out_dir.ends_with("/examples") {
        named(TargetKind::Example, crate_name)
    } else {
        named(TargetKind::Bin, bin_name)
    })
}
