//! `seed cell`: the view of the program inside, and the effects of its end outside.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    errors, fail, has, scratch, seed, seed_path, shell, skipped, succeed, unpack_root, usable_root,
};

#[test]
fn the_exit_status_comes_out() {
    let Some(root) = usable_root("the_exit_status_comes_out") else {
        return;
    };
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let status = shell(root, &[], script).status().unwrap();
        assert_eq!(status.code(), Some(code), "{script}");
    }
}

#[test]
fn a_program_that_cannot_run_has_the_codes_of_env() {
    let Some(root) = usable_root("a_program_that_cannot_run_has_the_codes_of_env") else {
        return;
    };
    let cell = |options: &[&str], program: &str| {
        let mut command = seed();
        command
            .args(["cell", "--root"])
            .arg(root)
            .args(options)
            .args(["--", program]);
        command
    };
    let path = ["--env", "PATH=/usr/sbin:/usr/bin"];
    assert!(fail(&mut cell(&[], "/usr/bin/absent"), 127).contains("`/usr/bin/absent`"));
    assert!(fail(&mut cell(&path, "absent"), 127).contains("PATH=/usr/sbin:/usr/bin"));
    assert!(fail(&mut cell(&["--clear-env"], "sh"), 127).contains("no PATH"));
    assert!(fail(&mut cell(&[], "/etc/passwd"), 126).contains("permission denied"));
    assert!(fail(&mut cell(&[], "/usr"), 126).contains("`/usr`"));
    fail(&mut cell(&["--cwd", "/absent"], "/bin/true"), 125);
    succeed(&mut cell(&path, "true"));
}

#[test]
fn the_program_is_nobody_in_particular_and_sees_the_root_only() {
    let Some(root) = usable_root("the_program_is_nobody_in_particular_and_sees_the_root_only")
    else {
        return;
    };
    let script = "id -u; id -g; pwd; cat /proc/sys/kernel/hostname; \
        ls -d /home/* /root/* /tmp/* 2>/dev/null; while read -r name value; do \
        case $name in CapEff:|CapPrm:|CapAmb:) echo $name $value;; esac; done </proc/self/status";
    assert_eq!(
        succeed(&mut shell(root, &[], script)),
        "1000\n100\n/build\nlocalhost\n\
         CapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapAmb: 0000000000000000\n"
    );
    let entries = succeed(&mut shell(root, &[], "ls -A /"));
    let mut expected: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    expected.extend(["build", "proc", "dev", "sys", "tmp"].map(Into::into));
    if Path::new("/nix/store").exists() {
        expected.push("nix".into());
    }
    expected.sort();
    expected.dedup();
    assert_eq!(
        entries.lines().collect::<Vec<_>>(),
        expected
            .iter()
            .map(|name| name.to_str().unwrap())
            .collect::<Vec<_>>()
    );
}

#[test]
fn only_what_is_meant_for_it_can_be_written() {
    let Some(root) = usable_root("only_what_is_meant_for_it_can_be_written") else {
        return;
    };
    for path in [
        "/x",
        "/usr/x",
        "/usr/bin/x",
        "/etc/x",
        "/bin/sh",
        "/home/x",
        "/root/x",
        "/proc/sys/kernel/x",
        "/var/tmp/x",
    ] {
        let output = shell(root, &[], &format!("echo x > {path}"))
            .output()
            .unwrap();
        assert!(!output.status.success(), "{path}");
        let message = errors(&output);
        assert!(
            ["Read-only", "denied", "nonexistent"]
                .iter()
                .any(|text| message.contains(text)),
            "{path}: {message}"
        );
    }
    let script = "for place in /build /tmp /workspace /workspace/deep/er; do \
        echo $place > $place/file && cat $place/file; done";
    assert_eq!(
        succeed(&mut shell(
            root,
            &[
                "--writable",
                "/workspace",
                "--writable",
                "/workspace/deep/er"
            ],
            script
        )),
        "/build\n/tmp\n/workspace\n/workspace/deep/er\n"
    );
}

