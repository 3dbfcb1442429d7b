//! Finds the directories of the workspace's packages, and the paths outside them that their files
//! lead to.

use crate::targets::is_program;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

pub use crateyard_spec::targets::{PackagePlace, PackagePlaces, ProgramPlace, Reach};

/// Returns the places of the packages of the workspace in `root`, from the output of `cargo
/// metadata --no-deps`.
/// `ask` returns the same output for a package that is not a member, by its manifest, or none if
/// Cargo fails.
///
/// # Errors
/// Fails if the metadata lacks a field or a directory can't be read.
pub fn places(
    metadata: &Value,
    root: &Path,
    ask: impl Fn(&Path) -> Option<Value>,
) -> Result<PackagePlaces> {
    let packages = packages(metadata, root, ask)?;
    let real = real_directories(root, packages.keys())?;
    let sources: BTreeSet<&Path> = real.values().map(PathBuf::as_path).collect();
    let mut places = PackagePlaces::new();
    for (directory, package) in &packages {
        let Some(source) = real.get(directory) else {
            continue;
        };
        let mut search = Search {
            root,
            directory,
            source,
            others: &sources,
            found: BTreeMap::new(),
        };
        search.links(directory, source, None)?;
        search.targets(package);
        let code = Code::of(package, source);
        let place = PackagePlace {
            source: relative(source, root).unwrap_or_default(),
            reaches: search.found.into_values().collect(),
            library: code.library(),
            programs: code.programs(),
        };
        places.insert(relative(directory, root).unwrap_or_default(), place);
    }
    Ok(places)
}

/// Returns all packages by directory: the members, and the packages that they reach by `path`.
fn packages(
    metadata: &Value,
    root: &Path,
    ask: impl Fn(&Path) -> Option<Value>,
) -> Result<BTreeMap<PathBuf, Value>> {
    let mut packages = BTreeMap::new();
    let mut waiting = list(&metadata["packages"]).to_vec();
    let mut asked = BTreeSet::new();
    loop {
        for package in waiting.drain(..) {
            packages.insert(directory(&package)?, package);
        }
        let paths = packages
            .values()
            .flat_map(|package| list(&package["dependencies"]));
        let paths = paths.filter_map(|dependency| dependency["path"].as_str().map(PathBuf::from));
        let paths = paths.chain(overrides(root)).map(|path| normal(&path));
        let new: BTreeSet<PathBuf> = paths
            .filter(|path| path.starts_with(root))
            .filter(|path| !packages.contains_key(path) && !asked.contains(path))
            .collect();
        if new.is_empty() {
            return Ok(packages);
        }
        for path in new {
            let manifest = path.join("Cargo.toml");
            if !manifest.is_file() {
                asked.insert(path);
                continue;
            }
            let said = ask(&manifest);
            let all = said.map(|said| list(&said["packages"]).to_vec());
            let own = all.into_iter().flatten();
            waiting.extend(own.filter(|package| directory(package).is_ok_and(|d| d == path)));
            // Cargo accepts an override outside of all workspaces, but does not list it by itself.
            packages.insert(path.clone(), Value::Null);
            asked.insert(path);
        }
    }
}

/// Returns the directories that replace packages of a registry: `[patch]`, `[replace]` and `paths`.
fn overrides(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for file in ["Cargo.toml", ".cargo/config.toml", ".cargo/config"] {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        let table: toml::Table = toml::from_str(&text).unwrap_or_default();
        let get = |key: &str| table.get(key).and_then(toml::Value::as_table);
        let patches = get("patch").into_iter().flat_map(toml::Table::values);
        let mut all: Vec<&toml::Value> = patches
            .filter_map(toml::Value::as_table)
            .flat_map(toml::Table::values)
            .collect();
        all.extend(get("replace").into_iter().flat_map(toml::Table::values));
        let mut paths: Vec<&toml::Value> = all.iter().filter_map(|one| one.get("path")).collect();
        paths.extend(
            table
                .get("paths")
                .and_then(toml::Value::as_array)
                .into_iter()
                .flatten(),
        );
        let paths = paths.into_iter().filter_map(toml::Value::as_str);
        found.extend(paths.map(|path| root.join(path)));
    }
    found
}

fn directory(package: &Value) -> Result<PathBuf> {
    let manifest = package["manifest_path"].as_str();
    let manifest = Path::new(manifest.context("a package has no manifest")?);
    let directory = manifest.parent().context("a manifest has no directory")?;
    Ok(directory.to_owned())
}

/// Returns the directories without symbolic links. Leaves out those outside the workspace.
fn real_directories<'a>(
    root: &Path,
    directories: impl Iterator<Item = &'a PathBuf>,
) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut real = BTreeMap::new();
    for directory in directories {
        let found = fs::canonicalize(directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        if found.starts_with(root) {
            real.insert(directory.clone(), found);
        }
    }
    Ok(real)
}

