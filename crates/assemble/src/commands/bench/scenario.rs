//! The scenarios: each makes an edit, and defines what may and must be built again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use crateyard_description::normal::{Description, Image};
use crateyard_dockerfile::Resolved;
use serde::{Deserialize, Serialize};

use super::observe::Seen;
use super::report::Verdict;
use super::trial::Trial;
use crate::engine::{self, Engine};

/// The steps, in the order in which they run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Nothing of the workspace was ever compiled; the toolchain is present
    Cold,
    /// The same again
    Nothing,
    /// A file that no image needs
    UnrelatedFile,
    /// Code of one service
    FirstService,
    /// Code of another service
    SecondService,
    /// Code that both services use
    SharedCode,
    /// A chart, or another file that an image holds
    File,
    /// A tag in images.toml
    Tag,
    /// A variant in images.toml
    Variant,
    /// The version of the whole workspace
    WorkspaceVersion,
    /// One dependency without dependencies of its own
    LeafBump,
    /// The same commit on a machine that has nothing but a cache
    FreshRunner,
}

/// The name of the variant that a step adds.
const VARIANT: &str = "bench";

impl Scenario {
    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Scenario> {
        Scenario::value_variants().iter().copied()
    }

    /// The label for people.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::Cold => "cold",
            Scenario::Nothing => "nothing changed",
            Scenario::UnrelatedFile => "unrelated file",
            Scenario::FirstService => "edit in one service",
            Scenario::SecondService => "edit in another service",
            Scenario::SharedCode => "edit in shared code",
            Scenario::File => "chart or file edit",
            Scenario::Tag => "tag change",
            Scenario::Variant => "new variant",
            Scenario::WorkspaceVersion => "workspace version bump",
            Scenario::LeafBump => "leaf dependency bump",
            Scenario::FreshRunner => "same commit, fresh runner, cache",
        }
    }

    /// Makes the edit. Returns false if the scenario has none.
    ///
    /// # Errors
    /// When the edit changes nothing.
    pub fn apply(self, subject: &Subject, trial: &Trial) -> Result<bool> {
        let mark = format!("{}-{}", trial.nonce, self.title());
        match self {
            Scenario::Nothing | Scenario::FreshRunner => return Ok(false),
            Scenario::Cold => make_new(trial)?,
            Scenario::UnrelatedFile => trial.append("NOTES-OF-BENCH.txt", &mark)?,
            Scenario::FirstService => edit_program(subject, trial, subject.service(0)?, &mark)?,
            Scenario::SecondService => edit_program(subject, trial, subject.service(1)?, &mark)?,
            Scenario::SharedCode => {
                let library = subject.shared_library()?;
                trial.append(library, &edit_of_library(&mark))?;
            }
            Scenario::File => trial.append(subject.file()?, &format!("\n# {mark}\n"))?,
            Scenario::Tag => trial.change("images.toml", |text| {
                add_to_image(text, subject.image()?, "tags = [\"bench\"]\n")
            })?,
            Scenario::Variant => {
                let image = subject.image().context("there is no image")?;
                let variant = format!(
                    "\n[images.{image}.variants.{VARIANT}]\nenvironment = {{ BENCH = \"1\" }}\n"
                );
                trial.append("images.toml", &variant)?;
            }
            Scenario::WorkspaceVersion => {
                trial.change("Cargo.toml", bump_version)?;
                trial.run("cargo", &["update", "--workspace", "--offline"])?;
            }
            Scenario::LeafBump => {
                let (name, version) = subject.leaf()?;
                let before = fs::read_to_string(trial.root().join("Cargo.lock"))?;
                trial.run(
                    "cargo",
                    &["update", "--package", name, "--precise", version],
                )?;
                if fs::read_to_string(trial.root().join("Cargo.lock"))? == before {
                    bail!("{name} {version} is locked already: the bump changes nothing");
                }
            }
        }
        Ok(true)
    }

    /// The expected builds: what must be built, and what may.
    pub fn expected(self, engine: Engine, before: &Subject, after: &Subject) -> Expected {
        let services: BTreeSet<String> = after.services.iter().cloned().collect();
        let members = after.members();
        let none = BTreeSet::new;
        let all_images: BTreeSet<String> = after.images().keys().cloned().collect();
        let one = |package: &str| BTreeSet::from([package.to_owned()]);
        match self {
            Scenario::Cold => Expected {
                what: "everything",
                must: after.compiled_members(),
                may: after.locked.keys().cloned().collect(),
                images: all_images.clone(),
                may_images: all_images,
            },
            Scenario::Nothing | Scenario::UnrelatedFile => Expected::nothing(),
            Scenario::FirstService | Scenario::SecondService => {
                let place = usize::from(self == Scenario::SecondService);
                let package = after.services.get(place).cloned().unwrap_or_default();
                let images = after.images_of(&one(&package));
                Expected {
                    what: "that package and what depends on it",
                    may: after
                        .dependents(&package)
                        .intersection(&members)
                        .cloned()
                        .collect(),
                    must: one(&package),
                    may_images: images.clone(),
                    images,
                }
            }
            Scenario::SharedCode => {
                let shared = after.shared.clone().unwrap_or_default();
                let dependents: BTreeSet<String> =
                    &after.dependents(&shared) & &after.compiled_members();
                let (what, may) = match engine {
                    // A layer above compiles the members that only one service needs.
                    Engine::Buildx => {
                        ("members: one layer above another", after.compiled_members())
                    }
                    _ => ("that member and what depends on it", dependents.clone()),
                };
                Expected {
                    what,
                    must: services
                        .intersection(&dependents)
                        .cloned()
                        .chain([shared])
                        .collect(),
                    may,
                    images: none(),
                    may_images: after.images_of(&dependents),
                }
            }
            Scenario::File => {
                let images = after.images_with_file();
                Expected {
                    what: "nothing",
                    may_images: images.clone(),
                    images,
                    ..Expected::nothing()
                }
            }
            Scenario::Tag => Expected {
                may_images: after.holders(&after.with_variants(after.image())),
                ..Expected::nothing()
            },
            Scenario::Variant => {
                let known: BTreeSet<String> = before.images().keys().cloned().collect();
                let new: BTreeSet<String> = all_images.difference(&known).cloned().collect();
                Expected {
                    may_images: new.clone(),
                    images: new,
                    ..Expected::nothing()
                }
            }
            Scenario::WorkspaceVersion => Expected {
                what: "members, no dependency",
                must: services,
                may: members,
                images: none(),
                may_images: all_images,
            },
            Scenario::LeafBump => after.expected_of_leaf(engine, &all_images),
            Scenario::FreshRunner => match engine {
                // Cargo compares times, and a checkout has new ones.
                Engine::Cargo => Expected {
                    what: "members, no dependency",
                    may: members,
                    ..Expected::nothing()
                },
                _ => Expected::nothing(),
            },
        }
    }
}

