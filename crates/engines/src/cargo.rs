//! The Cargo engine: the machine's own Cargo compiles in the workspace's own target directory, and
//! Crateyard's layer code does the rest.
//!
//! The output depends on the machine: on its compiler, its C library and its environment. A label
//! and an annotation of the image say so.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use crateyard_description::TargetPlatform;
use crateyard_description::normal::{Binary, Build, Call, Description};
use crateyard_fetch::debs;
use serde::Deserialize;

use super::images::{Images, no_part, no_step};
use super::kept::Kept;
use super::packages::Packages;
use super::{Built, Engine, Request};

/// The text of the label and of the annotation.
const WHY: &str = "compiled by the cargo of one machine";

/// Builds images.
///
/// # Errors
/// When the workspace or its description is wrong, cargo fails, or an image can't be made.
pub fn build(request: &Request<'_>) -> Result<Built> {
    let (workspace, resolved) = request.resolve()?;
    check_only_nix(&resolved.description, request.images)?;
    let platform = this_platform()?;
    let kept = Kept::of(&workspace)?;
    let compiled = compile(&workspace, &resolved.description.build, &kept)?;
    let mut images = Images {
        root: &workspace,
        description: &resolved.description,
        packages: Packages::locked(&request.debian_lock(&workspace), platform.debian())?,
        platform,
        project: &resolved.project,
        binaries: compiled.binaries,
        unhermetic: WHY,
        kept: &kept,
        made: BTreeMap::new(),
    };
    let paths = request.images.iter().map(|name| {
        let path = images.make(name)?;
        kept.link(Engine::Cargo, name, &path)?;
        Ok(path)
    });
    let paths = paths.collect::<Result<_>>()?;
    kept.remove_old_layers();
    Ok(Built {
        paths,
        compiled: compiled.packages,
        fetched: 0,
    })
}

/// Refuses images and crates that only Nix can build, before anything is compiled.
fn check_only_nix(description: &Description, images: &[String]) -> Result<()> {
    for (name, each) in &description.crates {
        if let Some(part) = each.parts.first() {
            return Err(no_part(&part.part, "this engine"))
                .with_context(|| format!("cannot compile the crate {name:?}"));
        }
    }
    for name in images {
        let image = description.images.get(name);
        if let Some(part) = image.and_then(|image| image.parts().next()) {
            return Err(no_part(part, "this engine"))
                .with_context(|| format!("cannot make the image {name:?}"));
        }
        if let Some(run) = image.and_then(|image| image.steps().next()) {
            return Err(no_step(run)).with_context(|| format!("cannot make the image {name:?}"));
        }
    }
    Ok(())
}

/// This machine's platform.
pub fn this_platform() -> Result<TargetPlatform> {
    let debian = debs::architecture();
    TargetPlatform::of_debian(debian)
        .with_context(|| format!("images for {debian} are only built through Nix or buildx"))
}

/// Cargo's results.
struct Compiled {
    binaries: BTreeMap<Binary, PathBuf>,
    /// The package of each unit that was compiled again.
    packages: Vec<String>,
}

/// The fields that this engine reads from Cargo's messages.
///
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    fresh: bool,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Runs each Cargo call of the description, one after another.
fn compile(workspace: &Path, build: &Build, kept: &Kept) -> Result<Compiled> {
    let mut compiled = Compiled {
        binaries: BTreeMap::new(),
        packages: Vec::new(),
    };
    for (name, call) in &build.calls {
        compiled.call(workspace, build.locked, name, call)?;
        if build.calls.len() > 1 {
            // The next call may write another program to the same path.
            let directory = kept.directory("programs")?.join(name);
            compiled.keep(name, &directory)?;
        }
    }
    Ok(compiled)
}

impl Compiled {
    fn call(&mut self, workspace: &Path, locked: bool, name: &str, call: &Call) -> Result<()> {
        let mut command = Command::new("cargo");
        command
            .arg("build")
            .args(locked.then_some("--locked"))
            .arg("--message-format=json-render-diagnostics")
            .args(call.cargo_arguments())
            .current_dir(workspace)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut cargo = command
            .spawn()
            .context("cannot start cargo, which this engine needs")?;
        if let Some(output) = cargo.stdout.take() {
            for line in BufReader::new(output).lines() {
                // A line that is not JSON comes from a child process of a build script.
                if let Ok(message) = serde_json::from_str::<Message>(&line?) {
                    self.add(message, name);
                }
            }
        }
        let status = cargo.wait()?;
        if !status.success() {
            bail!("cargo build failed: {status}");
        }
        Ok(())
    }

    /// Copies the programs of a call to their own directory.
    fn keep(&mut self, call: &str, directory: &Path) -> Result<()> {
        let own = self
            .binaries
            .iter_mut()
            .filter(|(binary, _)| binary.call == call);
        for (binary, path) in own {
            let directory = directory.join(&binary.package);
            let to = directory.join(&binary.bin);
            let copied =
                std::fs::create_dir_all(&directory).and_then(|()| std::fs::copy(&*path, &to));
            copied
                .with_context(|| format!("cannot copy {} to {}", path.display(), to.display()))?;
            *path = to;
        }
        Ok(())
    }

    fn add(&mut self, message: Message, call: &str) {
        let (true, Some(target)) = (message.reason == "compiler-artifact", message.target) else {
            return;
        };
        let package = package_of(&message.package_id);
        if !message.fresh {
            self.packages.push(package.to_owned());
        }
        if let (true, Some(path)) = (target.kind == ["bin"], message.executable) {
            let binary = Binary {
                package: package.to_owned(),
                bin: target.name,
                call: call.to_owned(),
            };
            self.binaries.insert(binary, path);
        }
    }
}

/// Returns the name in a package's identifier, which is `URL#NAME@VERSION`, or `URL#VERSION` if the
/// URL ends in the name.
///
/// <https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>
fn package_of(id: &str) -> &str {
    let (url, fragment) = id.split_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => url.rsplit('/').next().unwrap_or(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_name_packages() {
        for (id, name) in [
            ("path+file:///w/services/gateway#0.1.0", "gateway"),
            ("path+file:///w/tests#e2e@0.1.0", "e2e"),
            (
                "registry+https://github.com/rust-lang/crates.io-index#serde@1.0.219",
                "serde",
            ),
        ] {
            assert_eq!(package_of(id), name);
        }
    }
}