#[test]
fn files_and_directories_are_bound() {
    let Some(root) = usable_root("files_and_directories_are_bound") else {
        return;
    };
    let directory = scratch();
    fs::write(directory.path().join("file"), "content\n").unwrap();
    let bind =
        |name: &str, place: &str| format!("{}={place}", directory.path().join(name).display());
    let options = [
        "--writable",
        "/workspace",
        "--bind",
        &bind("", "/workspace/sources/here"),
        "--bind",
        &bind("file", "/top/file"),
        "--bind",
        &bind("file", "/etc/passwd"),
        "--bind",
        &bind("file", "/lib/os-release"),
    ];
    let script = "cat /workspace/sources/here/file /top/file /etc/passwd /usr/lib/os-release";
    assert_eq!(
        succeed(&mut shell(root, &options, script)),
        "content\n".repeat(4)
    );

    let message = fail(
        &mut shell(root, &["--bind", &bind("file", "/usr/absent/file")], "true"),
        125,
    );
    assert!(
        message.contains("`/usr/absent/file`") && message.contains("--mkdir"),
        "{message}"
    );
    let message = fail(&mut shell(root, &["--bind", "/absent=/x"], "true"), 125);
    assert!(message.contains("`/absent`"), "{message}");
    assert!(!directory.path().join("sources").exists());
}

#[test]
fn of_several_roots_the_earlier_wins() {
    let test = "of_several_roots_the_earlier_wins";
    let Some(root) = usable_root(test) else {
        return;
    };
    let directory = scratch();
    let first = directory.path().join("first: one, two");
    succeed(seed().args(["unpack", "--into"]).arg(&first).args([
        "--text",
        "etc/passwd=first\n",
        "--text",
        "opt/new=new\n",
    ]));
    let mut command = seed();
    command
        .args(["cell", "--root"])
        .arg(&first)
        .arg("--root")
        .arg(root);
    command.args([
        "--",
        "/bin/sh",
        "-c",
        "/bin/cat /etc/passwd /opt/new /etc/group; echo x > /opt/y",
    ]);
    let output = command.output().unwrap();
    if output.status.code() == Some(125) {
        return skipped(test, &errors(&output));
    }
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "first\nnew\nusers:x:100:\n"
    );
    assert!(errors(&output).contains("Read-only"), "{}", errors(&output));
}