/// Sets a new value for a variable in all of Cargo's calls, so that caches keyed by inputs have no
/// result for them.
fn make_new(trial: &Trial) -> Result<()> {
    let name = match trial.root().join(".cargo/config").is_file() {
        true => ".cargo/config",
        false => ".cargo/config.toml",
    };
    let line = format!("CRATEYARD_BENCH = \"{}\"\n", trial.nonce);
    let there = fs::read_to_string(trial.root().join(name)).unwrap_or_default();
    match there.contains("[env]\n") {
        true => trial.change(name, |text| {
            Some(text.replacen("[env]\n", &format!("[env]\n{line}"), 1))
        }),
        false => trial.append(name, &format!("\n[env]\n{line}")),
    }
}

/// An edit that changes the program.
fn edit_program(subject: &Subject, trial: &Trial, package: &str, mark: &str) -> Result<()> {
    let programs = subject.resolved.project.programs(package);
    let main = programs.iter().find(|path| !path.ends_with("build.rs"));
    let main = main.with_context(|| format!("{package} has no program"))?;
    trial.change(main, |text| {
        let start = text.find("fn main(")?;
        let (head, body) = text.split_at(start + text[start..].find('{')? + 1);
        Some(format!(
            "{head}\n    std::hint::black_box(\"{mark}\");{body}"
        ))
    })
}

fn edit_of_library(mark: &str) -> String {
    format!("\n#[doc(hidden)]\npub fn bench() -> &'static str {{\n    \"{mark}\"\n}}\n")
}

/// Adds a line to an image's table.
fn add_to_image(text: &str, image: &str, line: &str) -> Option<String> {
    let heading = format!("[images.{image}]\n");
    text.contains(&heading)
        .then(|| text.replacen(&heading, &format!("{heading}{line}"), 1))
}

