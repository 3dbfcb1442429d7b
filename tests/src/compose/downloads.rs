//! Parts that are downloaded, from a server that the tests run.

use super::{contains, dependencies, holds, only_itoa_sees};
use crate::checkout::{assemble, repository};
use crate::engine::unpack;
use crate::nix;
use crate::served::serve;
use crate::trial::trial_with;
use crate::workspaces::{attribute, binary, build, small};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("compose::{name}"), tools, run);
    vec![
        test("downloads_are_pinned_and_held", &["umoci"], pinned),
        test("a_download_with_another_hash_is_refused", &[], tampered),
        test(
            "each_architecture_has_its_download",
            &["umoci"],
            by_architecture,
        ),
        test(
            "archives_of_any_form_are_unpacked",
            &["umoci", "python3"],
            forms,
        ),
        test("an_archive_that_does_not_fit_is_refused", &[], misfits),
        test("a_build_script_reads_a_download", &[], by_a_script),
        test("who_tries_the_network_is_told_the_lines", &[], told),
        test("a_registrys_crate_sees_a_download", &[], of_a_registry),
    ]
}

/// The content of `tool`.
pub(super) const TOOL: &str = "#!/bin/sh\necho a tool\n";

/// Makes a directory to serve with the file `tool`, and the tree `kit-1.0` with a program and a
/// text.
pub(super) fn files() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("tool"), TOOL)?;
    let kit = directory.path().join("kit/kit-1.0");
    fs::create_dir_all(kit.join("bin"))?;
    fs::write(kit.join("text"), "a text")?;
    fs::write(kit.join("bin/run"), TOOL)?;
    fs::set_permissions(kit.join("bin/run"), fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::symlink("bin/run", kit.join("link"))?;
    Ok(directory)
}

/// Packs the tree into an archive, compressed as its name says.
pub(super) fn pack(place: &Path, archive: &str) -> Result<()> {
    let kit = place.join("kit");
    duct::cmd!("tar", "-C", kit, "-caf", place.join(archive), "kit-1.0").run()?;
    Ok(())
}

/// Makes a workspace with parts and the fields of the image `tools`.
fn workspace(parts: &str, files: &str) -> Result<TempDir> {
    let workspace = small("downloads", "fn main() {}", "")?;
    let text = format!(
        "version = 1\n\n{parts}\n[images.tools]\nbase = \"none\"\ntags = [\"1\"]\nfiles = \
         [\n{files}]\n"
    );
    fs::write(workspace.path().join("images.toml"), text)?;
    Ok(workspace)
}

pub(super) fn sha256(path: &Path) -> Result<String> {
    Ok(hex(&fs::read(path)?))
}

/// Returns the SHA-256 of bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `assemble` in a workspace, expects success or failure, and returns its messages.
pub(super) fn said(workspace: &TempDir, arguments: &[&str], succeeds: bool) -> Result<String> {
    let output = duct::cmd(assemble(), arguments)
        .dir(workspace.path())
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() == succeeds,
        "assemble {arguments:?} ended with {}:\n{said}",
        output.status
    );
    Ok(said)
}

/// Returns Nix's messages when it fails to build the image.
pub(super) fn fails(workspace: &TempDir) -> Result<String> {
    nix::build_fails(&attribute(workspace.path(), "images.tools"))
}

