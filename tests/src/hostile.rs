//! Hostile repositories: their files, links and settings can't harm the user who builds them.

use crate::checkout::{assemble, repository};
use crate::nix::SETTINGS;
use crate::trial::trial;
use crate::workspaces::commit_all;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Output;
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("hostile::{name}"), run);
    vec![
        test("state_that_is_a_link_is_refused", linked_state),
        test("state_that_git_tracks_is_refused", tracked_state),
        test("evaluation_reads_nothing_of_the_machine", evaluation),
        test("an_input_without_a_hash_is_not_evaluated", unlocked),
        test("a_store_elsewhere_leaves_this_one_alone", elsewhere),
        test("programs_of_a_workspace_are_not_run", programs),
        test("an_evaluation_says_nothing_to_the_terminal", escapes),
        test("a_flake_names_no_file_of_this_machine", named_files),
    ]
}

/// A home directory with valuable files, and a repository beside it.
struct Scene {
    directory: TempDir,
}

const LETTER: &str = "nobody else's business";

impl Scene {
    /// Makes the scene, with a flake that makes an image `x` of a text.
    fn new() -> Result<Self> {
        let scene = Self {
            directory: tempfile::Builder::new().prefix("crateyard-").tempdir()?,
        };
        fs::create_dir_all(scene.path("victim/letters"))?;
        fs::write(scene.path("victim/letters/letter"), LETTER)?;
        fs::write(scene.path("victim/.profile"), LETTER)?;
        fs::create_dir(scene.path("workspace"))?;
        let seed = format!("nix/seed/seed-{}-linux", std::env::consts::ARCH);
        fs::copy(repository().join(seed), scene.path("workspace/seed"))?;
        scene.write(
            "images.toml",
            "version = 1\n[images.x]\nbinaries = [\"x\"]\n",
        )?;
        scene.write("text.nix", "\"harmless\"")?;
        scene.write("flake.nix", &flake("", "import ./text.nix"))?;
        Ok(scene)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path("workspace").join(name);
        fs::create_dir_all(path.parent().context("no directory")?)?;
        Ok(fs::write(path, text)?)
    }

    fn commit(&self) -> Result<()> {
        commit_all(&self.path("workspace"))
    }

    fn assemble(&self, arguments: &[&str]) -> Result<Output> {
        let command = duct::cmd(assemble(), arguments).dir(self.path("workspace"));
        let home = std::env::var("HOME").unwrap_or_default();
        let rustup = std::env::var("RUSTUP_HOME").unwrap_or(format!("{home}/.rustup"));
        let settled = command
            .env("RUSTUP_HOME", rustup)
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env(
                "NIX_CONFIG",
                format!("{SETTINGS}connect-timeout = 2\ndownload-attempts = 1\n"),
            )
            .env("SECRET_OF_THE_MACHINE", LETTER);
        let output = settled.stdout_capture().stderr_capture().unchecked();
        Ok(output.run()?)
    }

    fn build(&self) -> Result<Output> {
        let store = self.path("store");
        self.assemble(&["build", "x", "--store", &store.to_string_lossy()])
    }

    /// Fails if a file was added, changed or removed.
    fn expect_untouched(&self) -> Result<()> {
        let mut found = Vec::new();
        for file in ["letters/letter", ".profile"] {
            found.push(fs::read_to_string(self.path("victim").join(file)));
        }
        let is_whole = found
            .iter()
            .all(|text| text.as_ref().is_ok_and(|text| text == LETTER));
        ensure!(
            is_whole,
            "files outside the repository were changed: {found:?}"
        );
        for (directory, count) in [("victim", 2), ("victim/letters", 1)] {
            let entries = fs::read_dir(self.path(directory))?.count();
            ensure!(entries == count, "{directory} has {entries} entries");
        }
        Ok(())
    }

    /// Whether a file in the store holds a text.
    fn store_says(&self, text: &str) -> Result<bool> {
        let store = self.path("store/nix/store");
        let found = duct::cmd!("grep", "-rqs", text, store).unchecked().run()?;
        Ok(found.status.success())
    }
}