/// Increments the last number of the workspace's version, or of the root package's.
fn bump_version(text: &str) -> Option<String> {
    let at = text
        .find("[workspace.package]")
        .or_else(|| text.find("[package]"))?;
    let start = at + text[at..].find("\nversion = \"")? + "\nversion = \"".len();
    let end = start + text[start..].find('"')?;
    let (head, patch) = text[start..end].rsplit_once('.')?;
    let patch: u64 = patch.parse().ok()?;
    Some(format!(
        "{}{head}.{}{}",
        &text[..start],
        patch + 1,
        &text[end..]
    ))
}

/// The workspace's current state.
pub struct Subject {
    /// The workspace and its description.
    pub resolved: Resolved,
    /// Packages of the lock by name, with the names of their dependencies.
    locked: BTreeMap<String, BTreeSet<String>>,
    /// Packages of the lock: name and version.
    pub versions: Vec<(String, String)>,
    services: Vec<String>,
    shared: Option<String>,
    leaf: Option<(String, String)>,
    held: Option<Held>,
}

/// A file to edit, and the images that hold it.
struct Held {
    file: String,
    images: BTreeSet<String>,
}

impl Subject {
    /// Reads a workspace.
    ///
    /// # Errors
    /// When the workspace or its description is wrong.
    pub fn of(root: &Path, leaf: Option<&str>) -> Result<Subject> {
        let resolved = engine::resolve(root)?;
        let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
        let versions = packages(&lock)?;
        let leaf = leaf.map(name_and_version).transpose()?;
        let binaries = resolved.description.build.binaries();
        let mut services: Vec<String> = binaries.iter().map(|one| one.package.clone()).collect();
        services.dedup();
        // Of three images, the first often holds the others.
        let services = services.split_off(services.len().saturating_sub(2));
        let shared = shared(&resolved, &services);
        Ok(Subject {
            locked: edges(&lock)?,
            versions,
            services,
            shared,
            leaf,
            held: held(&resolved.description, root),
            resolved,
        })
    }

    /// Why a scenario makes no sense for this workspace.
    pub fn lacks(&self, scenario: Scenario) -> Option<String> {
        let lack = match scenario {
            Scenario::SecondService => self.service(1).err(),
            Scenario::SharedCode => self.shared_library().err(),
            Scenario::File => self.file().err(),
            Scenario::LeafBump => self.leaf().err(),
            _ => None,
        };
        lack.map(|error| error.to_string())
    }

    /// The names of all images.
    pub fn image_names(&self) -> Vec<String> {
        self.images().keys().cloned().collect()
    }

    fn images(&self) -> &BTreeMap<String, Image> {
        &self.resolved.description.images
    }

    fn service(&self, place: usize) -> Result<&str> {
        let service = self.services.get(place).map(String::as_str);
        service.context("images hold programs of fewer packages")
    }

    fn shared_library(&self) -> Result<&str> {
        let shared = self.shared.as_deref();
        let shared = shared.context("no member is used by two services")?;
        let library = self.resolved.project.libraries(shared).first();
        library
            .map(String::as_str)
            .with_context(|| format!("{shared} has no library"))
    }

    fn leaf(&self) -> Result<(&str, &str)> {
        let leaf = self.leaf.as_ref();
        let (name, version) = leaf.context("--leaf names none")?;
        if !self.locked.contains_key(name) {
            bail!("Cargo.lock has no package {name}");
        }
        Ok((name, version))
    }

    /// An image that can get a tag and a variant. It is in the description, is not itself a
    /// variant, and has a program of the first service.
    fn image(&self) -> Option<&str> {
        let service = self.services.first()?;
        let images = self.images().values();
        let mut fitting = images.filter(|image| {
            image.variant_of.is_none()
                && image
                    .programs()
                    .map(|(_, binary)| &binary.package)
                    .any(|package| package == service)
        });
        fitting
            .clone()
            .find(|image| image.name == *service)
            .or_else(|| fitting.next())
            .map(|image| image.name.as_str())
    }

    /// A file that images hold and that can get another line, relative to the workspace.
    fn file(&self) -> Result<&str> {
        let held = self.held.as_ref();
        held.map(|held| held.file.as_str())
            .context("no image holds a chart or a file")
    }

    fn images_with_file(&self) -> BTreeSet<String> {
        let images = self.held.iter().flat_map(|held| &held.images);
        self.holders(&images.cloned().collect())
    }