/// Finds the paths that one package leads to.
struct Search<'a> {
    root: &'a Path,
    /// The package's directory as Cargo names it. The cell has it there.
    directory: &'a Path,
    /// The same without symbolic links.
    source: &'a Path,
    /// The directories of all packages, without symbolic links.
    others: &'a BTreeSet<&'a Path>,
    /// The paths found so far, by their place in the cell.
    found: BTreeMap<PathBuf, Reach>,
}

impl Search<'_> {
    /// Follows the links below a directory. `place` is its path in the cell, and `real` its path
    /// without symbolic links. `by` is the link of the package that led to it, if any.
    fn links(&mut self, place: &Path, real: &Path, by: Option<&str>) -> Result<()> {
        let entries =
            fs::read_dir(real).with_context(|| format!("cannot list {}", real.display()))?;
        let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let inner = place.join(entry.file_name());
            if kind.is_dir() && !self.others.contains(path.as_path()) {
                self.links(&inner, &path, by)?;
            } else if kind.is_symlink() {
                self.link(&inner, &path, by)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, place: &Path, link: &Path, by: Option<&str>) -> Result<()> {
        let Some(source) = end_of(link, MAX_LINKS) else {
            return Ok(()); // It leads nowhere, for Cargo too.
        };
        let target = fs::read_link(link)?;
        let at = normal(&place.parent().unwrap_or(self.root).join(target));
        let is_inside = at.starts_with(self.root) && source.starts_with(self.root);
        // A link to a directory that holds the package would make the whole directory part of it.
        if !is_inside || self.source.starts_with(&source) {
            return Ok(());
        }
        let own = match by {
            Some(by) => by.to_owned(),
            None => relative(link, self.source).unwrap_or_default(),
        };
        let is_new = self.add(&at, &source, &own);
        if is_new && source.is_dir() && !self.is_own(&source) {
            self.links(&at, &source, Some(&own))?;
        }
        Ok(())
    }

    /// Whether a path lies in this package, and not in another package inside it.
    fn is_own(&self, source: &Path) -> bool {
        let mut above = source.ancestors().take_while(|above| *above != self.source);
        source.starts_with(self.source) && !above.any(|above| self.others.contains(above))
    }

    /// Adds the targets outside the directories where Cargo looks for them. A program may have
    /// modules beside it, so this adds its directory, unless that holds the package.
    fn targets(&mut self, package: &Value) {
        for target in list(&package["targets"]) {
            let Some(path) = target["src_path"].as_str() else {
                continue;
            };
            let place = normal(Path::new(path));
            let Ok(source) = fs::canonicalize(&place) else {
                continue;
            };
            let usual = usual(list(&target["kind"]));
            let is_usual = place.starts_with(self.directory.join(usual));
            if is_usual || !place.starts_with(self.root) || !source.starts_with(self.root) {
                continue;
            }
            match (place.parent(), source.parent()) {
                (Some(around), Some(real)) if !self.source.starts_with(real) => {
                    self.add(around, real, usual);
                }
                _ => {
                    self.add(&place, &source, usual);
                }
            }
        }
    }

    /// Adds a path, and returns whether it is new.
    fn add(&mut self, place: &Path, source: &Path, by: &str) -> bool {
        let mut known = self.found.iter_mut();
        if let Some((_, around)) = known.find(|(found, _)| place.starts_with(found)) {
            around.by.insert(by.to_owned());
            return false;
        }
        let within: Vec<PathBuf> = self.found.keys().cloned().collect();
        let mut all = BTreeSet::from([by.to_owned()]);
        for inner in within.iter().filter(|inner| inner.starts_with(place)) {
            all.extend(self.found.remove(inner).into_iter().flat_map(|r| r.by));
        }
        let relative = |path| relative(path, self.root).unwrap_or_default();
        let reach = Reach {
            place: relative(place),
            source: relative(source),
            by: all,
        };
        self.found.insert(place.to_owned(), reach);
        true
    }
}

/// The main files of a package's targets.
struct Code {
    /// Each with the target's name, and whether it is a program or a library, if it is one. Paths
    /// are real, and relative to the package.
    roots: Vec<(Option<bool>, String, String)>,
}

impl Code {
    fn of(package: &Value, source: &Path) -> Self {
        let root = |target: &Value| {
            let path = fs::canonicalize(target["src_path"].as_str()?).ok()?;
            let name = target["name"].as_str()?.to_owned();
            Some((is_program(target), name, relative(&path, source)?))
        };
        let targets = list(&package["targets"]).iter();
        Self {
            roots: targets.filter_map(root).collect(),
        }
    }

