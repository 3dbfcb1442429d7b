//! `seed cell` where namespaces are forbidden, so that the seed traces the program.
#![allow(missing_docs)]

mod common;
#[path = "traced/filter.rs"]
mod filter;
#[path = "traced/probe.rs"]
mod probe;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::{errors, fail, has, scratch, seed, seed_path, skipped, succeed, usable_root};

/// Returns a command for a cell on a system without namespaces. It ends after a minute at the
/// latest.
fn traced(root: &Path, options: &[&str], program: &[&str]) -> Command {
    let script = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$@""#;
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=1", "60"])
        .args(["unshare", "--user", "--map-root-user", "sh", "-c", script])
        .arg("sh")
        .arg(seed_path());
    cell(&mut command, root, options, program);
    command
}

/// Adds a cell's arguments to a command.
fn cell(command: &mut Command, root: &Path, options: &[&str], program: &[&str]) {
    command
        .args(["cell", "--root"])
        .arg(root)
        .args(["--env", "PATH=/usr/bin"])
        .args(["--writable", "/w", "--memory", "/m"])
        .args(options)
        .arg("--")
        .args(program);
}

/// Returns the root for programs, if this machine can forbid namespaces.
fn traceable_root(test: &str) -> Option<&'static Path> {
    let root = usable_root(test)?;
    if !has("unshare") {
        skipped(test, "there is no unshare");
        return None;
    }
    Some(root)
}

#[test]
fn where_namespaces_are_forbidden_the_program_is_traced() {
    let Some(root) = traceable_root("where_namespaces_are_forbidden_the_program_is_traced") else {
        return;
    };
    let script = "id -u; id -g; pwd; uname -n; readlink /proc/self/exe
        ls -d /home/* /root/* /tmp/* 2>/dev/null
        echo x > /usr/x; echo y > /w/y; mkdir /m/z; stat -c '%u %g' /w/y; ls /w /m; exit 3";
    let output = traced(root, &[], &["sh", "-c", script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1000\n100\n/build\nlocalhost\n/usr/bin/readlink\n1000 100\n/m:\nz\n\n/w:\ny\n"
    );
    let said = errors(&output);
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(output.status.code(), Some(3));
    assert!(fail(&mut traced(root, &[], &["absent"]), 127).contains("PATH=/usr/bin"));
}

#[test]
fn where_nothing_is_allowed_the_remedy_is_named() {
    let Some(root) = traceable_root("where_nothing_is_allowed_the_remedy_is_named") else {
        return;
    };
    // A traced program can neither make namespaces nor trace.
    let bind = [
        format!("{}=/seed", seed_path().display()),
        format!("{}=/root2", root.display()),
    ];
    let options = ["--bind", &bind[0], "--bind", &bind[1]];
    let inner = ["/seed", "cell", "--root", "/root2", "--", "/bin/true"];
    let message = fail(&mut traced(root, &options, &inner), 125);
    for part in [
        "operation not permitted",
        "kernel.apparmor_restrict_unprivileged_userns=0",
        "cannot trace a process",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

/// A cell runs this same test, which then asks the system a few hundred questions
/// (`traced/probe.rs`).
#[test]
fn a_traced_program_gets_the_answers_of_one_in_namespaces() {
    let test = "a_traced_program_gets_the_answers_of_one_in_namespaces";
    if std::env::var_os("SEED_PROBE").is_some() {
        return probe::ask();
    }
    let Some(root) = traceable_root(test) else {
        return;
    };
    let probe = std::env::current_exe().unwrap();
    let bind = format!("{}=/probe", probe.display());
    let options = ["--env", "SEED_PROBE=1", "--no-network", "--bind", &bind];
    let program = ["/probe", "--exact", test, "--nocapture"];
    let answers = |mut command: Command| -> Vec<String> {
        let directory = scratch();
        fs::write(directory.path().join("file"), "content\n").unwrap();
        let text = succeed(command.env("NIX_BUILD_TOP", directory.path()));
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(probe::MARK));
        lines.map(str::to_owned).collect()
    };
    let mut in_namespaces = seed();
    cell(&mut in_namespaces, root, &options, &program);
    let expected = answers(in_namespaces);
    assert!(expected.len() > 50, "{expected:#?}");
    let answers = answers(traced(root, &options, &program));
    assert_eq!(answers.len(), expected.len());
    let pairs = answers.iter().zip(&expected);
    let differing: Vec<_> = pairs
        .filter(|(answer, expected)| answer != expected)
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn memory_that_cannot_be_copied_in_one_call_is_copied_word_by_word() {
    let test = "memory_that_cannot_be_copied_in_one_call_is_copied_word_by_word";
    let Some(root) = traceable_root(test) else {
        return;
    };
    let script = "pwd; id -u; uname -n; for n in 1 12 123 1234 12345 123456; do echo $n > /w/$n
        done; cd /w; ls; readlink /proc/self/exe; sh -c 'exit 3'";
    let expected = "/build\n1000\nlocalhost\n1\n12\n123\n1234\n12345\n123456\n/usr/bin/readlink\n";
    let (read, write) = (libc::SYS_process_vm_readv, libc::SYS_process_vm_writev);
    for calls in [&[read][..], &[write], &[read, write]] {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let filter = filter::refusing(calls, errno);
            let mut command = traced(root, &[], &["sh", "-c", script]);
            // SAFETY: between fork and exec the closure makes system calls alone.
            unsafe { command.pre_exec(move || filter::install(&filter)) };
            let output = command.output().unwrap();
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(3), "{calls:?} {errno}: {said}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{said}");
        }
    }
}