/// Returns a flake whose image is a text.
fn flake(inputs: &str, text: &str) -> String {
    format!(
        "{{ {inputs} outputs = {{ self, ... }}: {{ packages.{arch}-linux.x-image = derivation \
         {{\n  name = \"x-image\"; system = \"{arch}-linux\"; builder = ./seed;\n  args = [ \
         \"unpack\" \"--into\" (placeholder \"out\") ]; text = {text}; }}; }}; }}\n",
        arch = std::env::consts::ARCH
    )
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn expect_refused(output: &Output, because: &str) -> Result<()> {
    let said = said(output);
    ensure!(!output.status.success(), "it was not refused: {said}");
    ensure!(
        said.contains(because),
        "it does not say {because:?}: {said}"
    );
    Ok(())
}

fn linked_state() -> Result<()> {
    for (link, target) in [
        (".crateyard", "victim"),
        (".crateyard/history", "victim/letters"),
        (".crateyard/build.json", "victim/letters/letter"),
        (".crateyard/layers", "victim/letters"),
    ] {
        let scene = Scene::new()?;
        scene.commit()?;
        // The link is untracked by git, as an archive may contain it.
        let link = scene.path("workspace").join(link);
        fs::create_dir_all(link.parent().context("no directory")?)?;
        symlink(scene.path(target), link)?;
        scene.build()?;
        scene.assemble(&["build", "x", "--engine", "cargo"])?;
        scene
            .expect_untouched()
            .with_context(|| format!("with a link to {target}"))?;
    }
    Ok(())
}

fn tracked_state() -> Result<()> {
    let scene = Scene::new()?;
    symlink(scene.path("victim"), scene.path("workspace/.crateyard"))?;
    scene.commit()?;
    expect_refused(&scene.build()?, "git tracks \".crateyard\"")?;
    scene.expect_untouched()?;

    let scene = Scene::new()?;
    scene.write(".crateyard/image-cargo-x", "")?;
    scene.commit()?;
    expect_refused(&scene.build()?, "git tracks \".crateyard/image-cargo-x\"")
}

/// A flake is evaluated without access to the machine, and so is a changed repository that is read
/// in place. There Nix knows `builtins.currentSystem`, so the repository can tell the difference.
fn evaluation() -> Result<()> {
    let scene = Scene::new()?;
    let letters = scene.path("victim/letters");
    let letters = letters.display();
    let ways = [
        format!("builtins.readFile \"{letters}/letter\""),
        format!("builtins.readFile (builtins.fetchurl \"file://{letters}/letter\")"),
        format!(
            "builtins.readFile (builtins.fetchTree {{ type = \"path\"; path = \"{letters}\"; }} + \
             \"/letter\")"
        ),
        format!("builtins.readFile (builtins.fetchTree \"path:{letters}\" + \"/letter\")"),
        format!("builtins.readFile (builtins.path {{ path = \"{letters}\"; }} + \"/letter\")"),
        "builtins.readFile (builtins.fetchurl \"file:///proc/self/environ\")".to_owned(),
        "builtins.readFile \"/proc/self/environ\"".to_owned(),
        "builtins.getEnv \"SECRET_OF_THE_MACHINE\"".to_owned(),
        "builtins.readFile ./link".to_owned(),
    ];
    symlink(
        scene.path("victim/letters/letter"),
        scene.path("workspace/link"),
    )?;
    scene.commit()?;
    let output = scene.build()?;
    ensure!(
        !scene.store_says(LETTER)?,
        "a clean repository: {}",
        said(&output)
    );
    let place = "if builtins ? currentSystem then \"read \" + \"in place\" else \"pure\"\n";
    scene.write("text.nix", place)?;
    let output = scene.build()?;
    ensure!(
        scene.store_says("read in place")?,
        "it is copied: {}",
        said(&output)
    );
    for way in ways {
        let text = format!("if builtins ? currentSystem then {way} else \"pure\"\n");
        scene.write("text.nix", &text)?;
        let output = scene.build()?;
        ensure!(
            !scene.store_says(LETTER)?,
            "{way} reads it: {}",
            said(&output)
        );
        ensure!(
            !said(&output).contains(LETTER),
            "{way} has it said: {}",
            said(&output)
        );
    }
    Ok(())
}

/// An input may be a directory of this machine. No evaluation may read it, and Nix may not copy it
/// into the store, which everybody can read.
fn unlocked() -> Result<()> {
    let scene = Scene::new()?;
    let letters = scene.path("victim/letters");
    let letters = letters.display();
    let path = format!("path:{letters}");
    let input = |url: &str| format!("inputs.a = {{ url = \"{url}\"; flake = false; }};");
    let lock = |original: &str, locked: &str| {
        let hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let node = |path: &str| format!(r#""type": "path", "path": "{path}""#);
        format!(
            r#"{{"root": "root", "version": 7, "nodes": {{
            "root": {{"inputs": {{"a": "a"}}}}, "a": {{"flake": false,
            "original": {{{}}}, "locked": {{{}, "narHash": "{hash}", "lastModified": 1}}}}}}}}"#,
            node(original),
            node(locked)
        )
    };
    let place = letters.to_string();
    let reader =
        format!("{{ inputs.v = {{ url = \"{path}\"; flake = false; }}; outputs = _: {{ }}; }}\n");
    scene.write("sub/flake.nix", &reader)?;
    fs::create_dir(scene.path("evil"))?;
    fs::write(scene.path("evil/flake.nix"), &reader)?;
    commit_all(&scene.path("evil"))?;
    let evil = format!("git+file://{}", scene.path("evil").display());
    let overridden = overridden(evil.trim_start_matches("git+"));
    let ways = [
        ("not in the lock", input(&path), None),
        ("another hash", input(&path), Some(lock(&place, &place))),
        (
            "locked elsewhere",
            input("github:a/b"),
            Some(lock("/nowhere", &place)),
        ),
        (
            "another path",
            input(&path),
            Some(lock("/nowhere", "./text.nix")),
        ),
        (
            "a query",
            input(&format!("{path}?x=y")),
            Some(lock(&place, "./text.nix")),
        ),
        ("through a link", input("path:./link/letters"), None),
        // There, Nix starts from the copy of the workspace in the store.
        (
            "a way out of the store",
            input("path:./../../../../victim/letters"),
            Some(lock("./nowhere", "./text.nix")),
        ),
        (
            "a link out of the store",
            input("path:./astray/victim/letters"),
            Some(lock("./nowhere", "./text.nix")),
        ),
        // Nix would read this flake, and copy the directories that are its inputs.
        (
            "a flake of the repository",
            "inputs.a.url = \"path:./sub\";".to_owned(),
            Some(lock("./nowhere", "./sub")),
        ),
        (
            "a flake of the repository, by a path that no lock has",
            "inputs.a.url = \"./sub\";".to_owned(),
            Some(lock("./sub", "./sub")),
        ),
        (
            "a path that looks like a name",
            input(&format!("a{}{letters}", "/..".repeat(20))),
            Some(lock("/nowhere", "./text.nix")),
        ),
        // Nix would fetch this flake, and copy the directories that are its inputs.
        (
            "a flake elsewhere",
            "inputs.a.url = \"git+http://127.0.0.1:9/a\";".to_owned(),
            Some(lock("/nowhere", "./text.nix")),
        ),
        (
            "overridden",
            format!("inputs.a = {{ url = \"github:a/b\"; inputs.c.url = \"{path}\"; }};"),
            Some(lock("/nowhere", "./text.nix")),
        ),
        (
            "overridden by a flake that the lock names",
            format!("inputs.a = {{ url = \"github:a/b\"; inputs.c.url = \"{evil}\"; }};"),
            Some(overridden.clone()),
        ),
        (
            "overridden by content that the lock names as a flake",
            format!(
                "inputs.a = {{ url = \"github:a/b\"; inputs.c = {{ url = \"{evil}\"; flake = \
                 false; }}; }};"
            ),
            Some(overridden),
        ),
    ];
    symlink(scene.path("victim"), scene.path("workspace/link"))?;
    symlink("../../../..", scene.path("workspace/astray"))?;
    for (what, inputs, lock) in ways {
        scene.write("flake.nix", &flake(&inputs, "\"x\""))?;
        let file = scene.path("workspace/flake.lock");
        let _ = fs::remove_file(&file);
        if let Some(lock) = &lock {
            scene.write("flake.lock", lock)?;
        }
        scene.commit()?;
        let output = scene.build()?;
        let refused = expect_refused(&output, "this machine");
        let refused = refused.or_else(|_| expect_refused(&output, "outside of the repository"));
        let refused = refused.or_else(|_| expect_refused(&output, "flake.lock does not name"));
        let refused = refused.or_else(|_| expect_refused(&output, "is overridden by an address"));
        let refused = refused.or_else(|_| expect_refused(&output, "can't keep in flake.lock"));
        refused.context(what)?;
        ensure!(!scene.store_says(LETTER)?, "{what}: it is in the store");
        ensure!(
            lock.is_some() || !file.exists(),
            "{what}: a lock was written"
        );
    }
    Ok(())
}

