//! The stages that compile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::images::bundled;
use super::project::{Member, Project};
use super::text::{heredoc, shell_word};
use super::{base_context, binary_name};
use description::Platform;
use description::normal::{Binary, Description};

const MANIFEST_AWK: &str = include_str!("manifest.awk");
const LOCK_AWK: &str = include_str!("lock.awk");

/// How every command that compiles begins: without network, with the sources of all dependencies in place.
const RUN: &str =
    "RUN --network=none --mount=type=bind,from=vendor,target=/cargo/registry /cargo/build";

/// All stages from the toolchain to the single programs.
pub(super) fn stages(description: &Description, project: &Project) -> String {
    let packages = Packages::of(description, project);
    let mut out = format!("{}ARG BUILDER_IMAGE\n\n", contexts(description));
    out += &toolchain(description, project);
    out += &recipe(project);
    out += &vendor(description);
    out += &dependencies();
    out += &shared(&packages, description, project);
    for (package, binaries) in &packages.binaries {
        out += &build(package, binaries, &packages, description, project);
    }
    for binary in &description.build.binaries {
        out += &program(binary);
    }
    out + &builder(&packages)
}

/// What the file wants from outside, for those who call it without the bake file.
fn contexts(description: &Description) -> String {
    let mut out = String::from(
        "# Named contexts (--build-context NAME=oci-layout://DIR, docker-image://REFERENCE or DIR):\n\
         #   builder-image  Cargo, a linker and a shell\n",
    );
    let bases: BTreeSet<String> = description
        .images
        .values()
        .filter_map(base_context)
        .collect();
    for base in bases {
        let _ = writeln!(out, "#   {base:13}  what images begin with");
    }
    if !bundled(description).is_empty() {
        out += "#   bundle         the archives that images hold, each as NAME.tar\n";
    }
    out += "#   vendor         in place of the stage: what `cargo vendor --versioned-dirs` writes; no network is needed then\n\
            # Build arguments:\n\
            #   BUILDER_IMAGE  an image that has the programs in /out already: nothing is compiled\n\
            #   CODEGEN_UNITS  in place of the profile's codegen-units\n\
            #   VERSION        for the label\n";
    out
}

/// The packages whose programs images hold.
struct Packages<'d> {
    binaries: BTreeMap<&'d str, Vec<&'d Binary>>,
    /// The members that every one of them needs.
    shared: BTreeSet<String>,
}

impl<'d> Packages<'d> {
    fn of(description: &'d Description, project: &Project) -> Packages<'d> {
        let mut binaries: BTreeMap<&str, Vec<&Binary>> = BTreeMap::new();
        for binary in &description.build.binaries {
            binaries.entry(&binary.package).or_default().push(binary);
        }
        let mut closures = binaries.keys().map(|package| project.closure(package));
        let first = closures.next().unwrap_or_default();
        let shared = closures.fold(first, |shared, closure| &shared & &closure);
        Packages {
            // With one package there is nothing to share with.
            shared: if binaries.len() > 1 {
                shared
            } else {
                BTreeSet::new()
            },
            binaries,
        }
    }
}

fn toolchain(description: &Description, project: &Project) -> String {
    let platforms: BTreeSet<&Platform> = description
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
        "FROM {base} AS toolchain\nENV CARGO_HOME=/cargo/home \\\n{triple}    CARGO_INCREMENTAL=0 \\\n    CARGO_TARGET_DIR=/cargo/target\nWORKDIR /workspace\n"
    );
    let _ = write!(out, "COPY <<'{end}' /cargo/sources.toml\n{sources}");
    let (script, end) = heredoc(&build_script(description));
    let _ = write!(out, "COPY --chmod=0755 <<'{end}' /cargo/build\n{script}\n");
    out
}

/// `toolchain-arm64`; a variant that is its architecture's only one is not in `TARGETVARIANT`.
fn stage_of(platform: &Platform) -> String {
    let variant = platform.variant.as_deref().unwrap_or("");
    format!("toolchain-{}{variant}", platform.architecture)
}