    /// The images that have a program of one of the packages, and the images that hold those.
    fn images_of(&self, packages: &BTreeSet<String>) -> BTreeSet<String> {
        let images = self.images().values();
        let with = images.filter(|image| {
            image
                .programs()
                .map(|(_, binary)| &binary.package)
                .any(|one| packages.contains(one))
        });
        self.holders(&with.map(|image| image.name.clone()).collect())
    }

    /// The images, and all images that hold one of them.
    fn holders(&self, images: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = images.clone();
        loop {
            let holding = self.images().values().filter(|image| {
                let mut inner = image.images.iter();
                inner.any(|inner| found.contains(inner)) && !found.contains(&image.name)
            });
            let more: Vec<String> = holding.map(|image| image.name.clone()).collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// An image and its variants, which also have its tags.
    fn with_variants(&self, image: Option<&str>) -> BTreeSet<String> {
        let is_of = |other: &&Image| {
            Some(other.name.as_str()) == image
                || (image.is_some() && other.variant_of.as_deref() == image)
        };
        let images = self.images().values().filter(is_of);
        images.map(|image| image.name.clone()).collect()
    }

    fn members(&self) -> BTreeSet<String> {
        self.resolved.project.members().map(str::to_owned).collect()
    }

    /// The members that the images' programs are built from.
    fn compiled_members(&self) -> BTreeSet<String> {
        let binaries = self.resolved.description.build.binaries().into_iter();
        binaries
            .flat_map(|binary| self.resolved.project.closure(&binary.package))
            .collect()
    }

    /// A package and all its dependents. The lock also has the dependencies of tests, so these may
    /// be more than are compiled.
    fn dependents(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([package.to_owned()]);
        loop {
            let more: Vec<String> = self
                .locked
                .iter()
                .filter(|(name, needs)| !found.contains(*name) && !needs.is_disjoint(&found))
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    fn expected_of_leaf(&self, engine: Engine, images: &BTreeSet<String>) -> Expected {
        let leaf = self.leaf.clone().unwrap_or_default().0;
        let must = BTreeSet::from([leaf.clone()]);
        let (what, may) = match engine {
            // One layer has all dependencies.
            Engine::Buildx => (
                "all dependencies: one layer has them",
                self.locked.keys().cloned().collect(),
            ),
            _ => (
                "that package and what depends on it",
                self.dependents(&leaf),
            ),
        };
        Expected {
            what,
            must,
            may,
            images: BTreeSet::new(),
            may_images: images.clone(),
        }
    }
}

fn name_and_version(leaf: &str) -> Result<(String, String)> {
    let (name, version) = leaf
        .split_once('@')
        .with_context(|| format!("{leaf:?} names no version: write NAME@VERSION"))?;
    Ok((name.to_owned(), version.to_owned()))
}

/// The first member that all services need.
fn shared(resolved: &Resolved, services: &[String]) -> Option<String> {
    let mut closures = services
        .iter()
        .map(|service| resolved.project.closure(service));
    let first = closures.next()?;
    let common = closures.fold(first, |common, closure| &common & &closure);
    let mut candidates = common
        .into_iter()
        .filter(|member| !services.contains(member));
    candidates.next().filter(|_| services.len() > 1)
}

/// The first chart that an image holds, or else the first file.
fn held(description: &Description, root: &Path) -> Option<Held> {
    let images = description.images.values();
    let held: Vec<(&Image, &str, String)> = images
        .flat_map(|image| {
            let charts = image
                .charts()
                .map(|path| (path, format!("{path}/values.yaml")));
            let files = image.copied().map(|path| (path, path.to_owned()));
            let all = charts.chain(files);
            all.map(move |(path, file)| (image, path, file))
        })
        .collect();
    let mut candidates = held.iter().filter(|(_, _, file)| root.join(file).is_file());
    let (_, wanted, file) = candidates
        .clone()
        .find(|(_, path, file)| file != path)
        .or_else(|| candidates.next())?;
    let holding = held.iter().filter(|(_, path, _)| path == wanted);
    Some(Held {
        file: file.clone(),
        images: holding.map(|(image, ..)| image.name.clone()).collect(),
    })
}

fn table(lock: &str) -> Result<Vec<toml::Value>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock is not understood")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    Ok(packages.cloned().unwrap_or_default())
}

fn text<'v>(package: &'v toml::Value, field: &str) -> Option<&'v str> {
    package.get(field)?.as_str()
}

fn packages(lock: &str) -> Result<Vec<(String, String)>> {
    let pair = |package: &toml::Value| {
        Some((
            text(package, "name")?.to_owned(),
            text(package, "version")?.to_owned(),
        ))
    };
    Ok(table(lock)?.iter().filter_map(pair).collect())
}

/// The dependencies of each package by name. Versions of one name are merged.
fn edges(lock: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in table(lock)? {
        let Some(name) = text(&package, "name") else {
            continue;
        };
        let needs = package.get("dependencies").and_then(toml::Value::as_array);
        let needs = needs.into_iter().flatten().filter_map(toml::Value::as_str);
        let names = needs.filter_map(|edge| edge.split(' ').next());
        let known = edges.entry(name.to_owned()).or_default();
        known.extend(names.map(str::to_owned));
    }
    Ok(edges)
}

/// The expected builds.
pub struct Expected {
    what: &'static str,
    /// Packages that must be compiled.
    must: BTreeSet<String>,
    /// Packages that may be compiled.
    may: BTreeSet<String>,
    /// Images that must change.
    images: BTreeSet<String>,
    /// Images that may change.
    may_images: BTreeSet<String>,
}

impl Expected {
    fn nothing() -> Expected {
        Expected {
            what: "nothing",
            must: BTreeSet::new(),
            may: BTreeSet::new(),
            images: BTreeSet::new(),
            may_images: BTreeSet::new(),
        }
    }

