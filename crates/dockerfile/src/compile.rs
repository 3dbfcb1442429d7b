//! Writes the stages that compile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::base_context;
use super::images::bundled;
use super::names::Names;
use super::project::{Member, Project};
use super::text::{copy_words, heredoc, shell_word};
use crateyard_description::TargetPlatform;
use crateyard_description::normal::{Binary, Description};
use percent_encoding::percent_decode_str;

const MANIFEST_AWK: &str = include_str!("manifest.awk");
const LOCK_AWK: &str = include_str!("lock.awk");

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
    out += &toolchain(description, project, names);
    out += &recipe(project, names);
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

fn toolchain(description: &Description, project: &Project, names: &Names) -> String {
    let platforms: BTreeSet<&TargetPlatform> = description
        .images
        .values()
        .flat_map(|image| &image.platforms)
        .collect();
    let mut out = String::new();
    let mut base = "builder-image".to_string();
    let mut triple = String::new();
    match platforms.iter().collect::<Vec<_>>().as_slice() {
        [only] => triple = format!("    CARGO_BUILD_TARGET={} \\\n", only.rust_target()),
        _ => {
            for platform in &platforms {
                let name = stage_of(platform);
                let target = platform.rust_target();
                let _ = write!(
                    out,
                    "FROM builder-image AS {name}\nENV CARGO_BUILD_TARGET={target}\n\n"
                );
            }
            base = "toolchain-${TARGETARCH}${TARGETVARIANT}".to_string();
        }
    }
    let (sources, end) = heredoc(&source_replacement(project));
    let _ = write!(
        out,
        "FROM {base} AS {}\nENV CARGO_HOME=/cargo/home \\\n{triple}    CARGO_INCREMENTAL=0 \\\n    \
         CARGO_TARGET_DIR=/cargo/target\nWORKDIR /workspace\n",
        names.own("toolchain")
    );
    let _ = write!(out, "COPY <<'{end}' /cargo/sources.toml\n{sources}");
    let (script, end) = heredoc(&build_script(description));
    let _ = write!(out, "COPY --chmod=0755 <<'{end}' /cargo/build\n{script}\n");
    out
}

/// Returns the name of a platform's stage, such as `toolchain-arm64`. `TARGETVARIANT` lacks a
/// variant that is the only one of its architecture.
pub(super) fn stage_of(platform: &TargetPlatform) -> String {
    let variant = platform.variant.as_deref().unwrap_or("");
    format!("toolchain-{}{variant}", platform.architecture)
}

/// Returns Cargo's configuration that replaces all sources of the lock with the one directory that
/// `cargo vendor` fills.
///
/// <https://doc.rust-lang.org/cargo/reference/source-replacement.html>
fn source_replacement(project: &Project) -> String {
    let mut out = String::from("[source.crates-io]\nreplace-with = \"vendor\"\n");
    for source in &project.sources {
        let _ = write!(
            out,
            "\n{}replace-with = \"vendor\"\n",
            source_definition(source)
        );
    }
    out + "\n[source.vendor]\ndirectory = \"/cargo/registry\"\n"
}

/// Returns a source of the lock as a table of Cargo's configuration.
fn source_definition(source: &str) -> String {
    let Some(git) = source.strip_prefix("git+") else {
        let index = source.strip_prefix("registry+").unwrap_or(source);
        return format!("[source.\"{source}\"]\nregistry = \"{index}\"\n");
    };
    let url = git.split_once('#').map_or(git, |(url, _)| url);
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut out = format!("[source.\"git+{url}\"]\ngit = \"{base}\"\n");
    if let Some((key @ ("branch" | "tag" | "rev"), value)) = query.split_once('=') {
        // The lock percent-encodes the names of branches and tags.
        let value = percent_decode_str(value).decode_utf8_lossy();
        let _ = writeln!(out, "{key} = \"{value}\"");
    }
    out
}