/// Returns a lock with the input `c` of an input `a` from elsewhere.
fn overridden(url: &str) -> String {
    let a = r#""type": "github", "owner": "a", "repo": "b""#;
    let c = format!(r#""type": "git", "url": "{url}""#);
    let locked = format!(
        r#""rev": "{}", "narHash": "sha256-{}=", "lastModified": 1"#,
        "0".repeat(40),
        "A".repeat(43)
    );
    let node = |place: &str| format!(r#""original": {{{place}}}, "locked": {{{place}, {locked}}}"#);
    format!(
        r#"{{"root": "root", "version": 7, "nodes": {{"root": {{"inputs": {{"a": "a"}}}},
        "a": {{"inputs": {{"c": "c"}}, {}}}, "c": {{{}}}}}}}"#,
        node(a),
        node(&c)
    )
}

/// A file in this machine's own store, which is removed on drop.
struct OwnFile {
    path: String,
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let delete = duct::cmd!("nix-store", "--delete", &self.path);
        let _ = delete.stdout_null().stderr_null().unchecked().run();
    }
}

/// `builtin:fetchurl` of Nix 2.8 empties a file of the machine's own store when it downloads for
/// another store.
fn elsewhere() -> Result<()> {
    let scene = Scene::new()?;
    let name = format!("throw-away-{}", std::process::id());
    let file = scene.path(&name);
    let content = format!("{LETTER}, {name}");
    fs::write(&file, &content)?;
    let path = duct::cmd!("nix-store", "--add-fixed", "sha256", &file).read()?;
    let own = OwnFile { path };
    let hash = duct::cmd!("sha256sum", &file).read()?;
    let hash = hash.split(' ').next().context("no hash")?;
    let download = |url: &str| {
        format!(
            "derivation {{ name = \"{name}\"; system = \"builtin\"; builder = \
             \"builtin:fetchurl\"; url = \"{url}\";\noutputHashMode = \"flat\"; outputHashAlgo = \
             \"sha256\"; outputHash = \"{hash}\"; preferLocalBuild = true; }}"
        )
    };
    scene.write("text.nix", &download("http://127.0.0.1:9/nothing"))?;
    scene.commit()?;
    expect_refused(&scene.build()?, &format!("cannot download {name}"))?;
    ensure!(
        fs::read_to_string(&own.path)? == content,
        "{} was changed",
        own.path
    );
    // If the download is allowed, the file arrives only in the other store.
    scene.write("text.nix", &download(&format!("file://{}", file.display())))?;
    scene.commit()?;
    let output = scene.build()?;
    let arrived = scene.path("store").join(own.path.trim_start_matches('/'));
    let is_there = fs::read_to_string(&arrived).is_ok_and(|text| text == content);
    ensure!(
        is_there,
        "{} is not there: {}",
        arrived.display(),
        said(&output)
    );
    ensure!(
        fs::read_to_string(&own.path)? == content,
        "{} was changed",
        own.path
    );
    Ok(())
}