#[test]
fn the_environment_passes_unless_it_is_cleared() {
    let Some(root) = usable_root("the_environment_passes_unless_it_is_cleared") else {
        return;
    };
    let directory = scratch();
    let top = directory.path().to_str().unwrap();
    let environment = |options: &[&str]| {
        let mut command = seed();
        command
            .args(["cell", "--root"])
            .arg(root)
            .args(options)
            .args(["--", "/usr/bin/env"]);
        command
            .env_clear()
            .env("A", "1")
            .env("B", "2")
            .env("NIX_BUILD_TOP", top)
            .env("TMPDIR", format!("{top}/t"));
        let mut lines: Vec<String> = succeed(&mut command).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    fs::create_dir(directory.path().join("t")).unwrap();
    assert_eq!(
        environment(&["--env", "B=3"]),
        ["A=1", "B=3", "NIX_BUILD_TOP=/build", "TMPDIR=/build/t"]
    );
    assert_eq!(
        environment(&["--clear-env", "--env", "B=", "--env", "C=x=y"]),
        ["B=", "C=x=y"]
    );
}

#[test]
fn the_builds_directory_is_bound_and_what_was_written_stays() {
    let Some(root) = usable_root("the_builds_directory_is_bound_and_what_was_written_stays") else {
        return;
    };
    let directory = scratch();
    fs::write(directory.path().join("in"), "given\n").unwrap();
    let script = "cat in; echo result > out; echo kept > /workspace/file";
    let mut command = shell(root, &["--writable", "/workspace"], script);
    assert_eq!(
        succeed(command.env("NIX_BUILD_TOP", directory.path())),
        "given\n"
    );
    assert_eq!(fs::read(directory.path().join("out")).unwrap(), b"result\n");
    let mut names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert!(
        names[0].to_str().unwrap().starts_with(".cell-"),
        "{names:?}"
    );
    assert_eq!(
        fs::read(directory.path().join(&names[0]).join("writable-0/file")).unwrap(),
        b"kept\n"
    );
    fs::remove_dir_all(directory.path().join(&names[0])).unwrap();

    succeed(shell(root, &[], "true").env("NIX_BUILD_TOP", directory.path()));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
}

#[test]
fn outside_of_a_build_nothing_is_left() {
    let Some(root) = usable_root("outside_of_a_build_nothing_is_left") else {
        return;
    };
    let directory = scratch();
    let script = "mkdir -p /workspace/a/b /tmp/c; echo x > /workspace/a/b/x; ln -s / /tmp/c/link; \
        chmod 500 /workspace/a/b; echo y > y";
    let mut command = shell(root, &["--writable", "/workspace"], script);
    succeed(
        command
            .env_remove("NIX_BUILD_TOP")
            .env("TMPDIR", directory.path()),
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn without_network_there_is_loopback_only() {
    let Some(root) = usable_root("without_network_there_is_loopback_only") else {
        return;
    };
    let script = "while read -r name rest; do echo $name; done </proc/net/dev; \
        cat /proc/net/fib_trie | head -n 100";
    let output = succeed(&mut shell(root, &["--no-network"], script));
    let interfaces: Vec<_> = output
        .lines()
        .filter(|line| line.ends_with(':') && !line.contains(' '))
        .collect();
    assert!(interfaces.contains(&"lo:"), "{output}");
    assert!(
        !interfaces
            .iter()
            .any(|name| name.starts_with("eth") || name.starts_with("en")),
        "{output}"
    );
    // The list has the address only if the interface is switched on.
    assert!(output.contains("127.0.0.1"), "{output}");
}

/// Starts a cell whose script prints `ready`, and waits for that.
fn ready(command: &mut Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn kill(child: &Child, signal: &str) {
    succeed(Command::new("kill").args([signal, &child.id().to_string()]));
}

/// Returns the same command with no signal ignored. A shell lets commands in the background ignore
/// some.
fn with_signals(command: &Command) -> Command {
    let mut with_signals = Command::new("env");
    with_signals
        .arg("--default-signal")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => with_signals.env(name, value),
            None => with_signals.env_remove(name),
        };
    }
    with_signals
}

#[test]
fn signals_reach_the_program() {
    let Some(root) = usable_root("signals_reach_the_program") else {
        return;
    };
    for (signal, code) in [("-TERM", 15), ("-INT", 2), ("-HUP", 1)] {
        // A shell handles a signal only when its child has ended, so this one has no child.
        let script = "trap 'exit 15' TERM; trap 'exit 2' INT; trap 'exit 1' HUP; echo ready; \
            while :; do :; done";
        let (mut child, _output) = ready(&mut with_signals(&shell(root, &[], script)));
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

#[test]
fn the_program_inherits_no_blocked_signals() {
    let Some(root) = usable_root("the_program_inherits_no_blocked_signals") else {
        return;
    };
    let script = "while read -r name value; do if [ $name = SigBlk: ]; then echo $value; fi; \
        done </proc/self/status";
    assert_eq!(succeed(&mut shell(root, &[], script)), "0000000000000000\n");
}

#[test]
fn a_killed_seed_leaves_no_program() {
    let Some(root) = usable_root("a_killed_seed_leaves_no_program") else {
        return;
    };
    let directory = scratch();
    let mut command = shell(root, &[], "echo ready; exec sleep 1000");
    let (mut child, mut output) = ready(command.env("TMPDIR", directory.path()));
    let start = Instant::now();
    kill(&child, "-KILL");
    child.wait().unwrap();
    // At the end of the output, nobody holds the pipe any more.
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(100));
}

#[test]
fn as_process_1_the_seed_reaps_orphans_and_still_waits_for_the_program() {
    let test = "as_process_1_the_seed_reaps_orphans_and_still_waits_for_the_program";
    let Some(root) = usable_root(test) else {
        return;
    };
    if !has("unshare") {
        return skipped(test, "there is no unshare");
    }
    // Each inner shell ends before the process that it started.
    let script = r#"for n in 1 2 3; do sh -c 'sleep 0.1 & echo $!'; done; sleep 0.5
        for state in /proc/[0-9]*/stat; do read -r line <$state; echo "$line"; done; exit 3"#;
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
    ]);
    command.arg(seed_path()).args(["cell", "--root"]).arg(root);
    command.args(["--env", "PATH=/usr/bin", "--", "sh", "-c", script]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    assert!(text.contains("1 (seed"), "{text}");
    assert!(!text.contains(") Z "), "{text}");
}

#[test]
fn a_program_that_closes_its_output_does_not_end_the_seeds() {
    let Some(root) = usable_root("a_program_that_closes_its_output_does_not_end_the_seeds") else {
        return;
    };
    let script =
        "echo ready; exec >&- 2>&-; while [ ! -e /build/go ]; do :; done; echo done > /build/done";
    let directory = scratch();
    let mut command = shell(root, &[], script);
    let (mut child, mut output) = ready(
        command
            .env("NIX_BUILD_TOP", directory.path())
            .stderr(Stdio::null()),
    );
    let reader = std::thread::spawn(move || {
        output.read_to_end(&mut Vec::new()).unwrap();
        Instant::now()
    });
    std::thread::sleep(Duration::from_millis(200));
    let before = Instant::now();
    fs::write(directory.path().join("go"), "").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        reader.join().unwrap() >= before,
        "the output ended before the program did"
    );
    assert!(directory.path().join("done").exists());
}

#[test]
fn an_unprivileged_user_has_cells_too() {
    if usable_root("an_unprivileged_user_has_cells_too").is_none() {
        return;
    }
    // Other users may be shut out of the directories of the other tests.
    let place = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    let (seed, root) = (place.path().join("seed"), place.path().join("root"));
    // Another process writes the copy. A thread of this one that starts a program meanwhile would
    // keep it open, and nobody can execute a file that is open for writing.
    succeed(Command::new("cp").args([seed_path(), &seed]));
    assert!(unpack_root(&root));
    let mut command = Command::new(&seed);
    command
        .args(["cell", "--root"])
        .arg(&root)
        .args(["--env", "PATH=/usr/bin", "--writable", "/w", "--"])
        .args(["sh", "-c"])
        .arg("id -u; id -g; echo x > /w/x; echo y > /build/y; echo z > /usr/z")
        .env_remove("NIX_BUILD_TOP")
        .env("TMPDIR", "/tmp")
        .current_dir("/");
    // If the tests do not run as root, their user is an unprivileged one already.
    if succeed(Command::new("id").arg("-u")) == "0\n" {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1000\n100\n");
    assert!(errors(&output).contains("Read-only"), "{}", errors(&output));
}

#[test]
fn a_cell_in_a_cell_works() {
    let Some(root) = usable_root("a_cell_in_a_cell_works") else {
        return;
    };
    let bind = [
        format!("{}=/seed", seed_path().display()),
        format!("{}=/root2", root.display()),
    ];
    let options = ["--bind", &bind[0], "--bind", &bind[1], "--writable", "/w"];
    assert_eq!(
        succeed(&mut shell(
            root,
            &options,
            "/seed cell --root /root2 -- /bin/sh -c 'echo inner; exit 0'"
        )),
        "inner\n"
    );
}

#[test]
fn a_cell_takes_little_processor_time() {
    let Some(root) = usable_root("a_cell_takes_little_processor_time") else {
        return;
    };
    let least = |command: &dyn Fn() -> Command| {
        let times = (0..40).map(|_| processor_time(&mut command()));
        times.min().unwrap_or_default()
    };
    let bare = least(&|| Command::new("/bin/true"));
    let cell = least(&|| {
        let mut command = seed();
        command
            .args(["cell", "--root"])
            .arg(root)
            .args(["--", "/bin/true"]);
        command
    });
    eprintln!("a program alone: {bare:?}; in a cell: {cell:?}");
    // Measured: 2 ms. Other work on the machine changes it little, unlike the time by a clock.
    assert!(
        cell < bare + Duration::from_millis(30),
        "{bare:?} alone, {cell:?} in a cell"
    );
}

/// Runs a command, and returns the processor time of its process and of those that the process
/// waited for.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn processor_time(command: &mut Command) -> Duration {
    let child = command.spawn().unwrap();
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    let mut status = 0;
    // SAFETY: zeros are a valid value of this structure of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child was not waited for, and both places outlive the call.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!((waited, status), (pid, 0));
    let time = |it: libc::timeval| {
        Duration::from_secs(it.tv_sec.unsigned_abs())
            + Duration::from_micros(it.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