fn build_script(description: &Description) -> String {
    let build = &description.build;
    let calls: String = build
        .calls
        .iter()
        .map(|(name, call)| {
            let profile = call.settings.profile.to_uppercase().replace('-', "_");
            let words = call.cargo_arguments();
            let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
            format!(
                "    {name})\n      profile={profile}\n      set -- {} ;;\n",
                words.join(" ")
            )
        })
        .collect();
    format!(
        r#"#!/bin/sh
# The one command that compiles: /cargo/build CALLS MEMBERS. Each call is always for all of its programs, so that features are the
# same everywhere. Members that the stage has not copied are empty. Those named as arguments have just been copied: what was made
# of their empty selves is forgotten, for Cargo goes by times, and a source is older than that.
set -eu
locked={}
calls=$1
shift
for member in "$@"; do
  locked=
  rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/"$member"-???????????????? \
    "$CARGO_TARGET_DIR"/*/*/.fingerprint/"$member"-????????????????
done
for call in $calls; do
  case $call in
{calls}  esac
  if [ -n "${{CODEGEN_UNITS:-}}" ]; then
    export "CARGO_PROFILE_${{profile}}_CODEGEN_UNITS=$CODEGEN_UNITS"
  fi
  cargo build $locked --offline --config /cargo/sources.toml "$@"
done
"#,
        if build.locked { "--locked" } else { "" },
    )
}

/// Returns the stage with empty targets, and with the manifests without the parts that can't change
/// a dependency.
fn recipe(project: &Project, names: &Names) -> String {
    let mut out = format!(
        "FROM {} AS {}\nWORKDIR /manifests\nCOPY Cargo.toml Cargo.lock ./\n",
        names.own("toolchain"),
        names.own("recipe")
    );
    for member in project
        .members
        .values()
        .filter(|member| !member.directory.is_empty())
    {
        let manifest = format!("{}/Cargo.toml", member.directory);
        let words = copy_words(&[&manifest], &format!("{}/", member.directory));
        let _ = writeln!(out, "COPY {words}");
    }
    let (manifest, end) = heredoc(MANIFEST_AWK);
    let _ = write!(out, "COPY <<'{end}' /manifest.awk\n{manifest}");
    let (lock, end) = heredoc(LOCK_AWK);
    let _ = write!(out, "COPY <<'{end}' /lock.awk\n{lock}");
    let (script, end) = heredoc(&recipe_script(project));
    let _ = write!(out, "RUN <<'{end}'\n{script}");
    if let Some(configuration) = &project.configuration {
        let words = copy_words(&[configuration], &format!("/recipe/{configuration}"));
        let _ = writeln!(out, "COPY {words}");
    }
    for patch in &project.patches {
        let words = copy_words(&[patch], &format!("/recipe/{patch}"));
        let _ = writeln!(out, "COPY {words}");
    }
    out + "\n"
}

fn recipe_script(project: &Project) -> String {
    let names: Vec<&str> = project.members.keys().map(String::as_str).collect();
    let of = |paths: fn(&Member) -> &Vec<String>| {
        let paths: Vec<String> = project
            .members
            .values()
            .flat_map(paths)
            .map(|path| shell_word(path))
            .collect();
        paths.join(" \\\n  ")
    };
    format!(
        r#"set -eu
find . -name Cargo.toml | while IFS= read -r manifest; do
  mkdir -p "/recipe/${{manifest%/*}}"
  awk -f /manifest.awk "$manifest" > "/recipe/$manifest"
done
awk -v members="{}" -f /lock.awk Cargo.lock > /recipe/Cargo.lock
empty() {{
  content=$1; shift
  for file in "$@"; do
    file=/recipe/$file
    mkdir -p "${{file%/*}}"
    printf '%s' "$content" > "$file"
  done
}}
empty '' {}
empty 'fn main() {{}}' {}
"#,
        names.join(" "),
        of(|member| &member.libraries),
        of(|member| &member.programs),
    )
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
