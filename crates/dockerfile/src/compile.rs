//! Writes the stages that compile.

mod recipe;
mod toolchain;

pub(super) use toolchain::stage_of;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::base_context;
use super::images::bundled;
use super::names::Names;
use super::project::{Member, Project};
use super::text::{copy_words, shell_word};
use crateyard_description::normal::{Binary, Description};

/// The beginning of every command that compiles: no network, and the sources of all dependencies in
/// place.
const RUN: &str =
    "RUN --network=none --mount=type=bind,from=vendor,target=/cargo/registry /cargo/build";

/// Returns all stages from the toolchain to the programs.
pub(super) fn stages(description: &Description, project: &Project, names: &Names) -> String {
    let compiler = Compiler {
        packages: Packages::of(description, project),
        description,
        project,
        names,
    };
    let mut out = format!("{}ARG BUILDER_IMAGE\n\n", contexts(description, project));
    out += &toolchain::stage(description, project, names);
    out += &recipe::stage(project, names);
    out += &vendor(description, names);
    out += &compiler.dependencies();
    out += &compiler.shared();
    for (package, binaries) in &compiler.packages.binaries {
        out += &compiler.build(package, binaries);
    }
    for binary in description.build.binaries() {
        out += &program(binary, names);
    }
    out + &compiler.builder()
}

/// Describes the contexts and build arguments that the file expects, for people who build it
/// without the bake file.
fn contexts(description: &Description, project: &Project) -> String {
    let mut out = String::from(
        "# Named contexts (--build-context NAME=oci-layout://DIR, docker-image://REFERENCE or \
         DIR):\n#   builder-image  Cargo, a linker and a shell\n",
    );
    let bases: BTreeSet<String> = description
        .images
        .values()
        .filter_map(|image| base_context(image, project))
        .collect();
    for base in bases {
        let _ = writeln!(out, "#   {base:13}  what images begin with");
    }
    if !bundled(description).is_empty() {
        out += "#   bundle         the archives that images hold, each as NAME.tar\n";
    }
    out += "#   vendor         in place of the stage: what `cargo vendor --versioned-dirs` writes; \
            no network is needed then\n# Build arguments:\n#   BUILDER_IMAGE  an image that has \
            the programs in /out already: nothing is compiled\n#   CODEGEN_UNITS  in place of the \
            profile's codegen-units\n#   VERSION        for the label\n";
    out
}

/// The packages that have the images' programs.
struct Packages<'d> {
    binaries: BTreeMap<&'d str, Vec<&'d Binary>>,
    /// The members that all of these packages need.
    shared: BTreeSet<String>,
}

impl<'d> Packages<'d> {
    fn of(description: &'d Description, project: &Project) -> Packages<'d> {
        let mut binaries: BTreeMap<&str, Vec<&Binary>> = BTreeMap::new();
        for binary in description.build.binaries() {
            binaries.entry(&binary.package).or_default().push(binary);
        }
        let mut closures = binaries.keys().map(|package| project.closure(package));
        let first = closures.next().unwrap_or_default();
        let shared = closures.fold(first, |shared, closure| &shared & &closure);
        Packages {
            // A single package has nothing to share.
            shared: if binaries.len() > 1 {
                shared
            } else {
                BTreeSet::new()
            },
            binaries,
        }
    }
}

/// Returns the only stage that needs the network and sees the machine's secrets. It keeps none of
/// them.
fn vendor(description: &Description, names: &Names) -> String {
    let locked = if description.build.locked {
        " --locked"
    } else {
        ""
    };
    let [toolchain, recipe, sources] =
        ["toolchain", "recipe", "vendor-sources"].map(|name| names.own(name));
    format!(
        r"FROM {toolchain} AS {sources}
COPY --from={recipe} /recipe ./
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    --mount=type=secret,id=cargo-config,target=/cargo/home/config.toml \
    --mount=type=secret,id=cargo-credentials,target=/cargo/home/credentials.toml \
    if [ -s /run/ca.pem ]; then export CARGO_HTTP_CAINFO=/run/ca.pem; fi; \
    mkdir /vendor; cargo vendor{locked} --versioned-dirs /vendor > /dev/null

FROM scratch AS vendor
COPY --from={sources} /vendor /

"
    )
}

/// The stages that call Cargo.
struct Compiler<'d> {
    packages: Packages<'d>,
    description: &'d Description,
    project: &'d Project,
    names: &'d Names,
}

