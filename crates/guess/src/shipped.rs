//! Guesses which programs a workspace ships.
//!
//! A Dockerfile is the best source. Without one, these tell programs from tools: Cargo's default
//! members, `publish`, and names. A rule is skipped if it would leave no program: a workspace with
//! only tools ships them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::dockerfiles::Dockerfile;
use crate::image::Program;
use crate::metadata::{Metadata, Package, Target};
use crate::tree;

/// The programs that are shipped, and those that are not.
pub(crate) struct Shipped<'m> {
    pub programs: Vec<Program<'m>>,
    pub left_out: Vec<LeftOut>,
    /// Identifiers of the packages that the programs need.
    pub closure: BTreeSet<String>,
}

/// Programs without an image, with a common reason.
pub(crate) struct LeftOut {
    /// Their names for `images.toml`.
    pub binaries: Vec<String>,
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.binaries.join(", "), self.why)
    }
}

#[derive(Clone, Copy)]
struct Candidate<'m> {
    package: &'m Package,
    target: &'m Target,
}

/// Chooses the programs that get an image.
pub(crate) fn select<'m>(metadata: &'m Metadata, dockerfiles: &[Dockerfile]) -> Shipped<'m> {
    let root = &metadata.workspace_root;
    let mut selection = Selection::of(metadata);
    if !dockerfiles.is_empty() {
        let holder = |one: &Candidate| {
            let mut files = dockerfiles.iter();
            files.find(|file| file.holds(one.package, &one.target.name))
        };
        let is_held = |one: &Candidate| match holder(one) {
            Some(_) => None,
            None => Some("no Dockerfile has it".to_owned()),
        };
        if selection.narrow(is_held) {
            return selection.shipped(metadata, |one| holder(one).map(|file| file.path.clone()));
        }
    }
    selection.narrow(|one| {
        let missing = one.package.missing_features(one.target);
        let list = missing.join("\", \"");
        (!missing.is_empty()).then(|| format!("needs `features = [\"{list}\"]`"))
    });
    selection
        .narrow(|one| is_wasm(one.package).then(|| "a plugin or page in WebAssembly".to_owned()));
    selection.narrow(|one| kind_of_tool(one, root).map(str::to_owned));
    if let Some(default) = metadata.default_members() {
        let is_other = |one: &Candidate| !default.contains(one.package.id.as_str());
        let why = "Cargo does not build it by default (`default-members`)";
        selection.narrow(|one| is_other(one).then(|| why.to_owned()));
    }
    selection.narrow(|one| (!one.package.is_published()).then(|| "`publish = false`".to_owned()));
    selection.shipped(metadata, |_| None)
}

struct Selection<'m> {
    chosen: Vec<Candidate<'m>>,
    left_out: Vec<(Candidate<'m>, String)>,
}

impl<'m> Selection<'m> {
    fn of(metadata: &'m Metadata) -> Selection<'m> {
        let mut packages: Vec<&Package> = metadata.packages.iter().collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let candidates = packages.into_iter().flat_map(|package| {
            let binaries = package.binaries();
            binaries.map(move |target| Candidate { package, target })
        });
        Selection {
            chosen: candidates.collect(),
            left_out: Vec::new(),
        }
    }

    /// Leaves out the programs for which there is a reason, unless none would remain. Returns
    /// whether it did.
    fn narrow(&mut self, reason: impl Fn(&Candidate) -> Option<String>) -> bool {
        let with_reasons = self.chosen.iter().map(|one| (*one, reason(one)));
        let (kept, dropped): (Vec<_>, Vec<_>) = with_reasons.partition(|(_, why)| why.is_none());
        if kept.is_empty() {
            return false;
        }
        self.chosen = kept.into_iter().map(|(one, _)| one).collect();
        let dropped = dropped.into_iter();
        self.left_out
            .extend(dropped.filter_map(|(one, why)| Some((one, why?))));
        true
    }

    fn shipped(
        self,
        metadata: &'m Metadata,
        holder: impl Fn(&Candidate) -> Option<String>,
    ) -> Shipped<'m> {
        let mut left_out: Vec<LeftOut> = Vec::new();
        for (one, why) in &self.left_out {
            let binary = format!("{}/{}", one.package.name, one.target.name);
            match left_out.iter_mut().find(|left| left.why == *why) {
                Some(left) => left.binaries.push(binary),
                None => left_out.push(LeftOut {
                    binaries: vec![binary],
                    why: why.clone(),
                }),
            }
        }
        let program = |one: &Candidate<'m>| {
            let Candidate { package, target } = *one;
            let why = format!("the binary {} of the package {}", target.name, package.name);
            Program {
                package,
                bin: &target.name,
                why: match holder(one) {
                    Some(file) => format!("{why}, as in {file}"),
                    None => why,
                },
            }
        };
        let packages = self.chosen.iter().map(|one| one.package);
        Shipped {
            closure: metadata.closure(packages),
            programs: self.chosen.iter().map(program).collect(),
            left_out,
        }
    }
}