/// A build asks for hashes, `assemble lock` adds them, and the image then holds a file and the
/// contents of an archive. Its provenance names both. The other ways to build refuse them by name.
fn pinned() -> Result<()> {
    let files = files()?;
    let place = files.path();
    pack(place, "kit.tar.gz")?;
    let url = serve(place, None)?;
    let parts = format!(
        "[parts.kit]\ndownload = {{ url = \"{url}/kit.tar.gz\", unpack = true, strip = 1 }}\n\
         [parts.tool.download]\nurl = \"{url}/tool\" # a tool\n"
    );
    let workspace = workspace(
        &parts,
        "{ part = \"tool\", path = \"/usr/bin/\", mode = \"0755\" },\n\
         { part = \"tool\", path = \"/srv/tool\" },\n{ part = \"kit\", path = \"/opt/kit\" },\n",
    )?;
    contains(
        &fails(&workspace)?,
        &[
            "images.toml:4:20: error: the download of [parts.kit] has no `sha256`",
            "images.toml:6:7: error: the download of [parts.tool] has no `sha256`",
            "run `assemble lock`",
        ],
    )?;
    let lock = ["lock", "--without-debian"];
    let check = said(&workspace, &["lock", "--without-debian", "--check"], false)?;
    contains(&check, &["for the downloads of [parts.kit], [parts.tool]"])?;
    let [kit, tool] = [
        sha256(&place.join("kit.tar.gz"))?,
        sha256(&place.join("tool"))?,
    ];
    let told = said(&workspace, &lock, true)?;
    contains(
        &told,
        &[&kit, &tool, &format!("{url}/tool"), "images.toml written"],
    )?;
    let text = fs::read_to_string(workspace.path().join("images.toml"))?;
    contains(
        &text,
        &[
            &format!("/kit.tar.gz\", sha256 = \"{kit}\", unpack = true"),
            &format!("/tool\" # a tool\nsha256 = \"{tool}\"\n"),
        ],
    )?;
    said(&workspace, &lock, true)?;
    let again = fs::read_to_string(workspace.path().join("images.toml"))?;
    ensure!(again == text, "a second lock writes\n{again}");

    let image = build(workspace.path(), "images.tools")?;
    let bundle = unpack(&image)?;
    let root = bundle.path().join("rootfs");
    holds(&root, "usr/bin/tool", TOOL, 0o755)?;
    holds(&root, "srv/tool", TOOL, 0o644)?;
    holds(&root, "opt/kit/text", "a text", 0o644)?;
    holds(&root, "opt/kit/bin/run", TOOL, 0o755)?;
    let link = fs::read_link(root.join("opt/kit/link"))?;
    ensure!(link == Path::new("bin/run"), "the link leads to {link:?}");
    let inputs = dependencies(&image)?;
    for (part, file, hash) in [("kit", "kit.tar.gz", kit), ("tool", "tool", tool)] {
        let found = inputs.iter().any(|it| {
            it["annotations"]["role"] == "download"
                && it["name"] == format!("part:{part}")
                && it["uri"] == format!("{url}/{file}")
                && it["digest"]["sha256"] == hash
        });
        ensure!(found, "no download of {part} in {inputs:#?}");
    }

    let other = said(&workspace, &["build", "--engine", "cargo", "tools"], false)?;
    contains(
        &other,
        &["this engine can't make the part `", "assemble build"],
    )?;
    let other = said(&workspace, &["dockerfile"], false)?;
    contains(&other, &["the part `tool` of the image `tools`"])
}

/// Neither `assemble fetch` nor Nix accepts a file whose hash differs from that in images.toml.
fn tampered() -> Result<()> {
    let files = files()?;
    let url = serve(files.path(), None)?;
    let wrong = "0".repeat(64);
    let part =
        format!("[parts.tool]\ndownload = {{ url = \"{url}/tool\", sha256 = \"{wrong}\" }}\n");
    let workspace = workspace(&part, "{ part = \"tool\", path = \"/usr/bin/\" },\n")?;
    fs::copy(
        repository().join("debian.lock"),
        workspace.path().join("debian.lock"),
    )?;
    let right = sha256(&files.path().join("tool"))?;
    let fetched = said(&workspace, &["fetch"], false)?;
    let expected = format!(
        "the download of [parts.tool]: {url}/tool has the SHA-256 {right}, and images.toml has \
             {wrong}"
    );
    contains(&fetched, &[&expected])?;
    contains(&fails(&workspace)?, &["hash mismatch", "-download-tool"])?;
    // A failed download is named, and Nix tries it again.
    let images = workspace.path().join("images.toml");
    let text = fs::read_to_string(&images)?.replace("/tool\"", "/gone\"");
    fs::write(&images, text)?;
    let fetched = said(&workspace, &["fetch"], true)?;
    contains(&fetched, &["the download of [parts.tool]", "404"])
}

