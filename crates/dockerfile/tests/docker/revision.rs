//! A revision of a repository as the context.

use std::path::Path;
use std::process::{Child, Command};

use crate::build::*;
use crate::fixture;

/// A directory of repositories that git serves where the engine runs. The server ends on drop.
struct Repositories {
    process: Child,
    address: String,
}

impl Repositories {
    fn serve(directory: &Path) -> Result<Repositories, String> {
        let port = free_port()?;
        // Runs the daemon directly: ending `git` would leave its child running.
        let programs = Command::new("git").arg("--exec-path").output();
        let programs = programs.map_err(|error| format!("there is no git: {error}"))?;
        let daemon = format!("{}/git-daemon", text_of(&programs).trim());
        let process = where_the_engine_is(&daemon)
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", directory.display()))
            .spawn()
            .map_err(|error| format!("there is no {daemon}: {error}"))?;
        let served = Repositories {
            process,
            address: format!("git://127.0.0.1:{port}"),
        };
        let answers = || {
            let listed = where_the_engine_is("git")
                .arg("ls-remote")
                .arg(format!("{}/workspace", served.address))
                .output();
            listed.is_ok_and(|output| output.status.success())
        };
        for _ in 0..50 {
            if answers() {
                return Ok(served);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Err("git serves nothing".to_owned())
    }
}

impl Drop for Repositories {
    fn drop(&mut self) {
        // A process that ended by itself is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Files that are in the directory but not in the revision get into no image.
#[test]
fn a_revision_is_built_in_place_of_the_directory() {
    let test = "a_revision_is_built_in_place_of_the_directory";
    let Some(build) = build_or_skip(test) else {
        return;
    };
    let bare = tempfile::tempdir().unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "commit",
            "--quiet",
            "--message=t",
        ],
        &[
            "clone",
            "--quiet",
            "--bare",
            ".",
            &bare.path().join("workspace").to_string_lossy(),
        ],
    ] {
        let status = Command::new("git")
            .args(arguments)
            .current_dir(build.path())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
    }
    let repositories = match Repositories::serve(bare.path()) {
        Ok(repositories) => repositories,
        Err(reason) => return fixture::skipped(test, &reason),
    };
    build.append(
        "crates/gateway/src/main.rs",
        "compile_error!(\"the directory is built\");\n",
    );
    let out = tempfile::tempdir().unwrap();
    let output = Command::new("docker")
        .args(["buildx", "bake", "--progress=plain", "gateway-output"])
        .arg(format!(
            "--set=*.output=type=local,dest={}",
            out.path().display()
        ))
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
        .env(
            "CONTEXT",
            format!("{}/workspace#main", repositories.address),
        )
        .env("TOOLCHAIN", &build.toolchain)
        .env("VENDOR", build.vendor.path())
        .current_dir(build.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let said = Command::new(out.path().join("gateway")).output().unwrap();
    assert_eq!(text_of(&said), "hello gateway 42 marked syntax 0.1.0\n");
}
