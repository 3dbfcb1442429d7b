//! Names what a failed build may have missed: files of the workspace that Nix does not see, files
//! that images.toml names but nobody has, and the lines that a flake needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crateyard_description::left_out::{TEST_DIRECTORIES, is_document};
use crateyard_description::{Base, Content, Description};
use crateyard_terminal::note;
use crateyard_workspace::{cargo::Cargo, described, git::GitRepository};
use serde_json::Value;

use crate::flake_file;

/// The number of files that a note names.
const NAMED: usize = 3;

/// Prints notes on what a failed build may have missed.
pub(crate) fn explain(workspace: &Path) {
    let flake = std::fs::read_to_string(workspace.join("flake.nix")).unwrap_or_default();
    if !flake_file::is_complete(&flake) {
        note!("flake.nix seems to add no images\n  try: `assemble init`, which prints the lines");
    }
    let repository = GitRepository::of(workspace);
    let members = members(workspace);
    explain_description(workspace, repository.as_ref(), members.as_ref());
    let mut untracked = repository.map(|it| it.untracked()).unwrap_or_default();
    let members: Vec<PathBuf> = members.into_iter().flatten().map(|(_, it)| it).collect();
    untracked.retain(|name| may_matter(name, &members));
    if let Some(text) = text(&untracked) {
        note!("{text}");
    }
}

/// The directories of the members by name, relative to the workspace.
type Members = BTreeMap<String, PathBuf>;

/// Prints notes on what images.toml names and a build does not find.
fn explain_description(
    workspace: &Path,
    repository: Option<&GitRepository>,
    members: Option<&Members>,
) {
    let Ok(description) = described::read(&workspace.join("images.toml")) else {
        return;
    };
    let lock = Some(workspace.join("Cargo.lock")).filter(|lock| lock.is_file());
    let lock = lock.and_then(|lock| std::fs::read_to_string(lock).ok());
    let unknown = unknown(&description, members, lock.as_deref());
    for name in &unknown {
        note!(
            "images.toml has [crates.{name}], but there is no package {name}\n  try: the name that \
             the package has now, or remove the table"
        );
    }
    for (owner, file) in declared(members, &description) {
        let place = workspace.join(&file);
        let is_untracked = |it: &GitRepository| !it.tracks(&file.to_string_lossy());
        let file = file.display();
        if unknown.iter().any(|name| owner == format!("crates.{name}")) {
            // Nobody knows the directory that its files are relative to.
        } else if place.symlink_metadata().is_err() {
            note!("images.toml names {file} in [{owner}], which does not exist");
        } else if repository.is_some_and(is_untracked) {
            note!("images.toml names {file} in [{owner}], which git does not track");
        }
    }
}

/// Files in the workspace's root that `assemble` writes by default, besides those that a build
/// reads.
const WRITTEN: [&str; 4] = [
    "Dockerfile.images",
    "Dockerfile.images.dockerignore",
    "docker-bake.hcl",
    "report.html",
];

/// Whether a build of images may need a file of the workspace that images.toml does not name.
/// `members` are the directories of the packages.
fn may_matter(name: &str, members: &[PathBuf]) -> bool {
    let path = Path::new(name);
    let mut parts = path.iter().map(|part| part.to_string_lossy());
    let top = parts.next().unwrap_or_default();
    // No build needs git's own files, or the links that `nix build` leaves.
    let is_link = top == "result" || top.starts_with("result-");
    if top.starts_with(".git") || is_link || WRITTEN.contains(&name) {
        return false;
    }
    let inner = members
        .iter()
        .filter_map(|member| path.strip_prefix(member).ok());
    let inner = inner.min_by_key(|inner| inner.iter().count());
    let mut inner = inner
        .unwrap_or(path)
        .iter()
        .map(|part| part.to_string_lossy());
    match (inner.next(), inner.next()) {
        (Some(file), None) => !is_document(&file),
        (Some(directory), _) => !TEST_DIRECTORIES.contains(&&*directory),
        _ => true,
    }
}

/// Returns the crates of a description that are neither members nor in `Cargo.lock`. If Cargo or
/// the lock can't be read, every crate may exist.
fn unknown(
    description: &Description,
    members: Option<&Members>,
    lock: Option<&str>,
) -> Vec<String> {
    let (Some(members), Some(lock)) = (members, lock) else {
        return Vec::new();
    };
    let locked: BTreeSet<&str> = lock.lines().collect();
    let is_known = |name: &String| {
        members.contains_key(name) || locked.contains(&*format!("name = \"{name}\""))
    };
    let names = description.crates.iter().map(|each| each.name.get_ref());
    names.filter(|name| !is_known(name)).cloned().collect()
}

/// Says which files git does not track, and what to do.
fn text(untracked: &[String]) -> Option<String> {
    let names = untracked.iter().take(NAMED).cloned();
    let names = names.collect::<Vec<_>>().join(", ");
    let more = match untracked.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!untracked.is_empty()).then(|| {
        format!(
            "git does not track {names}{more}, so the build saw nothing of it\n  try: if it needs \
             one of these files, git add it"
        )
    })
}