fn by_architecture() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let url = serve(directory.path(), None)?;
    let mut downloads = String::new();
    for architecture in ["amd64", "arm64"] {
        let file = directory.path().join(architecture);
        // No earlier run had this address, so Nix itself downloads the file.
        fs::write(&file, format!("{architecture} {url}"))?;
        downloads += &format!(
            "[[parts.tool.download]]\narchitecture = \"{architecture}\"\nurl = \
             \"{url}/{architecture}\"\nsha256 = \"{}\"\n",
            sha256(&file)?
        );
    }
    let files = "{ part = \"tool\", path = \"/tool\" },\n";
    let workspace = workspace(&downloads, files)?;
    let images = workspace.path().join("images.toml");
    let text = fs::read_to_string(&images)?;
    let variants = "platforms = [\"linux/amd64\"]\n[images.tools.variants.arm]\nplatforms = \
                    [\"linux/arm64\"]\n";
    fs::write(&images, text + variants)?;
    for (image, architecture) in [("tools", "amd64"), ("tools-arm", "arm64")] {
        let layout = build(workspace.path(), &format!("images.{image}"))?;
        let bundle = unpack(&layout)?;
        let content = format!("{architecture} {url}");
        holds(&bundle.path().join("rootfs"), "tool", &content, 0o644)?;
    }
    Ok(())
}

/// Archives in zip, and in tar with each compression, as Python writes them.
fn forms() -> Result<()> {
    let files = files()?;
    let place = files.path();
    let url = serve(place, None)?;
    let (mut parts, mut held) = (String::new(), String::new());
    for (form, extension) in [
        ("zip", "zip"),
        ("gztar", "tar.gz"),
        ("bztar", "tar.bz2"),
        ("xztar", "tar.xz"),
    ] {
        let script = format!("import shutil; shutil.make_archive('kit', '{form}', 'kit')");
        duct::cmd!("python3", "-c", script).dir(place).run()?;
        // Only the content tells the format.
        fs::rename(place.join(format!("kit.{extension}")), place.join(form))?;
        parts += &format!(
            "[parts.{form}]\ndownload = {{ url = \"{url}/{form}\", sha256 = \"{}\", unpack = true \
             }}\n",
            sha256(&place.join(form))?
        );
        held +=
            &format!("{{ part = \"{form}\", from = \"kit-1.0/bin/run\", path = \"/{form}\" }},\n");
    }
    let image = build(workspace(&parts, &held)?.path(), "images.tools")?;
    let bundle = unpack(&image)?;
    for form in ["zip", "gztar", "bztar", "xztar"] {
        holds(&bundle.path().join("rootfs"), form, TOOL, 0o755)?;
    }
    Ok(())
}

/// A file that is not an archive, and archives with nothing to strip.
fn misfits() -> Result<()> {
    let files = files()?;
    let place = files.path();
    pack(place, "kit.tar")?;
    let url = serve(place, None)?;
    for (file, strip, expected) in [
        (
            "tool",
            1,
            "[parts.tool] in images.toml: the download is not an archive: drop `unpack`",
        ),
        (
            "kit.tar",
            2,
            "`strip = 2` wants one directory in another, but at ./kit-1.0 the archive has: bin \
             link text",
        ),
    ] {
        let part = format!(
            "[parts.tool]\ndownload = {{ url = \"{url}/{file}\", sha256 = \"{}\", unpack = true, \
             strip = {strip} }}\n",
            sha256(&place.join(file))?
        );
        let workspace = workspace(&part, "{ part = \"tool\", path = \"/tool\" },\n")?;
        contains(&fails(&workspace)?, &[expected])?;
    }
    Ok(())
}

/// A build script reads a download from the path in a variable.
fn by_a_script() -> Result<()> {
    let files = files()?;
    let url = serve(files.path(), None)?;
    fs::write(files.path().join("data"), &url)?;
    let script = "fn main() {\n    let path = std::env::var(\"DATA\").unwrap();\n    \
                  let data = std::fs::read_to_string(path).unwrap();\n    \
                  println!(\"cargo::rustc-env=DATA={data}\");\n}\n";
    let workspace = small(
        "downloading",
        "fn main() { print!(\"{}\", env!(\"DATA\")); }",
        script,
    )?;
    let images = workspace.path().join("images.toml");
    let part = format!(
        "[parts.data]\ndownload = {{ url = \"{url}/data\", sha256 = \"{}\" }}\n\
         [crates.downloading]\nparts = [{{ part = \"data\", path = \"in/data\" }}]\n\
         environment = {{ DATA = \"/workspace/in/data\" }}\n",
        sha256(&files.path().join("data"))?
    );
    fs::write(&images, fs::read_to_string(&images)? + &part)?;
    let said = duct::cmd!(binary(workspace.path(), "downloading")?).read()?;
    ensure!(said == url, "the program says {said:?}");
    Ok(())
}

