//! Finds files outside a package that its sources name.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crateyard_description::left_out::{TEST_DIRECTORIES, is_document};

use crate::metadata::Package;
use crate::modules;
use crate::sources::Source;

/// Returns the files and directories that a package's sources name or link to, but its units do not
/// see. The paths are relative to the package; none is inside another.
pub(crate) fn outside(
    package: &Package,
    root: &Path,
    sources: &[Source],
    reasons: &mut Vec<String>,
) -> BTreeSet<String> {
    let directory = package.directory();
    let is_root = directory == root;
    let script = build_script(package, sources);
    let mut named: Vec<(PathBuf, String)> = Vec::new();
    for source in sources {
        let is_script = script.contains(&source.path);
        let target = source.target.as_ref().and_then(|it| linked(it, &directory));
        if let Some(path) = target.filter(|target| !is_for_readers(source, target, is_root)) {
            let why = format!("the link {} leads to", source.path.display());
            named.push((path, why));
        }
        let paths = source.named_paths(is_script);
        for path in paths.iter().filter_map(|path| simple(path)) {
            let why = format!("its {} names", source.path.display());
            // A link inside the package, or a directory around the file, may lead out of it.
            let place = directory.join(&path);
            if place.is_symlink() || !path.starts_with("..") {
                let target = place.canonicalize().ok();
                let target = target.and_then(|target| linked(&target, &directory));
                named.extend(target.map(|target| (target, why.clone())));
            }
            if path.starts_with("..") {
                named.push((path, why));
            }
        }
        let own = source.without_tests().named_paths(is_script);
        for path in own.iter().filter_map(|path| simple(path)) {
            if !source.is_aside() && is_left_out(&path, is_root) {
                named.push((path, format!("its {} names", source.path.display())));
            }
        }
    }
    let is_there = |path: &Path| {
        let place = simple(&directory.join(path));
        place.is_some_and(|place| {
            let is_own = path.starts_with("..") && place.starts_with(&directory);
            place.exists() && place.starts_with(root) && !is_own && !directory.starts_with(&place)
        })
    };
    named.retain(|(path, _)| is_there(path));
    let mut files = BTreeSet::new();
    for (path, why) in &named {
        let is_covered = named
            .iter()
            .any(|(other, _)| path != other && path.starts_with(other));
        let written = path.to_string_lossy().into_owned();
        if !is_covered && files.insert(written.clone()) {
            reasons.push(format!(
                "the package {} sees {written}, which {why}",
                package.name
            ));
        }
    }
    files
}

/// Returns the files of the package's build script, which may have any name.
pub(crate) fn build_script(package: &Package, sources: &[Source]) -> BTreeSet<PathBuf> {
    let root = package.build_script();
    root.map_or_else(BTreeSet::new, |root| modules::of(&root, sources))
}

/// Whether a link of the package is for readers or tests, not for code: a unit that does not name
/// it does not read it either. If it were declared, an edit of a document would compile the unit
/// again.
fn is_for_readers(link: &Source, target: &Path, is_root: bool) -> bool {
    let is_top = link.path.components().count() == 1;
    let name = |path: &Path| {
        path.file_name()
            .is_some_and(|name| is_text(&name.to_string_lossy()))
    };
    is_left_out(&link.path, is_root) || (is_top && (name(&link.path) || name(target)))
}

/// Whether a name is that of a document or of a directory of documents.
fn is_text(name: &str) -> bool {
    const BEGINNINGS: [&str; 8] = [
        "AUTHORS",
        "CODE_OF_CONDUCT",
        "CONTRIBUTING",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "README",
        "SECURITY",
    ];
    let is_one = BEGINNINGS.iter().any(|it| name.starts_with(it));
    is_one || is_document(name) || ["doc", "docs"].contains(&name)
}

/// Whether a file of the package is one that its units see only if it is declared, as in
/// `nix/cargo/source.nix`: a document, a file of the tests, or in the package of the workspace's
/// root a file that belongs to the repository.
fn is_left_out(path: &Path, is_root: bool) -> bool {
    let mut parts = path.components();
    let Some(Component::Normal(top)) = parts.next() else {
        return false;
    };
    let top = top.to_string_lossy();
    let is_document = parts.next().is_none() && is_document(&top);
    is_document || TEST_DIRECTORIES.contains(&&*top) || (is_root && is_of_repository(&top))
}

