//! Images on a base that is somebody else's: a small system that umoci packed.

use crate::engine::{run, unpack};
use crate::nix;
use crate::steps;
use crate::trial::trial_with;
use crate::workspaces::{attribute, build, build_fails, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let tools = &["umoci", "runc", "busybox", "ldd"];
    let test = |name: &str, run| trial_with(format!("foreign::{name}"), tools, run);
    vec![
        test("a_step_runs_over_a_foreign_base", stepped),
        test("a_base_is_chosen_by_its_digest", chosen),
        test("a_file_of_the_base_is_replaced_if_one_says_so", replaced),
    ]
}

/// Fills a root file system with busybox, its libraries and some files of a system.
fn fill(root: &Path) -> Result<()> {
    for directory in ["bin", "etc", "srv", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let busybox = which::which("busybox")?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for (number, name) in ["cat", "chmod", "mkdir", "rm", "sh", "wget"]
        .iter()
        .enumerate()
    {
        let path = root.join("bin").join(name);
        match number % 2 {
            0 => fs::hard_link(root.join("bin/busybox"), path)?,
            _ => symlink("busybox", path)?,
        }
    }
    let listed = duct::cmd!("ldd", &busybox).read()?;
    for library in listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let path = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(path.parent().context("a library has a directory")?)?;
        fs::copy(library, path)?;
    }
    fs::write(root.join("etc/note"), "one\n")?;
    fs::write(root.join("etc/gone"), "gone\n")?;
    Ok(())
}

/// Makes an OCI layout with two images: `old`, and `new` with another layer, which removes a file
/// and alters one. Returns their digests.
fn pack(layout: &Path) -> Result<[String; 2]> {
    let work = tempfile::tempdir()?;
    let bundle = work.path().join("bundle");
    let image = |tag: &str| format!("{}:{tag}", layout.display());
    let umoci = |arguments: &[&str]| -> Result<()> {
        let command = duct::cmd("umoci", arguments)
            .stderr_to_stdout()
            .stdout_capture();
        command.run().with_context(|| format!("{arguments:?}"))?;
        Ok(())
    };
    let [old, new] = ["old", "new"].map(image);
    let bundle_path = bundle.to_string_lossy();
    umoci(&["init", "--layout", &layout.to_string_lossy()])?;
    umoci(&["new", "--image", &old])?;
    umoci(&["unpack", "--image", &old, &bundle_path])?;
    let root = bundle.join("rootfs");
    fill(&root)?;
    umoci(&["repack", "--refresh-bundle", "--image", &old, &bundle_path])?;
    umoci(&[
        "config",
        "--image",
        &old,
        "--config.entrypoint",
        "/bin/sh",
        "--config.env",
        "BASE=umoci",
    ])?;
    umoci(&["tag", "--image", &old, "new"])?;
    fs::remove_dir_all(&bundle)?;
    umoci(&["unpack", "--image", &new, &bundle_path])?;
    fs::remove_file(root.join("etc/gone"))?;
    fs::write(root.join("etc/note"), "two\n")?;
    umoci(&["repack", "--image", &new, &bundle_path])?;
    let index: Value = serde_json::from_str(&fs::read_to_string(layout.join("index.json"))?)?;
    let digest = |tag: &str| {
        let manifests = index["manifests"].as_array();
        let mut manifests = manifests.into_iter().flatten();
        let name = "org.opencontainers.image.ref.name";
        let found = manifests.find(|it| it["annotations"][name] == tag);
        let digest = found.and_then(|it| it["digest"].as_str());
        digest
            .map(str::to_owned)
            .with_context(|| format!("no image {tag}"))
    };
    Ok([digest("old")?, digest("new")?])
}

/// Makes a workspace with the layout `vendor/base` and, for each of its two images, an image over
/// it with these files and fields.
fn workspace(files: &str, fields: &str) -> Result<TempDir> {
    let workspace = small("foreign", "fn main() {}", "")?;
    fs::create_dir(workspace.path().join("vendor"))?;
    let digests = pack(&workspace.path().join("vendor/base"))?;
    let [old, new] = digests.map(|it| format!("{{ layout = \"vendor/base\", digest = \"{it}\" }}"));
    let text = format!(
        "version = 1\n\n[images.derived]\nbase = {new}\ntags = [\"1\"]\nfiles = [{{ text = \
         \"ours\\n\", path = \"/srv/ours\" }}, {files}]\n{fields}\n\
         [images.derived.variants.old]\nbase = {old}\nsteps = []\n"
    );
    fs::write(workspace.path().join("images.toml"), text)?;
    Ok(workspace)
}