/// Returns a build script that downloads a table, unless a variable gives its path.
fn downloading(url: &str, download: &str) -> String {
    format!(
        "const TABLE: &str = \"{url}/table.txt\";\n\
         fn run(program: &str, arguments: &[&str]) -> String {{\n    \
         let output = std::process::Command::new(program).args(arguments).output().unwrap();\n    \
         assert!(output.status.success(), \"{{}}\", String::from_utf8_lossy(&output.stderr));\n    \
         String::from_utf8(output.stdout).unwrap()\n}}\n\
         fn main() {{\n    let text = match std::env::var(\"TABLE_FILE\") {{\n        \
         Ok(file) => std::fs::read_to_string(file).unwrap(),\n        \
         Err(_) if TABLE.is_empty() => run(\"true\", &[]),\n        \
         Err(_) => {download},\n    }};\n    \
         println!(\"cargo::rustc-env=TABLE={{text}}\");\n}}\n"
    )
}

/// The error names the address, which only the script's source contains, and the lines with which
/// the workspace builds. The script connects by itself, starts a program that no unit has, or has a
/// shell start one.
fn told() -> Result<()> {
    let files = files()?;
    fs::write(files.path().join("table.txt"), "seven")?;
    let url = serve(files.path(), None)?;
    // Nothing listens there, and no cell has a network.
    let connect = "match std::net::TcpStream::connect(\"192.0.2.1:80\") { \
                   Ok(_) => panic!(\"there is a network: {TABLE}\"), \
                   Err(error) => panic!(\"no table: {error}\") }";
    let without = |program: &str| {
        format!("starts {program} to download something, and no unit has {program} or a network")
    };
    for (download, tries) in [
        (connect, "tries the network, which no unit has"),
        ("run(\"curl\", &[\"-fsSL\", TABLE])", &without("curl")),
        (
            "run(\"sh\", &[\"-c\", \"wget -qO- $0\", TABLE])",
            &without("wget"),
        ),
    ] {
        let main = "fn main() { print!(\"{}\", env!(\"TABLE\")); }";
        let workspace = small("tabled", main, &downloading(&url, download))?;
        let failed = nix::build_fails(&attribute(workspace.path(), "images.tabled"))?;
        let lines = [
            "[parts.tabled]".to_owned(),
            format!("download = {{ url = \"{url}/table.txt\" }}"),
            "[crates.tabled]".to_owned(),
            "parts = [{ part = \"tabled\", path = \"downloads/table.txt\" }]".to_owned(),
            "environment = { TABLE_FILE = \"/workspace/downloads/table.txt\" }".to_owned(),
        ];
        let wants = format!("tabled {tries}: it wants {url}/table.txt.");
        let wanted = lines.iter().chain([&wants]).map(String::as_str);
        contains(&failed, &wanted.collect::<Vec<_>>())?;
        let images = workspace.path().join("images.toml");
        fs::write(&images, fs::read_to_string(&images)? + &lines.join("\n"))?;
        said(&workspace, &["lock", "--without-debian"], true)?;
        let program = binary(workspace.path(), "tabled")?;
        let printed = duct::cmd!(program).read()?;
        ensure!(printed == "seven", "the program says {printed:?}");
    }
    Ok(())
}

/// Crates of a registry can have parts, too.
fn of_a_registry() -> Result<()> {
    let workspace = small("downloads", "fn main() {}", "")?;
    let images = workspace.path().join("images.toml");
    let text = fs::read_to_string(&images)?;
    let part = format!(
        "[parts.data]\ndownload = {{ url = \"http://h.example/a\", sha256 = \"{}\" }}\n\
         [crates.itoa]\nparts = [{{ part = \"data\", path = \"data/in\" }}]\n",
        "0".repeat(64)
    );
    fs::write(&images, text + &part)?;
    let units = attribute(workspace.path(), "units");
    only_itoa_sees(&units, "data/in", "-download-data")
}