/// All sources of the lock are the one directory that `cargo vendor` fills.
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

/// A source of the lock as a table of Cargo's configuration.
fn source_definition(source: &str) -> String {
    let Some(git) = source.strip_prefix("git+") else {
        let index = source.strip_prefix("registry+").unwrap_or(source);
        return format!("[source.\"{source}\"]\nregistry = \"{index}\"\n");
    };
    let url = git.split_once('#').map_or(git, |(url, _)| url);
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut out = format!("[source.\"git+{url}\"]\ngit = \"{base}\"\n");
    if let Some((key @ ("branch" | "tag" | "rev"), value)) = query.split_once('=') {
        let _ = writeln!(out, "{key} = \"{}\"", percent_decoded(value));
    }
    out
}

/// The lock writes the names of branches and tags percent-encoded.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn build_script(description: &Description) -> String {
    let build = &description.build;
    let profile = build.profile.to_uppercase().replace('-', "_");
    let cargo = build.cargo_arguments();
    let words: Vec<String> = cargo.iter().map(|word| shell_word(word)).collect();
    format!(
        r#"#!/bin/sh
# The one command that compiles: always for all programs, so that features are the same everywhere. Members that the stage
# has not copied are empty. Those named as arguments have just been copied: what was made of their empty selves is forgotten,
# for Cargo goes by times, and a source is older than that.
set -eu
locked={}
for member in "$@"; do
  locked=
  rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/"$member"-???????????????? \
    "$CARGO_TARGET_DIR"/*/*/.fingerprint/"$member"-????????????????
done
if [ -n "${{CODEGEN_UNITS:-}}" ]; then
  export CARGO_PROFILE_{profile}_CODEGEN_UNITS="$CODEGEN_UNITS"
fi
exec cargo build $locked --offline --config /cargo/sources.toml \
  {}
"#,
        if build.locked { "--locked" } else { "" },
        words.join(" ")
    )
}

