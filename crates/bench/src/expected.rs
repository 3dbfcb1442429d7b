//! The packages and images that each scenario may and must build again.

use std::collections::BTreeSet;

use crateyard_engines::Engine;

use crate::observe::Seen;
use crate::report::Verdict;
use crate::scenario::Scenario;
use crate::subject::Subject;

/// Returns the expected builds of a scenario: those that must happen, and those that may.
pub(crate) fn of(
    scenario: Scenario,
    engine: Engine,
    before: &Subject,
    after: &Subject,
) -> Expected {
    match scenario {
        Scenario::Cold => of_everything(after),
        Scenario::Nothing | Scenario::UnrelatedFile => Expected::nothing(),
        Scenario::FirstService => of_service(after, 0),
        Scenario::SecondService => of_service(after, 1),
        Scenario::SharedCode => of_shared_code(after, engine),
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
            let new = &all_images(after) - &all_images(before);
            Expected {
                may_images: new.clone(),
                images: new,
                ..Expected::nothing()
            }
        }
        Scenario::WorkspaceVersion => Expected {
            what: "members, no dependency",
            must: after.services.iter().cloned().collect(),
            may: after.members(),
            images: BTreeSet::new(),
            may_images: all_images(after),
        },
        Scenario::LeafBump => of_leaf(after, engine, &all_images(after)),
        Scenario::FreshRunner => match engine {
            // Cargo compares the times of files, and a checkout has new ones.
            Engine::Cargo => Expected {
                what: "members, no dependency",
                may: after.members(),
                ..Expected::nothing()
            },
            _ => Expected::nothing(),
        },
    }
}

fn all_images(subject: &Subject) -> BTreeSet<String> {
    subject.images().keys().cloned().collect()
}

fn of_everything(after: &Subject) -> Expected {
    Expected {
        what: "everything",
        must: after.compiled_members(),
        may: after.locked.keys().cloned().collect(),
        images: all_images(after),
        may_images: all_images(after),
    }
}

/// An edit of the service at `place` in the list of services.
fn of_service(after: &Subject, place: usize) -> Expected {
    let package = after.services.get(place).cloned().unwrap_or_default();
    let must = BTreeSet::from([package.clone()]);
    let images = after.images_of(&must);
    Expected {
        what: "that package and what depends on it",
        may: &after.dependents(&package) & &after.members(),
        must,
        may_images: images.clone(),
        images,
    }
}

fn of_shared_code(after: &Subject, engine: Engine) -> Expected {
    let shared = after.shared.clone().unwrap_or_default();
    let dependents = &after.dependents(&shared) & &after.compiled_members();
    let (what, may) = match engine {
        // A layer above compiles the members that only one service needs.
        Engine::Buildx => ("members: one layer above another", after.compiled_members()),
        _ => ("that member and what depends on it", dependents.clone()),
    };
    let services = after.services.iter().filter(|it| dependents.contains(*it));
    Expected {
        what,
        must: services.cloned().chain([shared]).collect(),
        may,
        images: BTreeSet::new(),
        may_images: after.images_of(&dependents),
    }
}

fn of_leaf(after: &Subject, engine: Engine, images: &BTreeSet<String>) -> Expected {
    let leaf = after
        .leaf()
        .map_or_else(|_| String::new(), |(name, _)| name.to_owned());
    let must = BTreeSet::from([leaf.clone()]);
    let (what, may) = match engine {
        // All dependencies are in one layer.
        Engine::Buildx => (
            "all dependencies: one layer has them",
            after.locked.keys().cloned().collect(),
        ),
        _ => (
            "that package and what depends on it",
            after.dependents(&leaf),
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

/// The expected builds.
pub(crate) struct Expected {
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

    /// Describes the packages that may be compiled, for people.
    pub(crate) fn text(&self) -> String {
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

    /// Describes the images that may change, for people.
    pub(crate) fn images_text(&self) -> String {
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
    pub(crate) fn judge(&self, seen: &Seen) -> Verdict {
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