/// `init` and `lock` make Cargo read the workspace, but without running the workspace's programs.
fn programs() -> Result<()> {
    let scene = Scene::new()?;
    let mark = scene.path("ran");
    let program = format!("#!/bin/sh\necho \"$0 $*\" >> {}\nexit 1\n", mark.display());
    for name in ["bin/cargo", "bin/rustc", "wrapper", "provider"] {
        scene.write(name, &program)?;
        let path = scene.path("workspace").join(name);
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    scene.write("src/main.rs", "fn main() {}\n")?;
    let manifest = "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    scene.write("Cargo.toml", manifest)?;
    let here = scene.path("workspace");
    let here = here.display();
    scene.write(
        "rust-toolchain.toml",
        &format!("[toolchain]\npath = \"{here}\"\n"),
    )?;
    scene.write(
        ".cargo/config.toml",
        &format!(
            "[build]\nrustc = \"{here}/bin/rustc\"\nrustc-wrapper = \"{here}/wrapper\"\n\
             [registry]\nglobal-credential-providers = [\"{here}/provider\"]\n"
        ),
    )?;
    scene.assemble(&["init"])?;
    fs::remove_file(scene.path("workspace/rust-toolchain.toml"))?;
    let output = scene.assemble(&["init"])?;
    ensure!(output.status.success(), "init failed: {}", said(&output));
    expect_said(
        &output,
        "build.rustc-wrapper names a program, which is not run",
    )?;
    ensure!(!mark.exists(), "ran: {}", fs::read_to_string(&mark)?);
    Ok(())
}

/// What an evaluation says (`throw`, `trace`) is cleaned before it is printed.
fn escapes() -> Result<()> {
    let scene = Scene::new()?;
    let said_by = "builtins.fromJSON \"\\\"\\\\u001b]0;title\\\\u0007 from inside\\\"\"";
    for text in [
        format!("throw ({said_by})\n"),
        format!("builtins.trace ({said_by}) \"x\"\n"),
        format!("builtins.trace ({said_by}) (throw ({said_by}))\n"),
    ] {
        scene.write("text.nix", &text)?;
        scene.commit()?;
        let output = scene.build()?;
        expect_said(&output, "from inside")?;
        let raw = output.stderr.iter().chain(&output.stdout);
        let odd = raw.filter(|byte| matches!(byte, 0x07 | 0x1b)).count();
        ensure!(odd == 0, "{text}: {:?}", said(&output));
    }
    Ok(())
}

/// `assemble fetch` reads locks that a flake names. They lie in the store, so that no error quotes
/// a file of the machine.
fn named_files() -> Result<()> {
    let scene = Scene::new()?;
    let secret = scene.path("victim/letters/letter");
    symlink(&secret, scene.path("workspace/link.lock"))?;
    for lock in [
        format!("\"{}\"", secret.display()),
        "\"${./.}/link.lock\"".to_owned(),
    ] {
        scene.write(
            "flake.nix",
            &format!(
                "{{ outputs = {{ self }}: {{ debianLock = {lock}; toolchainLock = {lock}; }}; }}\n"
            ),
        )?;
        scene.write("Cargo.lock", "version = 4\n")?;
        scene.commit()?;
        let output = scene.assemble(&["fetch"])?;
        expect_refused(&output, "store")?;
        ensure!(
            !said(&output).contains(LETTER),
            "it is quoted: {}",
            said(&output)
        );
    }
    Ok(())
}

fn expect_said(output: &Output, text: &str) -> Result<()> {
    let said = said(output);
    ensure!(said.contains(text), "it does not say {text:?}: {said}");
    Ok(())
}
