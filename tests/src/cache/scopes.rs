//! Scopes: main never accepts paths that a pull request writes.

use super::parts::{Key, Main, Runner};
use crate::checkout::repository;
use crate::nix;
use anyhow::{Context, Result, ensure};
use crateyard_cache::packs::{Build, PACK_SIZE, PackDirectory, PackIndex, PackWriter};
use crateyard_nix::{Hash, NarInfo, SecretKey, StorePath};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The output to poison, and its replacement. Both are images, so that only the digest shows the
/// difference.
pub struct Target {
    pub path: StorePath,
    pub digest: String,
    pub other: StorePath,
    pub other_digest: String,
}

impl Target {
    pub fn find() -> Result<Self> {
        let out = |name: &str| -> Result<StorePath> {
            let flake = format!("git+file://{}#{name}-image.outPath", repository().display());
            Ok(nix::nix(&["eval", "--raw", &flake])?.trim().parse()?)
        };
        let (path, other) = (out("gateway")?, out("supervisor")?);
        Ok(Self {
            digest: digest(&path)?,
            other_digest: digest(&other)?,
            path,
            other,
        })
    }
}

fn digest(image: &StorePath) -> Result<String> {
    let text = fs::read_to_string(Path::new(&image.to_string()).join("index.json"))?;
    let index: serde_json::Value = serde_json::from_str(&text)?;
    let digest = index["manifests"][0]["digest"].as_str();
    Ok(digest.context("index.json names no manifest")?.to_owned())
}

/// Returns the archive of a path in the machine's store.
pub fn archive(path: &StorePath) -> Result<Vec<u8>> {
    let output = duct::cmd!("nix-store", "--dump", path.to_string())
        .stdout_capture()
        .run()?;
    Ok(output.stdout)
}

/// Makes a narinfo which claims that the archive belongs to the path.
pub fn forged(path: &StorePath, archive: &[u8], key: Option<&Key>) -> Result<NarInfo> {
    let hash = Hash::of(archive);
    let mut info = NarInfo {
        path: path.clone(),
        url: format!("nar/{}.nar", hash.base32()),
        compression: "none".to_owned(),
        file_hash: Some(hash),
        file_size: Some(archive.len() as u64),
        nar_hash: hash,
        nar_size: archive.len() as u64,
        references: Vec::new(),
        deriver: None,
        ca: None,
        signatures: Vec::new(),
    };
    if let Some(key) = key {
        let secret: SecretKey = fs::read_to_string(&key.file)?.parse()?;
        info.sign(&secret);
    }
    Ok(info)
}

/// Makes a cache in a directory with one path. Nix asks it before all others.
pub fn write(directory: &Path, info: &NarInfo, archive: &[u8]) -> Result<()> {
    fs::create_dir_all(directory.join("nar"))?;
    fs::write(
        directory.join("nix-cache-info"),
        "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 1\n",
    )?;
    fs::write(directory.join(&info.url), archive)?;
    fs::write(
        directory.join(format!("{}.narinfo", info.path.hash())),
        info.to_string(),
    )?;
    Ok(())
}

/// Copies main's cache without the path.
pub fn main_without(main: &Main, path: &StorePath, directory: PathBuf) -> Result<PathBuf> {
    // The copy consists of hard links, so removing names there is harmless.
    duct::cmd!("cp", "--recursive", "--link", &main.directory, &directory).run()?;
    fs::remove_file(directory.join(format!("{}.narinfo", path.hash())))?;
    Ok(directory)
}

pub fn poisoned() -> Result<()> {
    let main = Main::pushed()?;
    let target = Target::find()?;
    let runner = Runner::new()?;
    let pr = Key::at(&runner.path("pr.key"), "pr-7-1")?;
    let poison = archive(&target.other)?;
    let info = forged(&target.path, &poison, Some(&pr))?;
    let scope = runner.path("pr-scope");
    write(&scope, &info, &poison)?;
    let packs = runner.path("pr-packs");
    write_packs(&packs, &info, &poison)?;
    let before = main_without(main, &target.path, runner.path("main"))?;

    for address in [
        scope.display().to_string(),
        format!("pack:{}", packs.display()),
    ] {
        let mut caches = main.from(&address);
        caches.extend(main.without_key(&before.display().to_string()));

        // The pull request trusts its own key, so it gets the poisoned path. This shows that the
        // poison works.
        let own = Runner::new()?;
        let mut trusting = caches.clone();
        trusting.extend(["--trusted-key".to_owned(), pr.public.clone()]);
        let (images, _) = own.build_some(&["gateway"], &repository(), &trusting, &[])?;
        ensure!(
            images.digest("gateway")? == target.other_digest,
            "{address}: the poison does not work"
        );

        // Main reads the same scope by mistake, but trusts only its own key.
        let own = Runner::new()?;
        let (images, said) = own.build_some(&["gateway"], &repository(), &caches, &[])?;
        ensure!(
            images.digest("gateway")? == target.digest,
            "{address}: the digest on main changed:\n{said}"
        );
        ensure!(
            said.contains("sign"),
            "{address}: nobody said that a signature is missing:\n{said}"
        );
    }
    println!("scopes: a poisoned path is taken by who trusts its key, and by nobody else");
    Ok(())
}

fn write_packs(path: &Path, info: &NarInfo, mut archive: &[u8]) -> Result<()> {
    let directory = PackDirectory::new(path);
    let _lock = directory.lock()?;
    let mut writer = PackWriter::new(&directory.blobs(), PACK_SIZE);
    writer.append(info, &mut archive)?;
    let mut index = PackIndex::default();
    let build = Build {
        pushed: 0,
        paths: BTreeSet::from([info.path.clone()]),
    };
    index.add(writer.finish()?, "pr-7", build);
    Ok(directory.commit(&index)?)
}

/// The workflow names a secret only in main's job, and runs that job only for pushes to main. It
/// never runs a fork's pull request with main's rights (`pull_request_target`).
pub fn no_secret() -> Result<()> {
    let file = repository().join(".github/workflows/images.yml");
    let text = fs::read_to_string(&file)?;
    let (others, main) = text
        .split_once("\n  main:\n")
        .context("the workflow has no job \"main\"")?;
    for word in [
        "secrets.",
        "secrets:",
        "pull_request_target",
        "workflow_run",
    ] {
        ensure!(!others.contains(word), "{word} outside of main's job");
    }
    ensure!(
        main.contains("${{ secrets.CACHE_SIGN_KEY }}"),
        "main signs with nothing"
    );
    let guard = "if: github.event_name == 'push' && github.ref == 'refs/heads/main'";
    ensure!(main.contains(guard), "main's job runs for others");
    let jobs = main
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    ensure!(jobs.count() == 0, "a job follows main's");
    Ok(())
}