/// Returns the files and directories that a description names, relative to the workspace, each with
/// the table that names it. `members` are the directories of the packages by name.
fn declared(members: Option<&Members>, description: &Description) -> BTreeSet<(String, PathBuf)> {
    let mut all = BTreeSet::new();
    for (name, image) in &description.images {
        // A variant has the files of its image.
        let owner = match &image.variant_of {
            Some(image) => format!("images.{image}"),
            None => format!("images.{name}"),
        };
        let mut add = |path: &str| all.insert((owner.clone(), PathBuf::from(path)));
        for file in image.fields.files.iter().flatten() {
            if let Content::Source(path) = file.content.get_ref() {
                add(path);
            }
        }
        for chart in image.fields.charts.iter().flatten() {
            add(chart.source.get_ref());
        }
        if let Some(Base::Layout { path, .. }) = image.fields.base.as_ref().map(|it| it.get_ref()) {
            add(path);
        }
    }
    let Some(members) = members else {
        return all;
    };
    for each in &description.crates {
        let directory = members.get(each.name.get_ref());
        let directory = directory.map_or(Path::new(""), PathBuf::as_path);
        for file in &each.files {
            let owner = format!("crates.{}", each.name.get_ref());
            all.insert((owner, directory.join(file.get_ref())));
        }
    }
    all
}

/// Returns the directories of the members by name, relative to the workspace.
fn members(workspace: &Path) -> Option<Members> {
    let cargo = Cargo::of(workspace).ok()?;
    let text = cargo.metadata(&["--no-deps", "--offline"]).ok()?;
    let json: Value = serde_json::from_str(&text).ok()?;
    let root = json["workspace_root"].as_str()?;
    let packages = json["packages"].as_array()?.iter();
    let member = |package: &Value| {
        let directory = Path::new(package["manifest_path"].as_str()?).parent()?;
        let directory = directory.strip_prefix(root).ok()?.to_owned();
        Some((package["name"].as_str()?.to_owned(), directory))
    };
    Some(packages.filter_map(member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_files_are_named() {
        assert_eq!(text(&[]), None);
        let names = |count: usize| (1..=count).map(|it| format!("{it}.rs")).collect::<Vec<_>>();
        let one = text(&names(1)).unwrap();
        assert!(one.starts_with("git does not track 1.rs, so"), "{one}");
        let five = text(&names(5)).unwrap();
        assert!(five.contains(" 1.rs, 2.rs, 3.rs and 2 more, so"), "{five}");
    }

    #[test]
    fn files_that_no_build_reads_are_not_named() {
        let members = ["", "crates/api"].map(PathBuf::from);
        for name in [
            "src/new.rs",
            "crates/api/build.rs",
            "crates/api/src/tests/a.rs",
            "proto/a",
        ] {
            assert!(may_matter(name, &members), "{name}");
        }
        for name in [
            ".gitignore",
            "report.html",
            "result",
            "docker-bake.hcl",
            "NOTES.md",
            "crates/api/README.md",
            "crates/api/tests/all.rs",
            "examples/a.rs",
        ] {
            assert!(!may_matter(name, &members), "{name}");
        }
        assert!(may_matter("crates/api/report.html", &members));
    }

    #[test]
    fn files_of_images_and_crates_are_looked_for_where_the_build_looks() {
        let place = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = [\"api\"]\n");
        let package = "[package]\nname = \"api\"\nversion = \"0.1.0\"\n";
        write("api/Cargo.toml", package);
        write("api/src/main.rs", "fn main() {}\n");
        let images = "version = 1\n[crates.api]\nfiles = [\"../proto\"]\n[crates.other]\nfiles = \
                      [\"data\"]\n[images.api]\nbinaries = [\"api\"]\nfiles = [{ source = \
                      \"etc/a\", path = \"/etc/a\" }]\ncharts = [{ source = \"chart\", path = \
                      \"/charts/\" }]\n[images.api.variants.small]\nbase = { layout = \"base\" }\n";
        let description = Description::parse(images, "images.toml").unwrap();
        let members = members(place.path());
        let found = declared(members.as_ref(), &description);
        let found: Vec<String> = found
            .iter()
            .map(|(owner, path)| format!("{owner} {}", path.display()))
            .collect();
        let expected = [
            "crates.api api/../proto",
            "crates.other data",
            "images.api base",
            "images.api chart",
            "images.api etc/a",
        ];
        assert_eq!(found, expected);
        let unknown = |lock| unknown(&description, members.as_ref(), lock);
        assert_eq!(unknown(Some("name = \"api\"\n")), ["other"]);
        assert!(unknown(Some("name = \"other\"\n")).is_empty());
        assert!(unknown(None).is_empty());
    }
}
