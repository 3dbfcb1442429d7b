//! Writes the stages with the compiler, Cargo's configuration, and the command that calls Cargo.

use std::collections::BTreeSet;
use std::fmt::Write;

use crateyard_description::TargetPlatform;
use crateyard_description::normal::Description;
use percent_encoding::percent_decode_str;

use crate::names::Names;
use crate::project::Project;
use crate::text::{heredoc, shell_word};

/// Returns the stages.
pub(super) fn stage(description: &Description, project: &Project, names: &Names) -> String {
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
pub(crate) fn stage_of(platform: &TargetPlatform) -> String {
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
# The one command that compiles: /cargo/build CALLS MEMBERS. Each call is always for all of its
# programs, so that features are the same everywhere. Members that the stage has not copied are
# empty. Those named as arguments have just been copied: what was made of their empty selves is
# forgotten, for Cargo goes by times, and a source is older than that.
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