    fn library(&self) -> Option<String> {
        let mut roots = self.roots.iter();
        let found = roots.find(|(is_program, ..)| *is_program == Some(false));
        found.map(|(_, _, path)| path.clone())
    }

    fn programs(&self) -> BTreeMap<String, ProgramPlace> {
        let programs = self.roots.iter();
        let programs = programs.filter(|(is_program, ..)| *is_program == Some(true));
        let places = programs.map(|(_, name, root)| {
            let place = ProgramPlace {
                root: root.clone(),
                own: self.own(root),
            };
            (name.clone(), place)
        });
        places.collect()
    }

    /// Returns what belongs to a program alone: a directory that Cargo found it by
    /// (`src/bin/NAME/main.rs`), or its main file. No other target begins there.
    fn own(&self, root: &str) -> Option<String> {
        let path = Path::new(root);
        let directory = path.parent().filter(|around| {
            path.ends_with("main.rs") && around.parent() == Some(PROGRAMS.as_ref())
        });
        // A file of this name is the module that its directory is named after.
        let file = (!path.ends_with("mod.rs")).then_some(path);
        let own = [directory, file].into_iter().flatten();
        let mut own = own.filter(|own| self.beginning_in(own) == 1);
        own.next().map(|own| own.to_string_lossy().into_owned())
    }

    fn beginning_in(&self, place: &Path) -> usize {
        let roots = self.roots.iter();
        roots
            .filter(|(_, _, root)| Path::new(root).starts_with(place))
            .count()
    }
}

/// The directory where Cargo looks for the programs of a package, besides `src/main.rs`.
const PROGRAMS: &str = "src/bin";

/// Returns the directory where Cargo looks for targets of a kind.
/// <https://doc.rust-lang.org/cargo/guide/project-layout.html>
fn usual(kinds: &[Value]) -> &'static str {
    match kinds.first().and_then(Value::as_str) {
        Some("test") => "tests",
        Some("bench") => "benches",
        Some("example") => "examples",
        Some("custom-build") => "build.rs",
        _ => "src",
    }
}