const STEP: &str = "[[images.derived.steps]]\nrun = [\"/bin/sh\", \"-euc\", \"\"\"[ ! -e \
                    /etc/gone ]; cat /etc/note /srv/ours > /srv/both; rm /bin/wget; echo \
                    $WORD >> /etc/note; chmod 600 /srv/both\"\"\"]\nenvironment = { WORD = \
                    \"three\" }\n";

/// The step sees the base's files as its upper layers left them, and its changes are the same every
/// time. The base's own configuration starts the container.
fn stepped() -> Result<()> {
    let workspace = workspace("", STEP)?;
    let image = build(workspace.path(), "images.derived")?;
    let bundle = unpack(&image)?;
    let root = bundle.path().join("rootfs");
    for (path, expected) in [("srv/both", "two\nours\n"), ("etc/note", "two\nthree\n")] {
        let found = fs::read_to_string(root.join(path))?;
        ensure!(found == expected, "{path} has {found:?}");
    }
    for (path, is_there) in [("etc/gone", false), ("bin/wget", false), ("bin/cat", true)] {
        let found = fs::symlink_metadata(root.join(path)).is_ok();
        ensure!(found == is_there, "{path} is there: {found}");
    }
    let said = run(&image, &["-c", "echo $BASE; cat /srv/both"], "")?;
    ensure!(said == "umoci\ntwo\nours\n", "the container says {said:?}");

    let layers = steps::layers_of(&attribute(workspace.path(), "images.derived"))?;
    ensure!(layers.len() == 1, "the steps are {layers:?}");
    let again = duct::cmd!("nix-store", "--realise", "--check", &layers[0]);
    let again = again.env("NIX_CONFIG", nix::configuration());
    again.stdout_null().run().context("another layer")?;
    Ok(())
}

/// Each image has the base of its digest, although the layout has both under one platform.
fn chosen() -> Result<()> {
    let workspace = workspace("", "")?;
    for (image, note, is_there) in [("derived", "two\n", false), ("derived-old", "one\n", true)] {
        let layout = build(workspace.path(), &format!("images.{image}"))?;
        let bundle = unpack(&layout)?;
        let root = bundle.path().join("rootfs");
        let found = fs::read_to_string(root.join("etc/note"))?;
        ensure!(found == note, "{image} has {found:?}");
        ensure!(
            root.join("etc/gone").exists() == is_there,
            "{image} has another file"
        );
    }
    Ok(())
}

/// Without `replace`, a file at the place of one of the base's is an error that names both, and
/// with it, there must be one. Other names of a replaced file keep the base's content.
fn replaced() -> Result<()> {
    let at = |path: &str, more: &str| {
        format!(
            "{{ text = \"#!/bin/sh\\necho ours\\n\", path = \"{path}\", mode = \"0755\"{more} }}, "
        )
    };
    let said = |files: &str| build_fails(workspace(files, "")?.path());
    let unsaid = said(&at("/bin/mkdir", ""))?;
    for wanted in ["/bin/mkdir is given twice", "replace = true"] {
        ensure!(unsaid.contains(wanted), "no {wanted:?} in\n{unsaid}");
    }
    let replace = ", replace = true";
    let vain = said(&at("/bin/nothing", replace))?;
    let wanted = "/bin/nothing replaces nothing";
    ensure!(vain.contains(wanted), "no {wanted:?} in\n{vain}");

    // A hard link of busybox, a symbolic link to it, and a file of two of the base's layers.
    let paths = ["/bin/mkdir", "/bin/wget", "/etc/note"];
    let files: String = paths.iter().map(|path| at(path, replace)).collect();
    let workspace = workspace(&files, "")?;
    let image = build(workspace.path(), "images.derived")?;
    let bundle = unpack(&image)?;
    let root = bundle.path().join("rootfs");
    let busybox = fs::read(which::which("busybox")?)?;
    for path in ["bin/busybox", "bin/cat", "bin/sh"] {
        ensure!(fs::read(root.join(path))? == busybox, "{path} is another");
    }
    let said = run(&image, &["-c", "mkdir; wget; cat /etc/note"], "")?;
    let ours = "#!/bin/sh\necho ours\n";
    ensure!(said == format!("ours\nours\n{ours}"), "it says {said:?}");
    Ok(())
}