fn is_of_repository(name: &str) -> bool {
    let names = [
        "docs",
        "flake.nix",
        "flake.lock",
        "images.toml",
        "debian.lock",
        "Cargo.lock",
        "plan.lock",
        "docker-bake.hcl",
        "Makefile",
        "makefile",
        "justfile",
    ];
    name.starts_with('.') || name.starts_with("Dockerfile") || names.contains(&name)
}

/// Returns the target of a link, relative to the package; `None` if it is inside the package.
fn linked(target: &Path, directory: &Path) -> Option<PathBuf> {
    let directory = directory.canonicalize().ok()?;
    if target.starts_with(&directory) {
        return None;
    }
    let mut up = PathBuf::new();
    let mut above = directory.as_path();
    while !target.starts_with(above) {
        up.push("..");
        above = above.parent()?;
    }
    Some(up.join(target.strip_prefix(above).ok()?))
}

impl Source {
    /// Returns the paths in the file that may be outside the package, relative to the package.
    /// `is_script` is whether the file belongs to the build script.
    fn named_paths(&self, is_script: bool) -> Vec<PathBuf> {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let mut named = Vec::new();
        for include in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
            let after = self.text.split(include).skip(1);
            named.extend(after.filter_map(literal).map(|path| directory.join(path)));
        }
        // `include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../x"))`
        let after = self.text.split("env!(\"CARGO_MANIFEST_DIR\")").skip(1);
        let after = after.filter_map(|rest| rest.trim_start().strip_prefix(','));
        let after = after.filter_map(|rest| rest.trim_start().strip_prefix("\"/"));
        named.extend(after.filter_map(literal).map(PathBuf::from));
        if is_script {
            // A build script runs in the package's directory.
            let after = self.text.split("\"../").skip(1);
            let literals = after.filter_map(literal);
            let paths = literals.map(|path| Path::new("..").join(path));
            named.extend(paths.map(with_imports));
        }
        // Paths in macros and attributes (`migrate!("../x")`, `#[folder = "../x"]`) are relative to
        // the package.
        for opening in ["\"../", "\"$CARGO_MANIFEST_DIR/../"] {
            for (at, _) in self.text.match_indices(opening) {
                if is_given_to_macro(&self.text[..at]) {
                    let path = literal(&self.text[at + opening.len()..]);
                    named.extend(path.map(|path| Path::new("..").join(path)));
                }
            }
        }
        named
    }
}

/// Whether the text after `before` is a macro's first argument or the value of an attribute on this
/// line.
fn is_given_to_macro(before: &str) -> bool {
    let before = before.trim_end();
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    let included = ["include_str!(", "include_bytes!(", "include!("];
    let is_included = included.iter().any(|include| before.ends_with(include));
    let is_attribute = line.starts_with("#[") && line.ends_with('=');
    (before.ends_with("!(") && !is_included && !line.starts_with("//")) || is_attribute
}

/// Replaces a `.proto` file with its directory, which also holds the files that it imports.
fn with_imports(path: PathBuf) -> PathBuf {
    let is_proto = path
        .extension()
        .is_some_and(|extension| extension == "proto");
    let parent = path.parent().filter(|parent| parent.file_name().is_some());
    match parent {
        Some(parent) if is_proto => parent.to_owned(),
        _ => path,
    }
}

/// Returns the text up to the quote that ends a literal.
pub(crate) fn literal(rest: &str) -> Option<&str> {
    rest.split_once('"').map(|(literal, _)| literal)
}

/// Returns a path without `.`, and with `..` only at its beginning; `None` if it leaves the file
/// system's root.
pub(crate) fn simple(path: &Path) -> Option<PathBuf> {
    let mut simple = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match simple.components().next_back() {
                Some(Component::Normal(_)) => {
                    simple.pop();
                }
                Some(Component::RootDir) => return None,
                _ => simple.push(".."),
            },
            part => simple.push(part),
        }
    }
    Some(simple)
}
