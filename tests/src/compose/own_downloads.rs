//! `downloads` of images and crates, from a server that the tests run.

use super::downloads::{TOOL, fails, files, pack, said, sha256};
use super::{contains, dependencies, holds};
use crate::checkout::repository;
use crate::engine::unpack;
use crate::served::{Fault, serve};
use crate::trial::trial_with;
use crate::workspaces::{binary, build, small};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("compose::{name}"), tools, run);
    vec![
        test("an_image_downloads_for_itself", &["umoci", "python3"], held),
        test("a_variant_has_its_images_downloads", &["umoci"], inherited),
        test("the_other_ways_name_an_images_downloads", &[], refused),
        test("an_images_download_must_have_its_hash", &[], tampered),
        test("a_server_that_is_down_is_named", &[], down),
        test(
            "an_images_downloads_are_by_architecture",
            &["umoci"],
            by_architecture,
        ),
        test(
            "an_archive_reaches_no_file_outside",
            &["umoci", "python3"],
            outside,
        ),
        test("a_crate_downloads_for_itself", &[], by_a_script),
    ]
}

/// Makes a workspace with these fields of the image `tools`, and `debian.lock`.
fn workspace(fields: &str) -> Result<TempDir> {
    let workspace = small("downloads", "fn main() {}", "")?;
    let text =
        format!("version = 1\n\n[images.tools]\nbase = \"none\"\ntags = [\"1\"]\n{fields}\n");
    fs::write(workspace.path().join("images.toml"), text)?;
    fs::copy(
        repository().join("debian.lock"),
        workspace.path().join("debian.lock"),
    )?;
    Ok(workspace)
}

fn images_toml(workspace: &TempDir) -> Result<String> {
    Ok(fs::read_to_string(workspace.path().join("images.toml"))?)
}

/// Adds missing hashes to images.toml, and returns the messages.
fn lock(workspace: &TempDir) -> Result<String> {
    said(workspace, &["lock", "--without-debian"], true)
}

/// A build asks for hashes, `assemble lock` adds them, `assemble fetch` brings the files, and the
/// image holds a file, a whole archive and a file of one. Its documents name each of them.
fn held() -> Result<()> {
    let files = files()?;
    let place = files.path();
    pack(place, "kit.tar.gz")?;
    let script = "import shutil; shutil.make_archive('kit', 'zip', 'kit')";
    duct::cmd!("python3", "-c", script).dir(place).run()?;
    let url = serve(place, None)?;
    let workspace = workspace(&format!(
        "downloads = [\n  \
         {{ url = \"{url}/tool\", path = \"/usr/bin/tool\", mode = \"4755\", user = \
         \"nonroot\" }},\n\
         {{ url = \"{url}/kit.tar.gz\", path = \"/opt/my kit/\", unpack = true, strip = 1 \
         }},\n\
         {{ url = \"{url}/kit.zip\", path = \"/usr/bin/\", unpack = true, from = \
         \"kit-1.0/bin/run\" }},\n\
         {{ url = \"{url}/kit.tar.gz\", path = \"/usr/bin/\", unpack = true, from = \
         \"kit-1.0/text\" }},\n]\n"
    ))?;
    contains(
        &fails(&workspace)?,
        &[
            "images.toml:7:11: error: the download of `/usr/bin/tool` has no `sha256`",
            "the download of `/opt/my kit/` has no `sha256`",
            "run `assemble lock`",
        ],
    )?;
    let check = said(&workspace, &["lock", "--without-debian", "--check"], false)?;
    contains(&check, &["`/opt/my kit/`", "`/usr/bin/tool`"])?;
    let told = lock(&workspace)?;
    let text = images_toml(&workspace)?;
    let mut hashes = Vec::new();
    for file in ["tool", "kit.tar.gz", "kit.zip"] {
        let hash = sha256(&place.join(file))?;
        contains(&told, &[&hash, &format!("{url}/{file}")])?;
        contains(&text, &[&format!("/{file}\", sha256 = \"{hash}\", path")])?;
        hashes.push(hash);
    }
    contains(&told, &["`/usr/bin/tool`", "images.toml written"])?;
    lock(&workspace)?;
    ensure!(images_toml(&workspace)? == text, "a second lock writes");
    said(&workspace, &["fetch"], true)?;

    let image = build(workspace.path(), "images.tools")?;
    let bundle = unpack(&image)?;
    let root = bundle.path().join("rootfs");
    holds(&root, "usr/bin/tool", TOOL, 0o4755)?;
    let owner = fs::metadata(root.join("usr/bin/tool"))?.uid();
    ensure!(owner == 65532, "the owner is {owner}");
    holds(&root, "usr/bin/run", TOOL, 0o755)?;
    holds(&root, "usr/bin/text", "a text", 0o644)?;
    holds(&root, "opt/my kit/text", "a text", 0o644)?;
    holds(&root, "opt/my kit/bin/run", TOOL, 0o755)?;
    is_documented(&image, &url, &hashes[0])
}