    /// The packages that may be compiled, for people.
    pub fn text(&self) -> String {
        const NAMED: usize = 4;
        match self.may.len() {
            0 => "nothing".to_owned(),
            1..=NAMED => {
                let names: Vec<&str> = self.may.iter().map(String::as_str).collect();
                names.join(" ")
            }
            _ => self.what.to_owned(),
        }
    }

    /// The images that may change, for people.
    pub fn images_text(&self) -> String {
        match self.may_images.is_empty() {
            true => "none".to_owned(),
            false => self
                .may_images
                .iter()
                .cloned()
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    /// Compares the observed builds with the expected ones.
    pub fn judge(&self, seen: &Seen) -> Verdict {
        let names = |set: Vec<&String>| {
            let names: Vec<&str> = set.into_iter().map(String::as_str).collect();
            names.join(" ")
        };
        let mut wrong = Vec::new();
        let mut check = |found: Vec<&String>, what: &str| {
            if !found.is_empty() {
                wrong.push(format!("{what}: {}", names(found)));
            }
        };
        check(
            seen.packages.difference(&self.may).collect(),
            "compiled without need",
        );
        check(
            self.must.difference(&seen.packages).collect(),
            "not compiled",
        );
        check(
            seen.images.difference(&self.may_images).collect(),
            "other image without need",
        );
        check(self.images.difference(&seen.images).collect(), "same image");
        match wrong.is_empty() {
            true => Verdict::Pass,
            false => Verdict::Fail(wrong.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_bumped_where_they_stand() {
        let text = "[package]\nname = \"a\"\nversion = \"0.1.9\"\n[dependencies]\nb = \"1\"\n";
        let bumped = bump_version(text).unwrap();
        assert_eq!(bumped, text.replace("0.1.9", "0.1.10"));
        assert_eq!(bump_version("[dependencies]\n"), None);
    }

    #[test]
    fn what_was_seen_is_judged() {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(ToString::to_string)
                .collect::<BTreeSet<_>>()
        };
        let expected = Expected {
            what: "",
            must: set(&["gateway"]),
            may: set(&["gateway"]),
            images: set(&["gateway"]),
            may_images: set(&["cluster", "gateway"]),
        };
        let judge = |packages: &[&str], images: &[&str]| {
            expected.judge(&Seen {
                packages: set(packages),
                images: set(images),
                ..Seen::default()
            })
        };
        assert_eq!(judge(&["gateway"], &["gateway"]), Verdict::Pass);
        let fail = |text: &str| Verdict::Fail(text.to_owned());
        assert_eq!(
            judge(&["fleet", "gateway"], &["gateway"]),
            fail("compiled without need: fleet")
        );
        assert_eq!(
            judge(&[], &[]),
            fail("not compiled: gateway; same image: gateway")
        );
    }
}
