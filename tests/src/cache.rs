//! A cold runner compiles nothing. Tests caches of every kind, each with an empty second store.

mod builders;
mod faults;
pub(crate) mod parts;
mod scopes;

use crate::checkout::{Checkout, assemble, repository};
use crate::nix::name_of;
use crate::trial::trial_with;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use parts::{Bucket, Images, Key, Main, Nginx, Registry, Runner, whole};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name: &str, tools: &[&str], run| trial_with(format!("cache::{name}"), tools, run);
    vec![
        test(
            "a_cold_runner_builds_nothing_over_http",
            &["nginx"],
            cold_http,
        ),
        test("an_edit_compiles_and_fetches_only_what_it_needs", &[], edit),
        test("packs_in_a_directory_are_a_cache", &[], packs),
        test("a_registry_is_a_cache", &["docker-registry"], registry),
        test("a_bucket_is_a_cache", &["curl", "python3"], bucket),
        test(
            "a_killed_push_leaves_a_whole_cache",
            &["docker-registry"],
            killed,
        ),
        test("gc_never_takes_what_a_build_reaches", &[], collected),
        test("a_poisoned_scope_changes_no_digest", &[], scopes::poisoned),
        test("faults_are_said_and_the_build_is_right", &[], faults::all),
        test("no_secret_reaches_a_pull_request", &[], scopes::no_secret),
        test("the_shell_of_ci_shares_and_takes", &[], shell),
        test(
            "another_nix_reads_packs_through_serve",
            &["debootstrap"],
            parts::other_nix,
        ),
        test(
            "remote_builders_build_units_over_ssh",
            &["sshd", "ip", "nsenter"],
            builders::over_ssh,
        ),
    ]
}

/// The limit of a cold runner's downloads, relative to the size of the images.
const OVERHEAD: f64 = 1.01;

fn cold_http() -> Result<()> {
    let main = Main::pushed()?;
    let nginx = Nginx::serving(&main.directory)?;
    let runner = Runner::new()?;
    let begin = Instant::now();
    let (images, said) =
        runner.build(&repository(), &main.from(&nginx.url), &["--max-jobs", "0"])?;
    let elapsed = begin.elapsed();
    nothing_built(&runner, &said)?;
    let log = nginx.archives()?;
    let fetched: u64 = log.iter().map(|(_, bytes)| bytes).sum();
    expect_little(fetched, &images)?;
    println!(
        "cold runner over HTTP: 0 built, {} archives, {fetched} bytes for images of {} bytes, \
         {:.1} s with evaluation",
        log.len(),
        images.bytes(),
        elapsed.as_secs_f64()
    );
    Ok(())
}

/// Fails if something was built, or a crate was unpacked.
fn nothing_built(runner: &Runner, said: &str) -> Result<()> {
    let built: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("building '"))
        .collect();
    ensure!(built.is_empty(), "built: {built:?}");
    let unpacked: Vec<String> = runner
        .paths()?
        .into_iter()
        .filter(|path| !path.ends_with(".drv"))
        .filter(|path| {
            path.ends_with(".crate") || path.ends_with("-tools") || path.contains("-rustc-1.")
        })
        .collect();
    ensure!(unpacked.is_empty(), "not needed: {unpacked:?}");
    Ok(())
}

fn expect_little(fetched: u64, images: &Images) -> Result<()> {
    let limit = images.bytes() as f64 * OVERHEAD;
    ensure!(
        fetched > 0 && fetched as f64 <= limit,
        "fetched {fetched} bytes for images of {} bytes",
        images.bytes()
    );
    Ok(())
}

/// The output of `assemble cache status --json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    outputs: usize,
    in_cache: usize,
    fetched: usize,
    built: Vec<String>,
    downloaded: Vec<String>,
}

/// An edit of the supervisor's source, on an empty runner.
fn edit() -> Result<()> {
    let main = Main::pushed()?;
    let checkout = Checkout::new()?;
    checkout.append("services/supervisor/src/main.rs", "\n// edited\n")?;
    let runner = Runner::new()?;
    let caches = main.from(&main.address());
    let text = runner.cache("status", checkout.path(), &caches, &["--json"])?;
    let status: Status = serde_json::from_str(&text)?;
    let built: BTreeSet<String> = status.built.iter().cloned().collect();
    let is_part = |name: &String| {
        [
            "supervisor-",
            "cluster-image",
            "layer-",
            "images",
            "evaluation",
        ]
        .iter()
        .any(|part| name.starts_with(part))
    };
    let others: Vec<&String> = built.iter().filter(|name| !is_part(name)).collect();
    ensure!(others.is_empty(), "would be built: {others:?}");
    ensure!(
        built.iter().any(|name| name.starts_with("supervisor-0")),
        "no unit: {built:?}"
    );
    ensure!(
        status.downloaded.is_empty(),
        "would be downloaded: {:?}",
        status.downloaded
    );

    let before = runner.paths()?.len();
    let (_, said) = runner.build(checkout.path(), &caches, &[])?;
    let really: BTreeSet<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("building '"))
        .map(|rest| name_of(rest.split('\'').next().unwrap_or_default()))
        .collect();
    // `status` also checked `evaluation`, which is not built here.
    let foreseen: BTreeSet<String> = built
        .into_iter()
        .filter(|name| name != "evaluation")
        .collect();
    ensure!(
        really.is_subset(&foreseen),
        "built {really:?}, foreseen {foreseen:?}"
    );
    let fetched = said
        .lines()
        .filter(|line| line.starts_with("copying path "))
        .count();
    ensure!(
        fetched <= status.fetched,
        "fetched {fetched} paths, foreseen {}",
        status.fetched
    );
    println!(
        "an edit in one crate: {} of {} outputs in the cache; built {really:?}; fetched {fetched} \
         paths, the store had {before}",
        status.in_cache, status.outputs
    );
    Ok(())
}