/// Requires that the provenance and the bill of materials name the download of `tool`.
fn is_documented(image: &Path, url: &str, hash: &str) -> Result<()> {
    let inputs = dependencies(image)?;
    let of_tool = |it: &&Value| it["name"] == "part:images.tools:usr:bin:tool";
    let input = inputs.iter().filter(of_tool);
    let input = input.filter(|it| it["annotations"]["role"] == "download");
    let [input] = input.collect::<Vec<_>>()[..] else {
        anyhow::bail!("no download, or several, in {inputs:#?}");
    };
    ensure!(
        input["uri"] == format!("{url}/tool") && input["digest"]["sha256"] == hash,
        "the provenance has {input}"
    );
    let bill = image.join("attestations/linux-amd64/sbom.spdx.json");
    let bill: Value = serde_json::from_str(&fs::read_to_string(bill)?)?;
    let packages = bill["packages"].as_array().context("no packages")?;
    let tool = packages.iter().find(|it| it["name"] == "tool");
    let tool = tool.with_context(|| format!("no tool in {packages:#?}"))?;
    ensure!(
        tool["downloadLocation"] == format!("{url}/tool"),
        "the bill of materials has {tool}"
    );
    Ok(())
}

/// A variant's own `downloads` replace its image's, and `files` of either are beside them.
fn inherited() -> Result<()> {
    let files = files()?;
    fs::write(files.path().join("other"), "another tool")?;
    let url = serve(files.path(), None)?;
    let workspace = workspace(&format!(
        "downloads = [{{ path = \"/usr/bin/tool\", url = \"{url}/tool\" }}]\n\
         [images.tools.variants.same]\nfiles = [{{ path = \"/srv/a\", text = \"a\" }}]\n\
         [[images.tools.variants.other.downloads]]\nurl = \"{url}/other\"\npath = \"/tool\"\n"
    ))?;
    let told = lock(&workspace)?;
    let lines = told.lines().filter(|line| line.contains("sha256"));
    ensure!(lines.count() == 2, "the lock pins twice:\n{told}");
    let root = |image: &str| unpack(&build(workspace.path(), &format!("images.{image}"))?);
    let same = root("tools-same")?;
    holds(&same.path().join("rootfs"), "usr/bin/tool", TOOL, 0o644)?;
    holds(&same.path().join("rootfs"), "srv/a", "a", 0o644)?;
    let other = root("tools-other")?;
    holds(&other.path().join("rootfs"), "tool", "another tool", 0o644)?;
    ensure!(
        !other.path().join("rootfs/usr").exists(),
        "the variant has its image's download, too"
    );
    Ok(())
}

