//! The images: other tools read and run them.

use crate::checkout::{assemble, repository};
use crate::engine::{Container, unpack};
use crate::trial::trial_with;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("images::{name}"), tools, run);
    vec![
        test(
            "are_small_and_hold_no_store_path",
            &["umoci"],
            small_and_clean,
        ),
        test(
            "skopeo_copies_them_with_their_digests",
            &["skopeo"],
            skopeo_copies,
        ),
        test(
            "carry_dpkg_metadata_certificates_and_time_zones",
            &["umoci", "dpkg-query"],
            metadata,
        ),
        test(
            "gateway_answers_its_health_check",
            &["umoci", "runc"],
            gateway_is_healthy,
        ),
        test(
            "supervisor_restarts_reaps_and_stops",
            &["umoci", "runc"],
            supervisor_supervises,
        ),
        test(
            "cluster_turns_healthy_from_its_own_bundle",
            &["umoci", "runc"],
            cluster_is_healthy,
        ),
    ]
}

/// An image in the output of `assemble build --json`.
#[derive(Deserialize)]
struct Image {
    name: String,
    digest: String,
    size: u64,
    path: PathBuf,
}

/// Builds all images of this repository.
fn build() -> Result<Vec<Image>> {
    let text = duct::cmd!(assemble(), "build", "--json")
        .dir(repository())
        .read()
        .context("assemble build failed")?;
    Ok(serde_json::from_str(&text)?)
}

fn image(name: &str) -> Result<Image> {
    let mut images = build()?.into_iter();
    images
        .find(|image| image.name == name)
        .with_context(|| format!("no image {name:?} was built"))
}

/// Limits in compressed bytes. The cluster image holds the other two.
const MAX_SIZES: [(&str, u64); 3] = [
    ("gateway", 25 << 20),
    ("supervisor", 20 << 20),
    ("cluster", 70 << 20),
];

fn small_and_clean() -> Result<()> {
    for image in build()? {
        let limit = MAX_SIZES.iter().find(|(name, _)| *name == image.name);
        if let Some((_, limit)) = limit {
            ensure!(
                image.size < *limit,
                "{} has {} bytes, more than {limit}",
                image.name,
                image.size
            );
        }
        let bundle = unpack(&image.path)?;
        let found = Command::new("grep")
            .args(["-rlaE", "/nix/store/[0-9a-z]{32}-|/build/", "."])
            .current_dir(bundle.path().join("rootfs"))
            .output()?;
        let names = String::from_utf8_lossy(&found.stdout).into_owned();
        ensure!(
            names.is_empty(),
            "{}: paths of the build in {names}",
            image.name
        );
    }
    Ok(())
}

fn skopeo_copies() -> Result<()> {
    for image in build()? {
        let to = tempfile::tempdir()?;
        duct::cmd!(
            "skopeo",
            "copy",
            "--quiet",
            "--preserve-digests",
            format!("oci:{}", image.path.display()),
            format!("dir:{}", to.path().display())
        )
        .run()
        .with_context(|| format!("skopeo does not copy {}", image.name))?;
        let manifest = to.path().join("manifest.json");
        let digest = duct::cmd!("sha256sum", manifest).read()?;
        let digest = digest.split(' ').next().unwrap_or_default().to_owned();
        ensure!(
            image.digest == format!("sha256:{digest}"),
            "{}: another digest",
            image.name
        );
    }
    Ok(())
}

fn metadata() -> Result<()> {
    let bundle = unpack(&image("gateway")?.path)?;
    let root = bundle.path().join("rootfs");
    let listed = duct::cmd!(
        "dpkg-query",
        format!("--admindir={}", root.join("var/lib/dpkg").display()),
        "--show",
        "--showformat=${Package} ${db:Status-Status}\n"
    )
    .read()?;
    for package in ["libc6", "ca-certificates", "tzdata"] {
        ensure!(
            listed.contains(&format!("{package} installed")),
            "{package} is not in {listed:?}"
        );
    }
    let bundle = std::fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt"))?;
    let count = bundle.matches("BEGIN CERTIFICATE").count();
    ensure!(count > 100, "only {count} certificates");
    ensure!(
        root.join("usr/share/zoneinfo/Europe/Berlin").exists(),
        "no time zones"
    );
    ensure!(
        !root.join("usr/bin/sh").exists(),
        "there is a shell, which nothing needs"
    );
    Ok(())
}

fn gateway_is_healthy() -> Result<()> {
    let container = Container::start(&image("gateway")?.path, &[])?;
    container.until_exec_succeeds(&["/usr/bin/gateway", "health"], Duration::from_secs(20))?;
    let user = container.status_field("Uid")?;
    ensure!(user.starts_with("65532"), "gateway runs as user {user}");
    let code = container.stop("TERM", Duration::from_secs(10))?;
    ensure!(code == 0, "gateway ended with {code} after SIGTERM");
    Ok(())
}

fn supervisor_supervises() -> Result<()> {
    let path = image("supervisor")?.path;
    let workload = [
        "--",
        "/usr/bin/supervisor",
        "workload",
        "--exit-after",
        "1s",
        "--exit-code",
        "3",
        "--orphans",
        "3",
    ];
    let mut arguments = vec!["--log-level", "debug"];
    arguments.extend(workload);
    let container = Container::start(&path, &arguments)?;
    container.until_logged("orphan reaped", Duration::from_secs(20))?;
    container.until_logged("restart", Duration::from_secs(20))?;
    let state = container.status_field("State")?;
    ensure!(!state.starts_with('Z'), "process 1 is in state {state}");
    container.stop("TERM", Duration::from_secs(15))?;
    Ok(())
}

fn cluster_is_healthy() -> Result<()> {
    let container = Container::start(&image("cluster")?.path, &[])?;
    container.until_exec_succeeds(&["/usr/bin/cluster", "health"], Duration::from_secs(60))?;
    let code = container.stop("TERM", Duration::from_secs(20))?;
    ensure!(code == 0, "cluster ended with {code} after SIGTERM");
    Ok(())
}
