//! A machine with arm64 processors builds by itself. The kernel starts its programs through qemu.
//!
//! Two things are not those of such a machine. qemu can neither make namespaces nor trace, so the
//! seed for x86_64 enters the cells. And Crateyard's own programs are cross-compiled.

use crate::checkout::{Checkout, assemble};
use crate::nix;
use crate::platforms;
use crate::trial::ignorable;
use crate::workspaces::{build, fetch};
use anyhow::{Context, Result, ensure};
use libtest_mimic::{Completion, Trial};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let name = "arm64::builds_by_itself".to_owned();
    vec![ignorable(name, || {
        if std::env::var_os("ARM64").is_none() {
            let why = "emulated compilers take many minutes; ARM64=1 asks for it";
            return Ok(Completion::ignored_with(why));
        }
        match Emulation::start() {
            Ok(_emulation) => builds().map(|()| Completion::Completed),
            Err(error) => Ok(Completion::ignored_with(format!("{error:#}"))),
        }
    })]
}

/// The kernel's handlers of executable files.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";
/// The name of the handler.
const HANDLER: &str = "crateyard-aarch64";
/// The beginning of executable files for arm64, and the bits of it that count.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
const MASK: &str = concat!(
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff",
    r"\xfe\xff\xff\xff"
);

/// Lets the kernel start programs for arm64, as long as it lives.
struct Emulation;

impl Emulation {
    fn start() -> Result<Self> {
        let qemu =
            which::which("qemu-aarch64-static").context("there is no qemu-aarch64-static")?;
        let register = Path::new(HANDLERS).join("register");
        if !register.exists() {
            duct::cmd!("mount", "-t", "binfmt_misc", "binfmt_misc", HANDLERS)
                .stderr_null()
                .run()
                .context("the kernel has no binfmt_misc, or this user may not mount it")?;
        }
        // The kernel opens the emulator now (F), so it also runs in a cell.
        let handler = format!(":{HANDLER}:M::{MAGIC}:{MASK}:{}:F", qemu.display());
        fs::write(&register, handler)
            .context("the kernel starts no other programs through an emulator")?;
        Ok(Self)
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        let _ = fs::write(Path::new(HANDLERS).join(HANDLER), "-1");
    }
}

/// A workspace with a macro and C code is built for both platforms on each kind of machine. The
/// programs run, and all layers but theirs are equal. Why the programs' layers are not is in
/// docs/ci.md.
fn builds() -> Result<()> {
    let checkout = Checkout::new()?;
    let root = checkout.path();
    fs::copy(
        root.join("nix/seed/seed-x86_64-linux"),
        root.join("nix/seed/seed-aarch64-linux"),
    )?;
    let recipe = root.join("nix/bootstrap/built.nix");
    fs::rename(&recipe, root.join("nix/bootstrap/own.nix"))?;
    fs::write(&recipe, include_str!("arm64/built.nix"))?;
    checkout.track()?;
    let workspace = root.join("tests/workspaces/lantern");
    let lock = root.join("debian.lock");
    fetch(&workspace, &workspace.join("debian.lock"))?;
    duct::cmd!(
        assemble(),
        "fetch",
        "--architectures",
        "arm64",
        "--lock",
        lock
    )
    .dir(&workspace)
    .stdout_null()
    .run()?;

    let native = build_on_arm64(root, &workspace)?;
    for (architecture, machine, runner) in [
        ("amd64", "x86_64", None),
        ("arm64", "aarch64", Some("qemu-aarch64-static")),
    ] {
        let said = platforms::run(&native, architecture, runner)?;
        let expected = format!(r#"{{"rust":"{machine}","c":"{machine}"}}"#);
        ensure!(said == expected, "{architecture}: the program says {said}");
    }
    let crossed = build(&workspace, "images.lantern")?;
    let (native, crossed) = (layers(&native)?, layers(&crossed)?);
    ensure!(
        native.len() == 2 && native == crossed,
        "{native:?} and {crossed:?} differ"
    );
    Ok(())
}

fn build_on_arm64(crateyard: &Path, workspace: &Path) -> Result<PathBuf> {
    let expression = format!(
        "((builtins.getFlake \"git+file://{}\").lib.mkImages {{ src = {}; system = \
         \"aarch64-linux\"; }}).images.lantern",
        crateyard.display(),
        workspace.display()
    );
    let text = nix::nix(&[
        "build",
        "--impure",
        "--no-link",
        "--json",
        "--option",
        "extra-platforms",
        "aarch64-linux",
        "--expr",
        &expression,
    ])?;
    let built: Value = serde_json::from_str(&text)?;
    let out = built[0]["outputs"]["out"].as_str();
    Ok(out.context("nix build printed no output")?.into())
}

/// Maps the architectures of an index to their layers, without the last one: that of the programs.
fn layers(layout: &Path) -> Result<BTreeMap<String, Vec<Value>>> {
    let read = |path: PathBuf| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().context("no digest")?;
        read(layout.join("blobs").join(digest.replace(':', "/")))
    };
    let index = blob(&read(layout.join("index.json"))?["manifests"][0])?;
    let manifests = index["manifests"].as_array().context("it is no index")?;
    let entry = |descriptor: &Value| {
        let manifest = blob(descriptor)?;
        let layers = manifest["layers"].as_array().context("no layers")?;
        let (_, others) = layers.split_last().context("no layer")?;
        let architecture = &descriptor["platform"]["architecture"];
        Ok((architecture.to_string(), others.to_vec()))
    };
    manifests.iter().map(entry).collect()
}