/// The other ways to build name the download before they start.
fn refused() -> Result<()> {
    let hash = "0".repeat(64);
    let workspace = workspace(&format!(
        "downloads = [{{ path = \"/usr/bin/tool\", url = \"http://h.example/a\", sha256 = \
         \"{hash}\" }}]\n"
    ))?;
    let other = said(&workspace, &["build", "--engine", "cargo", "tools"], false)?;
    contains(
        &other,
        &["this engine can't make the download of `/usr/bin/tool`"],
    )?;
    let other = said(&workspace, &["dockerfile"], false)?;
    contains(
        &other,
        &["the download of `/usr/bin/tool` of the image `tools`"],
    )
}

/// Neither `assemble fetch` nor Nix accepts a file with another hash.
fn tampered() -> Result<()> {
    let files = files()?;
    let url = serve(files.path(), None)?;
    let wrong = "0".repeat(64);
    let workspace = workspace(&format!(
        "downloads = [{{ path = \"/usr/bin/tool\", url = \"{url}/tool\", sha256 = \"{wrong}\" }}]\n"
    ))?;
    let right = sha256(&files.path().join("tool"))?;
    let expected = format!(
        "the download of `/usr/bin/tool`: {url}/tool has the SHA-256 {right}, and images.toml has \
         {wrong}"
    );
    contains(&said(&workspace, &["fetch"], false)?, &[&expected])?;
    contains(&fails(&workspace)?, &["hash mismatch", "-download-tool"])
}

/// A server that refuses connections, and one that answers with an error: `assemble lock` names the
/// download and leaves images.toml alone, and `assemble fetch` brings the other files.
fn down() -> Result<()> {
    let files = files()?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let failing = serve(files.path(), Some(Fault::Status(403)))?;
    let url = serve(files.path(), None)?;
    for down in [format!("http://{closed}"), failing] {
        // No run has had this content, so it is in no store.
        let content = format!("a text of {down}");
        fs::write(files.path().join("kit/kit-1.0/text"), &content)?;
        let workspace = workspace(&format!(
            "downloads = [\n{{ path = \"/usr/bin/tool\", url = \"{down}/tool\" }},\n{{ path = \
             \"/text\", url = \"{url}/kit/kit-1.0/text\" }},\n]\n"
        ))?;
        let before = images_toml(&workspace)?;
        let told = said(&workspace, &["lock", "--without-debian"], false)?;
        contains(
            &told,
            &["the download of `/usr/bin/tool`", &format!("{down}/tool")],
        )?;
        ensure!(images_toml(&workspace)? == before, "a half-written file");

        let [tool, text] = [down.as_bytes(), content.as_bytes()].map(super::downloads::hex);
        let pinned = before
            .replace("/tool\" }", &format!("/tool\", sha256 = \"{tool}\" }}"))
            .replace("/text\" }", &format!("/text\", sha256 = \"{text}\" }}"));
        fs::write(workspace.path().join("images.toml"), pinned)?;
        let fetched = said(&workspace, &["fetch"], true)?;
        contains(
            &fetched,
            &["the download of `/usr/bin/tool`", &format!("{down}/tool")],
        )?;
        fs::remove_file(files.path().join("kit/kit-1.0/text"))?;
        let again = said(&workspace, &["fetch"], true)?;
        ensure!(
            !again.contains("the download of `/text`"),
            "the other file is not there:\n{again}"
        );
    }
    Ok(())
}

