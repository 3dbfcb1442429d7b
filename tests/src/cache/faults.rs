//! Caches that are damaged, lie, stall or refuse. The build reports it, continues without them, and
//! gives the right result.

use super::parts::{Key, Main, Runner, free_port};
use super::scopes::{Target, archive, forged, main_without, write};
use crate::checkout::repository;
use crate::served::{Fault, serve};
use anyhow::{Result, ensure};
use crateyard_nix::{NarInfo, SecretKey};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest time that a build with such a server may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn all() -> Result<()> {
    let main = Main::pushed()?;
    let target = Target::find()?;
    let runner = Runner::new()?;
    let rest = main_without(main, &target.path, runner.path("rest"))?;
    let case = Case {
        main,
        target: &target,
        runner: &runner,
        rest: &rest,
    };
    for (name, directory) in contents(main, &target, &runner)? {
        case.check(&name, &directory.display().to_string())?;
    }
    let good = runner.path("good");
    let bytes = archive(&target.path)?;
    write(
        &good,
        &forged(&target.path, &bytes, Some(&main.key))?,
        &bytes,
    )?;
    for fault in [
        Fault::Status(500),
        Fault::Status(429),
        Fault::ArchiveStatus(500),
        Fault::ArchiveStatus(429),
        Fault::ArchiveCut,
        Fault::ArchiveStall,
        Fault::Stall,
    ] {
        let url = serve(&good, Some(fault))?;
        case.check(&format!("{fault:?}"), &url)?;
    }
    let registry = serve(&good, Some(Fault::Stall))?.replace("http://", "oci://");
    case.check("a registry that stalls", &format!("{registry}/cache:main"))?;
    case.check(
        "nobody listens",
        &format!("http://127.0.0.1:{}", free_port()?),
    )
}

/// Makes caches in directories, each with its fault.
fn contents(main: &Main, target: &Target, runner: &Runner) -> Result<Vec<(String, PathBuf)>> {
    let good = archive(&target.path)?;
    let other = archive(&target.other)?;
    let signed = forged(&target.path, &good, Some(&main.key))?;
    let mut made = Vec::new();
    let mut make = |name: &str, info: &NarInfo, bytes: &[u8]| -> Result<()> {
        let directory = runner.path(&name.replace(' ', "-"));
        write(&directory, info, bytes)?;
        made.push((name.to_owned(), directory));
        Ok(())
    };
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    make("damaged archive", &signed, &damaged)?;
    make("cut archive", &signed, &good[..middle])?;
    make("unsigned", &forged(&target.path, &other, None)?, &other)?;

    // This key has the same name as main's.
    let impostor = Key::at(&runner.path("impostor.key"), "main-1")?;
    make(
        "wrong signature",
        &forged(&target.path, &other, Some(&impostor))?,
        &other,
    )?;

    // Main signed the right hash; the narinfo has another one.
    let mut lying = forged(&target.path, &other, None)?;
    lying.signatures = signed.signatures.clone();
    make("a lie about the hash", &lying, &other)?;

    // Main signed this for another path.
    let secret: SecretKey = fs::read_to_string(&main.key.file)?.parse()?;
    let mut moved = forged(&target.other, &other, None)?;
    moved.sign(&secret);
    moved.path = target.path.clone();
    make("a signature of another path", &moved, &other)?;
    Ok(made)
}

struct Case<'a> {
    main: &'a Main,
    target: &'a Target,
    runner: &'a Runner,
    rest: &'a Path,
}

impl Case<'_> {
    fn check(&self, name: &str, address: &str) -> Result<()> {
        let mut caches = self.main.from(address);
        caches.extend(self.main.without_key(&self.rest.display().to_string()));
        self.forget()?;
        let begin = Instant::now();
        let (images, said) = self
            .runner
            .build_some(&["gateway"], &repository(), &caches, &[])?;
        let elapsed = begin.elapsed();
        ensure!(
            images.digest("gateway")? == self.target.digest,
            "{name}: another digest:\n{said}"
        );
        let is_said = said
            .lines()
            .any(|line| line.contains("warning") || line.contains("error"));
        ensure!(is_said, "{name}: nothing is said:\n{said}");
        ensure!(elapsed < PATIENCE, "{name}: it took {elapsed:?}");
        println!("faults: {name}: right after {:.1} s", elapsed.as_secs_f64());
        Ok(())
    }

    /// Removes only the image from the runner's store.
    fn forget(&self) -> Result<()> {
        let store = self.runner.store();
        if store.join(&self.target.path.to_string()[1..]).exists() {
            duct::cmd!(
                "nix-store",
                "--store",
                &store,
                "--delete",
                // A Nix process of the last build may still end, and keeps the image until then.
                "--ignore-liveness",
                self.target.path.to_string()
            )
            .stdout_null()
            .stderr_null()
            .run()?;
        }
        Ok(())
    }
}