/// The manifests without what can't change a dependency, and empty targets.
fn recipe(project: &Project) -> String {
    let mut out = String::from(
        "FROM toolchain AS recipe\nWORKDIR /manifests\nCOPY Cargo.toml Cargo.lock ./\n",
    );
    for member in project
        .members
        .values()
        .filter(|member| !member.directory.is_empty())
    {
        let _ = writeln!(out, "COPY {0}/Cargo.toml {0}/", member.directory);
    }
    let (manifest, end) = heredoc(MANIFEST_AWK);
    let _ = write!(out, "COPY <<'{end}' /manifest.awk\n{manifest}");
    let (lock, end) = heredoc(LOCK_AWK);
    let _ = write!(out, "COPY <<'{end}' /lock.awk\n{lock}");
    let (script, end) = heredoc(&recipe_script(project));
    let _ = write!(out, "RUN <<'{end}'\n{script}");
    if let Some(configuration) = &project.configuration {
        let _ = writeln!(out, "COPY {configuration} /recipe/{configuration}");
    }
    for patch in &project.patches {
        let _ = writeln!(out, "COPY {patch} /recipe/{patch}");
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
find . -name Cargo.toml | while read -r manifest; do
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

/// The only stage that needs the network, and the only one that sees the machine's secrets: none of them stays.
fn vendor(description: &Description) -> String {
    let locked = if description.build.locked {
        " --locked"
    } else {
        ""
    };
    format!(
        r#"FROM toolchain AS vendor-sources
COPY --from=recipe /recipe ./
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    --mount=type=secret,id=cargo-config,target=/cargo/home/config.toml \
    --mount=type=secret,id=cargo-credentials,target=/cargo/home/credentials.toml \
    if [ -s /run/ca.pem ]; then export CARGO_HTTP_CAINFO=/run/ca.pem; fi; \
    mkdir /vendor; cargo vendor{locked} --versioned-dirs /vendor > /dev/null

FROM scratch AS vendor
COPY --from=vendor-sources /vendor /

"#
    )
}

fn dependencies() -> String {
    format!(
        "FROM toolchain AS dependencies\nARG CODEGEN_UNITS\nCOPY --from=recipe /recipe ./\n{RUN}\n\n"
    )
}

fn shared(packages: &Packages, description: &Description, project: &Project) -> String {
    if packages.shared.is_empty() {
        return String::new();
    }
    let compiled = compiled(&packages.shared, description, project);
    format!("FROM dependencies AS shared\nCOPY Cargo.toml ./\n{compiled}\n\n")
}

/// The programs of one package: first the members that only it needs, so that an edit in the package leaves them.
fn build(
    package: &str,
    binaries: &[&Binary],
    packages: &Packages,
    description: &Description,
    project: &Project,
) -> String {
    let (base, manifest) = match packages.shared.is_empty() {
        true => ("dependencies", "COPY Cargo.toml ./\n"),
        false => ("shared", ""),
    };
    let itself = BTreeSet::from([package.to_string()]);
    let needed = &(&project.closure(package) - &packages.shared) - &itself;
    let first = match needed.is_empty() {
        true => String::new(),
        false => compiled(&needed, description, project) + "\n",
    };
    let itself = compiled(&itself, description, project);
    let directory = description.build.profile_directory();
    let installs: String = binaries
        .iter()
        .map(|binary| {
            let from = format!(
                "$CARGO_TARGET_DIR/$CARGO_BUILD_TARGET/{directory}/{}",
                binary.bin
            );
            format!(
                " \\\n && install -D \"{from}\" /out/{}",
                binary_name(binary)
            )
        })
        .collect();
    let stage = package.to_lowercase();
    format!("FROM {base} AS {stage}-build\n{manifest}{first}{itself}{installs}\n\n")
}

/// The instructions that copy and compile members. The last is left open.
fn compiled(members: &BTreeSet<String>, description: &Description, project: &Project) -> String {
    let copies = copies(members, description, project);
    let names: Vec<&str> = members.iter().map(String::as_str).collect();
    format!("{copies}{RUN} {}", names.join(" "))
}

/// The sources of members, and the files that are declared beside them.
fn copies(members: &BTreeSet<String>, description: &Description, project: &Project) -> String {
    let mut out = String::new();
    for (name, member) in members
        .iter()
        .filter_map(|name| project.members.get_key_value(name))
    {
        for path in member_sources(member) {
            let _ = writeln!(out, "COPY {path} {path}");
        }
        for file in description
            .crates
            .get(name)
            .iter()
            .flat_map(|declared| &declared.files)
        {
            let _ = writeln!(out, "COPY {file} {file}");
        }
    }
    out
}

/// What is copied of a member: its directory, of which the ignore file leaves what it compiles; of the root's own package, in
/// whose directory everything lies, what it names.
pub(super) fn member_sources(member: &Member) -> BTreeSet<String> {
    if !member.directory.is_empty() {
        return BTreeSet::from([member.directory.clone()]);
    }
    let targets = member.libraries.iter().chain(&member.programs);
    let tops = targets.map(|path| path.split('/').next().unwrap_or_default().to_string());
    tops.collect()
}

fn program(binary: &Binary) -> String {
    let name = binary_name(binary);
    let build = format!("{}-build", binary.package.to_lowercase());
    format!(
        "FROM ${{BUILDER_IMAGE:-{build}}} AS {name}-binary\nRUN [\"test\", \"-x\", \"/out/{name}\"]\n\n\
         FROM scratch AS {name}-output\nCOPY --from={name}-binary /out/{name} /{name}\n\n"
    )
}

fn builder(packages: &Packages) -> String {
    let copies: String = packages
        .binaries
        .keys()
        .map(|package| format!("COPY --from={}-build /out/ /out/\n", package.to_lowercase()))
        .collect();
    format!("FROM toolchain AS builder\n{copies}\n")
}
