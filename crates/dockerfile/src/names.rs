//! Chooses unique names for stages and targets, no matter how images, packages and programs are
//! called.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_description::normal::{Binary, Description};

use super::contexts_of;

/// Stages whose names are part of the interface, or can only collide with images.
const STAGES: [&str; 6] = [
    "toolchain",
    "recipe",
    "vendor-sources",
    "dependencies",
    "shared",
    "builder",
];

/// The names in the generated files. An image's target always has the image's name, and Crateyard's
/// own names give way. Without collisions all names are those in docs/docker.md.
pub(crate) struct Names {
    images: BTreeMap<String, String>,
    own: BTreeMap<String, String>,
    programs: BTreeMap<Binary, String>,
}

impl Names {
    /// Chooses the names for a description.
    pub(crate) fn of(description: &Description) -> Names {
        let mut taken = Taken::default();
        // People pass these names to the engine, so they stay.
        for context in contexts_of(description) {
            taken.0.insert(context);
        }
        let images = description.images.keys();
        let images = images.map(|name| (name.clone(), taken.stage(name, "image")));
        let images: BTreeMap<String, String> = images.collect();
        // The bake target has the image's name, even if the stage has another.
        taken.0.extend(description.images.keys().cloned());
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        let mut add = |name: String, taken: &mut Taken| {
            let free = taken.stage(&name, "stage");
            own.entry(name).or_insert(free);
        };
        for name in STAGES.into_iter().chain(["outputs", "archives"]) {
            add(name.to_owned(), &mut taken);
        }
        let binaries = description.build.binaries();
        let packages: BTreeSet<&String> = binaries.iter().map(|binary| &binary.package).collect();
        for package in packages {
            add(build_stage(package), &mut taken);
        }
        let mut files = Taken::default();
        let mut programs = BTreeMap::new();
        for binary in binaries {
            let plain = match binary.package == binary.bin {
                true => binary.bin.clone(),
                false => format!("{}-{}", binary.package, binary.bin),
            };
            let program = files.stage(&plain, "program");
            for kind in ["binary", "output"] {
                add(format!("{program}-{kind}"), &mut taken);
            }
            programs.insert(binary.clone(), program);
        }
        for image in description.images.keys() {
            for kind in ["files", "archive"] {
                add(format!("{image}-{kind}"), &mut taken);
            }
        }
        let platforms = description
            .images
            .values()
            .flat_map(|image| &image.platforms);
        for platform in platforms.collect::<BTreeSet<_>>() {
            let name = super::compile::stage_of(platform);
            taken.0.insert(name.clone());
            own.entry(name.clone()).or_insert(name);
        }
        Names {
            images,
            own,
            programs,
        }
    }

    /// Returns the stage of an image.
    pub(crate) fn image<'n>(&'n self, name: &'n str) -> &'n str {
        self.images.get(name).map_or(name, String::as_str)
    }

    /// Returns the name of one of Crateyard's own stages, targets or groups.
    pub(crate) fn own<'n>(&'n self, name: &'n str) -> &'n str {
        self.own.get(name).map_or(name, String::as_str)
    }

    /// Returns the stage that compiles a package.
    pub(crate) fn build(&self, package: &str) -> String {
        self.own(&build_stage(package)).to_owned()
    }

    /// Returns the name of a program in `/out`, which is also the prefix of its stages.
    pub(crate) fn program<'n>(&'n self, binary: &'n Binary) -> &'n str {
        self.programs
            .get(binary)
            .map_or(&binary.bin, String::as_str)
    }

    /// Returns the stage with a program in `/out`.
    pub(crate) fn binary(&self, binary: &Binary) -> String {
        self.own(&format!("{}-binary", self.program(binary)))
            .to_owned()
    }

    /// Returns the stage and target that hold only the program.
    pub(crate) fn output(&self, binary: &Binary) -> String {
        self.own(&format!("{}-output", self.program(binary)))
            .to_owned()
    }

    /// Returns the stage that makes an image's directories, links and charts.
    pub(crate) fn files(&self, image: &str) -> String {
        self.own(&format!("{image}-files")).to_owned()
    }

    /// Returns the target that makes the archive of an image.
    pub(crate) fn archive(&self, image: &str) -> String {
        self.own(&format!("{image}-archive")).to_owned()
    }
}

fn build_stage(package: &str) -> String {
    format!("{package}-build")
}

/// The names that are taken.
#[derive(Default)]
struct Taken(BTreeSet<String>);

impl Taken {
    /// Returns an unused name that a stage can have: lower-case letters, digits, `-` and `_`, with
    /// a letter first.
    fn stage(&mut self, name: &str, kind: &str) -> String {
        let allowed = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '_') => c,
            _ => '-',
        };
        let plain: String = name.chars().map(allowed).collect();
        let begins = plain.starts_with(|c: char| c.is_ascii_lowercase());
        // The engine reserves these for an empty image and for the build context.
        let is_word = ["scratch", "context"].contains(&plain.as_str());
        let others = (2..).map(|number| format!("{kind}-{plain}-{number}"));
        let mut names = [plain.clone(), format!("{kind}-{plain}")]
            .into_iter()
            .skip(usize::from(!begins || is_word))
            .chain(others);
        let free = names.find(|name| !self.0.contains(name)).unwrap_or(plain);
        self.0.insert(free.clone());
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_names_that_the_engine_takes() {
        let mut taken = Taken::default();
        assert_eq!(taken.stage("Tool", "program"), "tool");
        assert_eq!(taken.stage("tool", "program"), "program-tool");
        assert_eq!(taken.stage("tool", "program"), "program-tool-2");
        assert_eq!(taken.stage("7zip", "image"), "image-7zip");
        assert_eq!(taken.stage("scratch", "image"), "image-scratch");
        assert_eq!(taken.stage("größe", "program"), "gr--e");
    }
}