/// Crates that are plain dependencies only of WebAssembly for a browser or a plugin host.
const WASM: [&str; 9] = [
    "dioxus-web",
    "extism-pdk",
    "js-sys",
    "spin-sdk",
    "wasm-bindgen",
    "web-sys",
    "wit-bindgen",
    "worker",
    "zellij-tile",
];

fn is_wasm(package: &Package) -> bool {
    let mut plain = package.dependencies.iter().filter(|dependency| {
        !dependency.optional && dependency.target.is_none() && dependency.kind.is_none()
    });
    let configured = [".cargo/config.toml", ".cargo/config"].iter().any(|name| {
        let text = tree::text(&package.directory().join(name)).unwrap_or_default();
        text.contains("target = \"wasm32")
    });
    configured || plain.any(|dependency| WASM.contains(&dependency.name.as_str()))
}

/// Crates that only fuzzers depend on.
const FUZZERS: [&str; 3] = ["afl", "honggfuzz", "libfuzzer-sys"];

/// Words in the names of packages, programs and directories, and the kind of program that they
/// show.
const WORDS: [(&[&str], &str); 4] = [
    (&["fuzz", "fuzzer", "fuzzers", "fuzzing"], "a fuzzer"),
    (
        &["example", "examples", "demo", "demos", "sample", "samples"],
        "an example",
    ),
    (
        &[
            "test",
            "tests",
            "testing",
            "e2e",
            "bench",
            "benches",
            "benchmark",
            "benchmarks",
            "mock",
            "mocks",
        ],
        "a test or a benchmark",
    ),
    (
        &[
            "ci",
            "codegen",
            "completions",
            "devtools",
            "gen",
            "generate",
            "generator",
            "manpage",
            "manpages",
            "xtask",
            "xtasks",
        ],
        "a tool for developers",
    ),
];

/// Directories of tools. Only parent directories count, because a shipped package may have such a
/// name.
const TOOLS: [&str; 3] = ["hack", "scripts", "tools"];

/// Returns the kind of a tool, or `None` for a program that may be shipped.
fn kind_of_tool(one: &Candidate, root: &Path) -> Option<&'static str> {
    let mut dependencies = one.package.dependencies.iter();
    if dependencies.any(|dependency| FUZZERS.contains(&dependency.name.as_str())) {
        return Some(WORDS[0].1);
    }
    let directory = tree::relative(&one.package.directory(), root).to_lowercase();
    let names = format!("{directory}/{}/{}", one.package.name, one.target.name).to_lowercase();
    let kinds = WORDS.iter().find(|(words, _)| {
        let mut parts = names.split(['/', '-', '_', '.']);
        parts.any(|part| words.contains(&part))
    });
    let mut parents = directory.split('/').rev().skip(1);
    let is_tool = parents.any(|part| TOOLS.contains(&part));
    kinds
        .map(|(_, what)| *what)
        .or(is_tool.then_some(WORDS[3].1))
}