fn packs() -> Result<()> {
    let main = Main::pushed()?;
    let runner = Runner::new()?;
    let directory = runner.path("packs");
    let address = format!("pack:{}", directory.display());
    let push = |name: &str| {
        main.push(
            &address,
            &["--packages-only", "--pack-size", "8M", "--name", name],
        )
    };
    let first = push("first")?;
    ensure!(first.sent > 0, "nothing was sent");
    let files = || -> Result<BTreeSet<String>> {
        let entries = std::fs::read_dir(directory.join("blobs/sha256"))?;
        entries
            .map(|it| Ok(it?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let before = files()?;
    ensure!(before.len() < 10, "{} files", before.len());
    // A second push of the same adds a name but no pack.
    let second = push("second")?;
    ensure!(second.sent == 0, "{} paths were sent again", second.sent);
    let same = files()?.intersection(&before).count();
    ensure!(
        same == before.len() - 2,
        "only {same} of {} files stayed",
        before.len()
    );

    let (images, said) = runner.build(&repository(), &main.from(&address), &["--max-jobs", "0"])?;
    nothing_built(&runner, &said)?;
    println!(
        "packs: {} files, images of {} bytes",
        before.len(),
        images.bytes()
    );

    // The same without a build: the packages, and a build by its name.
    let puller = Runner::new()?;
    puller.cache("pull", &repository(), &main.from(&address), &[])?;
    let pulled = puller.paths()?;
    ensure!(
        pulled.iter().any(|path| path.ends_with("-gateway-image")),
        "not pulled: {pulled:?}"
    );
    let puller = Runner::new()?;
    puller.cache(
        "pull",
        &repository(),
        &main.from(&address),
        &["--build", "first"],
    )?;
    let pulled = puller.paths()?;
    ensure!(
        pulled.iter().any(|path| path.ends_with("-gateway-image")),
        "not pulled: {pulled:?}"
    );
    let refused = Runner::new()?;
    let options = main.without_key(&address);
    let result = refused.cache("pull", &repository(), &options, &["--build", "first"]);
    ensure!(result.is_err(), "what nobody trusts was pulled");

    Ok(())
}

fn registry() -> Result<()> {
    let main = Main::pushed()?;
    let registry = Registry::start()?;
    let address = format!("oci://{}/team/cache:main", registry.host);
    let first = main.push(&address, &["--packages-only"])?;
    ensure!(
        first.sent > 0 && first.requests < 30,
        "{} requests",
        first.requests
    );
    let second = main.push(&address, &["--packages-only"])?;
    ensure!(
        second.sent == 0 && second.bytes < 100_000,
        "{} bytes again",
        second.bytes
    );
    let runner = Runner::new()?;
    let before = registry.blob_bytes()?;
    let (images, said) = runner.build(&repository(), &main.from(&address), &["--max-jobs", "0"])?;
    nothing_built(&runner, &said)?;
    let fetched = registry.blob_bytes()? - before;
    expect_little(fetched, &images)?;
    println!(
        "registry: {} paths in {} requests; a cold runner fetched {fetched} bytes for images of {} \
         bytes",
        first.sent,
        first.requests,
        images.bytes()
    );
    Ok(())
}

fn bucket() -> Result<()> {
    let main = Main::pushed()?;
    let bucket = Bucket::start()?;
    main.push(&bucket.url, &["--packages-only"])?;
    let runner = Runner::new()?;
    let (_, said) = runner.build(&repository(), &main.from(&bucket.url), &["--max-jobs", "0"])?;
    nothing_built(&runner, &said)
}

fn killed() -> Result<()> {
    let main = Main::pushed()?;
    // A cache in a directory: after an interruption, everything that its index names is there.
    let runner = Runner::new()?;
    let directory = runner.path("cache");
    let small = ["--pack-size", "4M", "--packages-only"];
    let mut child = main.start_push(&directory.display().to_string(), &[])?;
    let begin = Instant::now();
    while whole(&directory)? < 5 && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill_group()?;
    let after_kill = whole(&directory)?;
    ensure!(
        !directory.join("builds").exists(),
        "the build has a name already"
    );

    // A cache in a registry: the tag does not exist, or its content is complete.
    let registry = Registry::start()?;
    let address = format!("oci://{}/team/cache:main", registry.host);
    let mut child = main.start_push(&address, &small)?;
    registry.wait_for_blob()?;
    child.kill_group()?;
    // A truncated cache does not disturb a machine that needs nothing of it.
    let workspace = repository().display().to_string();
    let mut status = vec!["cache", "status", "--json", "--workspace", &workspace];
    let caches = main.from(&address);
    status.extend(caches.iter().map(String::as_str));
    let (text, _) = runner.assemble(&status)?;
    ensure!(
        text.contains("\"failures\": []"),
        "a cache that was cut off disturbs: {text}"
    );
    let cold = Runner::new()?;
    let again = main.push(&address, &small)?;
    let size = registry.stored()?;
    ensure!(
        again.bytes < size,
        "sent {} bytes again of {size}",
        again.bytes
    );
    let (_, said) = cold.build(&repository(), &main.from(&address), &["--max-jobs", "0"])?;
    nothing_built(&cold, &said)?;
    println!(
        "killed: {after_kill} paths whole in the directory; the registry got {} of {size} bytes in \
         the second run",
        again.bytes
    );
    Ok(())
}

fn collected() -> Result<()> {
    let main = Main::pushed()?;
    let runner = Runner::new()?;
    let directory = runner.path("cache");
    let address = directory.display().to_string();
    main.push(&address, &["--packages-only", "--name", "release"])?;
    let kept = whole(&directory)?;
    let gc = |options: &[&str]| runner.assemble(&[&["cache", "gc", &address], options].concat());
    // Paths that a build reaches are kept, however old they are.
    gc(&["--grace", "0s"])?;
    ensure!(whole(&directory)? == kept, "a path of a build is gone");
    gc(&["--grace", "0s", "--older-than", "0s", "--keep", "release"])?;
    ensure!(
        whole(&directory)? == kept,
        "a path of a build that is kept is gone"
    );
    std::thread::sleep(Duration::from_millis(1100));
    gc(&["--grace", "0s", "--older-than", "0s", "--dry-run"])?;
    ensure!(whole(&directory)? == kept, "a dry run took something");
    gc(&["--older-than", "0s"])?;
    ensure!(whole(&directory)? == kept, "something young is gone");
    let (said, _) = gc(&["--grace", "0s", "--older-than", "0s"])?;
    ensure!(whole(&directory)? == 0, "something is left");

    let packs = format!("pack:{}", runner.path("packs").display());
    main.push(&packs, &["--packages-only", "--name", "release"])?;
    let gc =
        |options: &[&str]| runner.assemble(&[&["cache", "gc", &packs, "--json"], options].concat());
    let paths = |text: String| -> Result<u64> {
        let value: serde_json::Value = serde_json::from_str(&text)?;
        value["paths"].as_u64().context("gc counts no paths")
    };
    ensure!(paths(gc(&[])?.0)? == 0, "a path of a build is gone");
    std::thread::sleep(Duration::from_millis(1100));
    ensure!(
        paths(gc(&["--older-than", "0s"])?.0)? > 0,
        "nothing is given up"
    );
    println!("gc: {}", said.trim());
    Ok(())
}

/// `.ci/images`, as the workflow calls it: first for main, then for a pull request.
fn shell() -> Result<()> {
    let main = Main::pushed()?;
    let runner = Runner::new()?;
    let run = |caches: &str, scope: &str, key: &Key, trusted: &str| -> Result<String> {
        let output = std::process::Command::new(repository().join(".ci/images"))
            .env("ASSEMBLE", assemble())
            .env("CACHES", caches)
            .env("SCOPE", scope)
            .env("CRATEYARD_SIGN_KEY", std::fs::read_to_string(&key.file)?)
            .env("CRATEYARD_TRUSTED_KEYS", trusted)
            .env("NIX_CONFIG", "warn-dirty = false\n")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), ".ci/images failed:\n{said}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let scope = format!("pack:{}", runner.path("pr").display());
    let pr = Key::at(&runner.path("pr.key"), "pr-1")?;
    let trusted = format!("{} {}", main.key.public, pr.public);
    let said = run(&main.address(), &scope, &pr, &trusted)?;
    // Main has everything, so nothing is sent again.
    ensure!(
        said.contains(", 0 sent"),
        "what main has was sent again:\n{said}"
    );
    ensure!(
        said.contains("gave up 0 builds, 0 paths"),
        "gc took something:\n{said}"
    );
    Ok(())
}