impl Compiler<'_> {
    fn dependencies(&self) -> String {
        let [toolchain, recipe, dependencies] =
            ["toolchain", "recipe", "dependencies"].map(|name| self.names.own(name));
        let calls = self.all_calls();
        format!(
            "FROM {toolchain} AS {dependencies}\nARG CODEGEN_UNITS\nCOPY --from={recipe} /recipe \
             ./\n{RUN} {calls}\n\n"
        )
    }

    /// Returns the names of all calls as one word of a shell.
    fn all_calls(&self) -> String {
        let calls: Vec<&str> = self
            .description
            .build
            .calls
            .keys()
            .map(String::as_str)
            .collect();
        words_of(&calls)
    }

    fn shared(&self) -> String {
        if self.packages.shared.is_empty() {
            return String::new();
        }
        let [dependencies, shared] = ["dependencies", "shared"].map(|name| self.names.own(name));
        let compiled = self.compiled(&self.packages.shared, &self.all_calls());
        format!("FROM {dependencies} AS {shared}\nCOPY Cargo.toml ./\n{compiled}\n\n")
    }

    /// Returns the stage with the programs of one package. It compiles the members that only the
    /// package needs first, so an edit in the package does not compile them again.
    fn build(&self, package: &str, binaries: &[&Binary]) -> String {
        let (base, manifest) = match self.packages.shared.is_empty() {
            true => (self.names.own("dependencies"), "COPY Cargo.toml ./\n"),
            false => (self.names.own("shared"), ""),
        };
        let calls: BTreeSet<&str> = binaries.iter().map(|binary| binary.call.as_str()).collect();
        let calls: Vec<&str> = calls.into_iter().collect();
        let itself = BTreeSet::from([package.to_string()]);
        let needed = &(&self.project.closure(package) - &self.packages.shared) - &itself;
        let first = match needed.is_empty() {
            true => String::new(),
            false => self.compiled(&needed, &words_of(&calls)) + "\n",
        };
        let copies = self.copies(&itself);
        // The next call may write other programs of the same name, so each call installs its own
        // first.
        let runs: Vec<String> = calls
            .iter()
            .map(|call| {
                let installs: String = binaries
                    .iter()
                    .filter(|binary| binary.call == *call)
                    .map(|binary| self.install(binary))
                    .collect();
                format!("{RUN} {call} {package}{installs}")
            })
            .collect();
        let stage = self.names.build(package);
        format!(
            "FROM {base} AS {stage}\n{manifest}{first}{copies}{}\n\n",
            runs.join("\n")
        )
    }

    fn install(&self, binary: &Binary) -> String {
        let settings = &self.description.build.calls[&binary.call].settings;
        let target = settings.target.as_deref().unwrap_or("$CARGO_BUILD_TARGET");
        let directory = settings.profile_directory();
        format!(
            " \\\n && install -D \"$CARGO_TARGET_DIR/{target}/{directory}/{}\" /out/{}",
            binary.bin,
            self.names.program(binary)
        )
    }

    /// Returns the instructions that copy and compile members. The last instruction is left open.
    fn compiled(&self, members: &BTreeSet<String>, calls: &str) -> String {
        let copies = self.copies(members);
        let names: Vec<&str> = members.iter().map(String::as_str).collect();
        format!("{copies}{RUN} {calls} {}", names.join(" "))
    }

    /// Returns the instructions that copy the sources of members, and the files that the
    /// description declares for them.
    fn copies(&self, members: &BTreeSet<String>) -> String {
        let mut out = String::new();
        let known = members
            .iter()
            .filter_map(|name| self.project.members.get_key_value(name));
        for (name, member) in known {
            let declared = self.description.crates.get(name).into_iter();
            let declared = declared.flat_map(|declared| declared.files.iter().cloned());
            for path in member_sources(member).into_iter().chain(declared) {
                let _ = writeln!(out, "COPY {}", copy_words(&[&path], &path));
            }
        }
        out
    }

    fn builder(&self) -> String {
        let packages = self.packages.binaries.keys();
        let copies: String = packages
            .map(|package| format!("COPY --from={} /out/ /out/\n", self.names.build(package)))
            .collect();
        let [toolchain, builder] = ["toolchain", "builder"].map(|name| self.names.own(name));
        format!("FROM {toolchain} AS {builder}\n{copies}\n")
    }
}

/// Returns names of calls as one word of a shell.
fn words_of(calls: &[&str]) -> String {
    shell_word(&calls.join(" "))
}

/// Returns the paths of a member to copy. For most members that is the directory, which the ignore
/// file reduces to the sources. The directory of the root's own package holds everything, so only
/// the tops of the paths that its targets name are copied.
pub(super) fn member_sources(member: &Member) -> BTreeSet<String> {
    if !member.directory.is_empty() {
        return BTreeSet::from([member.directory.clone()]);
    }
    let targets = member.libraries.iter().chain(&member.programs);
    let tops = targets.map(|path| path.split('/').next().unwrap_or_default().to_string());
    tops.collect()
}

fn program(binary: &Binary, names: &Names) -> String {
    let name = names.program(binary);
    let (from, output) = (names.binary(binary), names.output(binary));
    let build = names.build(&binary.package);
    format!(
        "FROM ${{BUILDER_IMAGE:-{build}}} AS {from}\nRUN [\"test\", \"-x\", \"/out/{name}\"]\n\n\
         FROM scratch AS {output}\nCOPY --from={from} /out/{name} /{name}\n\n"
    )
}