/// Entries with one path are one file, with another content for each architecture.
fn by_architecture() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let url = serve(directory.path(), None)?;
    let mut entries = String::new();
    for architecture in ["amd64", "arm64"] {
        let file = directory.path().join(architecture);
        fs::write(&file, format!("{architecture} {url}"))?;
        entries += &format!(
            "{{ architecture = \"{architecture}\", url = \"{url}/{architecture}\", path = \
             \"/tool\", mode = \"0755\" }},\n"
        );
    }
    let workspace = workspace(&format!(
        "downloads = [\n{entries}]\nplatforms = [\"linux/amd64\"]\n[images.tools.variants.arm]\n\
         platforms = [\"linux/arm64\"]\n[images.tools.variants.old]\nplatforms = \
         [\"linux/arm/v7\"]\n"
    ))?;
    lock(&workspace)?;
    contains(
        &fails(&workspace)?,
        &[
            "there is no download to `/tool` for `armhf`, and the image `tools-old`",
            "add `{ architecture = \"armhf\"",
        ],
    )?;
    let text = images_toml(&workspace)?;
    let end = text.find("[images.tools.variants.old]");
    let end = end.context("no such variant")?;
    fs::write(workspace.path().join("images.toml"), &text[..end])?;
    for (image, architecture) in [("tools", "amd64"), ("tools-arm", "arm64")] {
        let bundle = unpack(&build(workspace.path(), &format!("images.{image}"))?)?;
        let content = format!("{architecture} {url}");
        holds(&bundle.path().join("rootfs"), "tool", &content, 0o755)?;
    }
    Ok(())
}

/// Writes an archive with one file outside of its directory: above it, at an absolute path, or
/// behind a link.
const HOSTILE: &str = r#"
import io, sys, tarfile

def add(archive, name, kind=tarfile.REGTYPE, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    entry.size = 0 if target else 4
    archive.addfile(entry, io.BytesIO(b"evil"))

with tarfile.open(sys.argv[1], "w") as archive:
    add(archive, "inside")
    if sys.argv[2] == "link":
        add(archive, "way", tarfile.SYMTYPE, "/tmp")
        add(archive, "way/outside")
    else:
        add(archive, sys.argv[2])
"#;

/// An archive with a file outside of its directory is refused, or the file is not in the image.
fn outside() -> Result<()> {
    let files = tempfile::tempdir()?;
    let url = serve(files.path(), None)?;
    for (number, entry) in ["../outside", "/usr/outside", "link"].iter().enumerate() {
        let name = format!("hostile-{number}.tar");
        let archive = files.path().join(&name);
        duct::cmd!("python3", "-c", HOSTILE, &archive, entry).run()?;
        let workspace = workspace(&format!(
            "downloads = [{{ path = \"/\", url = \"{url}/{name}\", sha256 = \"{}\", unpack = true \
             }}]\n",
            sha256(&archive)?
        ))?;
        let image = match build(workspace.path(), "images.tools") {
            Ok(image) => image,
            Err(error) => {
                let error = format!("{error:#}");
                contains(
                    &error,
                    &["`/` in images.toml: the archive can't be unpacked"],
                )?;
                continue;
            }
        };
        let bundle = unpack(&image)?;
        let root = bundle.path().join("rootfs");
        holds(&root, "inside", "evil", 0o644)?;
        let found = duct::cmd!("find", &root, "-name", "outside").read()?;
        ensure!(found.is_empty(), "{entry}: {found}");
    }
    Ok(())
}

/// A build script reads a file that only `downloads` names, and another file builds the crate
/// again.
fn by_a_script() -> Result<()> {
    let files = files()?;
    let url = serve(files.path(), None)?;
    let script = "fn main() {\n    let data = std::fs::read_to_string(\"in/data\").unwrap();\n    \
                  println!(\"cargo::rustc-env=DATA={data}\");\n}\n";
    let main = "fn main() { print!(\"{}\", env!(\"DATA\")); }";
    for content in [format!("one {url}"), format!("two {url}")] {
        fs::write(files.path().join("data"), &content)?;
        let workspace = small("downloading", main, script)?;
        let images = workspace.path().join("images.toml");
        let crates = format!(
            "[crates.downloading]\ndownloads = [{{ url = \"{url}/data\", path = \"in/data\" }}]\n"
        );
        fs::write(&images, fs::read_to_string(&images)? + &crates)?;
        lock(&workspace)?;
        let said = duct::cmd!(binary(workspace.path(), "downloading")?).read()?;
        ensure!(said == content, "the program says {said:?}");
    }
    Ok(())
}