/// The number of links that Linux follows at most (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Returns the path at which a link ends, without links. A file there need not exist: the planner
/// does not get the names of all files.
fn end_of(link: &Path, most: u32) -> Option<PathBuf> {
    if let Ok(end) = fs::canonicalize(link) {
        return Some(end);
    }
    let next = link.parent()?.join(fs::read_link(link).ok()?);
    let next = fs::canonicalize(next.parent()?)
        .ok()?
        .join(next.file_name()?);
    match next.is_symlink() {
        true => end_of(&next, most.checked_sub(1)?),
        false => Some(next),
    }
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn relative(path: &Path, to: &Path) -> Option<String> {
    let inner = path.strip_prefix(to).ok()?;
    Some(inner.to_string_lossy().into_owned())
}

/// Removes `.` and `..` from a path without reading the file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Creates a workspace with these files, all empty, and these links.
    fn workspace(files: &[&str], links: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let around = |path: &Path| fs::create_dir_all(path.parent().unwrap()).unwrap();
        for file in files {
            around(&root.join(file));
            fs::write(root.join(file), "").unwrap();
        }
        for (link, target) in links {
            around(&root.join(link));
            symlink(target, root.join(link)).unwrap();
        }
        (directory, root)
    }

    /// Imitates Cargo's output for a package with these targets, each a kind and a file.
    fn package(root: &Path, directory: &str, targets: &[(&str, &str)]) -> Value {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(kind, path)| {
                let path = root.join(directory).join(path);
                let name = Path::new(path.file_stem().unwrap());
                serde_json::json!({ "kind": [kind], "name": name, "src_path": path })
            })
            .collect();
        let manifest = root.join(directory).join("Cargo.toml");
        serde_json::json!({ "manifest_path": manifest, "targets": targets, "dependencies": [] })
    }

    fn of(root: &Path, packages: &[Value]) -> PackagePlaces {
        let metadata = serde_json::json!({ "packages": packages });
        places(&metadata, root, |_| None).unwrap()
    }

    /// Formats each reach as `PLACE <- SOURCE by BY`.
    fn reaches(place: &PackagePlace) -> Vec<String> {
        let line = |reach: &Reach| {
            let by: Vec<&str> = reach.by.iter().map(String::as_str).collect();
            format!("{} <- {} by {}", reach.place, reach.source, by.join(" "))
        };
        place.reaches.iter().map(line).collect()
    }

    #[test]
    fn links_out_of_a_package_are_followed_to_their_end() {
        let (_kept, root) = workspace(
            &["a/Cargo.toml", "a/src/main.rs", "shared/x.rs", "deep/y.rs"],
            &[
                ("a/src/x.rs", "../../shared/x.rs"),
                ("a/data", "../shared"),
                ("shared/deep", "../deep"),
                ("a/again.rs", "src/main.rs"),
                ("a/all", ".."),
                ("a/nowhere", "../gone/file"),
                ("a/unnamed", "unnamed-too"),
                ("a/unnamed-too", "../deep/unnamed.txt"),
                ("a/round", "round"),
            ],
        );
        let found = of(&root, &[package(&root, "a", &[("bin", "src/main.rs")])]);
        assert_eq!(
            reaches(&found["a"]),
            [
                "a/src/main.rs <- a/src/main.rs by again.rs",
                "a/unnamed-too <- deep/unnamed.txt by unnamed",
                "deep <- deep by data unnamed-too",
                "shared <- shared by data src/x.rs"
            ]
        );
    }

    #[test]
    fn a_program_has_its_main_file_or_its_directory_alone() {
        let programs = |targets: &[(&str, &str)]| {
            let all = [("custom-build", "build.rs")].into_iter();
            let all: Vec<(&str, &str)> = all.chain(targets.iter().copied()).collect();
            let files: Vec<String> = all.iter().map(|(_, file)| format!("a/{file}")).collect();
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let (_kept, root) = workspace(&files, &[]);
            let found = of(&root, &[package(&root, "a", &all)]);
            let own = found["a"].programs.values();
            let own: Vec<Option<String>> = own.map(|program| program.own.clone()).collect();
            (found["a"].library.clone(), own)
        };
        let (library, own) = programs(&[
            ("rlib", "src/lib.rs"),
            ("bin", "src/bin/one.rs"),
            ("bin", "src/bin/two/main.rs"),
        ]);
        assert_eq!(library.as_deref(), Some("src/lib.rs"));
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(own, [some("src/bin/two"), some("src/bin/one.rs")]);
        // The library begins in the program's directory, and another target in its main file.
        let both = [("bin", "src/bin/x/main.rs"), ("lib", "src/bin/x/lib.rs")];
        assert_eq!(programs(&both).1, [some("src/bin/x/main.rs")]);
        let same = [("bin", "src/main.rs"), ("lib", "src/main.rs")];
        assert_eq!(programs(&same).1, [None]);
        assert_eq!(programs(&[("bin", "src/bin/mod.rs")]).1, [None]);
        assert_eq!(programs(&[("bin", "app/main.rs")]).1, [some("app/main.rs")]);
    }

    #[test]
    fn a_member_that_is_a_link_lies_where_the_link_leads() {
        let (_kept, root) = workspace(
            &["stores/one/Cargo.toml", "stores/one/src/lib.rs", "stores/x"],
            &[("members/one", "../stores/one"), ("stores/one/x", "../x")],
        );
        let found = of(&root, &[package(&root, "members/one", &[])]);
        assert_eq!(found["members/one"].source, "stores/one");
        assert_eq!(
            reaches(&found["members/one"]),
            ["members/x <- stores/x by x"]
        );
    }

    #[test]
    fn a_target_elsewhere_brings_what_lies_beside_it() {
        let (_kept, root) = workspace(
            &[
                "a/Cargo.toml",
                "shared/bin/main.rs",
                "build.rs",
                "a/examples/tool.rs",
            ],
            &[],
        );
        let targets = [
            ("bin", "../shared/bin/main.rs"),
            ("bin", "examples/tool.rs"),
            ("custom-build", "../build.rs"),
        ];
        let found = of(&root, &[package(&root, "a", &targets)]);
        assert_eq!(
            reaches(&found["a"]),
            [
                "a/examples <- a/examples by src",
                "build.rs <- build.rs by build.rs",
                "shared/bin <- shared/bin by src"
            ]
        );
    }

    #[test]
    fn packages_that_are_no_members_are_found_by_path_and_override() {
        let (_kept, root) = workspace(
            &[
                "vendored/Cargo.toml",
                "apart/Cargo.toml",
                ".cargo/config.toml",
            ],
            &[],
        );
        let config = "[patch.crates-io]\nitoa = { path = \"vendored\" }\n";
        fs::write(root.join(".cargo/config.toml"), config).unwrap();
        let mut member = package(&root, "a", &[]);
        fs::create_dir(root.join("a")).unwrap();
        member["dependencies"] = serde_json::json!([{ "path": root.join("apart") }]);
        let metadata = serde_json::json!({ "packages": [member] });
        let ask = |manifest: &Path| {
            let directory = manifest.parent().unwrap();
            let package = package(directory, "", &[]);
            Some(serde_json::json!({ "packages": [package] }))
        };
        let found = places(&metadata, &root, ask).unwrap();
        let directories: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(directories, ["a", "apart", "vendored"]);
    }
}
