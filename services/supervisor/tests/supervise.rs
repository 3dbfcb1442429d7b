//! What a supervisor does for its command.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::{SUPERVISOR, Supervisor, Way, children, exists, ways};

#[test]
fn exit_codes_are_those_of_the_command() {
    for way in ways("exit_codes_are_those_of_the_command") {
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
            let mut supervisor = Supervisor::script(way, &["--restart=never"], script);
            assert_eq!(supervisor.code(), code, "{script}");
        }
        let mut missing = Supervisor::start(way, &[], &["/no/such/command"]);
        assert_eq!(missing.code(), 127);
        assert!(missing.read("log").contains("/no/such/command"));
        let mut no_program = Supervisor::start(way, &[], &["/etc/passwd"]);
        assert_eq!(no_program.code(), 126);
    }
}

#[test]
fn a_failing_command_is_restarted_with_growing_pauses() {
    for way in ways("a_failing_command_is_restarted_with_growing_pauses") {
        let flags = [
            "--max-restarts=3",
            "--backoff-initial=100ms",
            "--backoff-max=200ms",
        ];
        let begin = Instant::now();
        let mut supervisor = Supervisor::script(way, &flags, "echo x >> runs; exit 5");
        assert_eq!(supervisor.code(), 5);
        assert_eq!(supervisor.read("runs"), "x\n".repeat(4));
        // 100, 200 and again 200 ms.
        assert!(begin.elapsed() >= Duration::from_millis(500));
        assert!(supervisor.read("log").contains("too often in a row"));
    }
}

#[test]
fn a_command_that_succeeds_is_restarted_only_if_asked() {
    let script = "echo x >> runs";
    let mut once = Supervisor::script(Way::Plain, &[], script);
    assert_eq!(once.code(), 0);
    assert_eq!(once.read("runs"), "x\n");
    let flags = [
        "--restart=always",
        "--backoff-initial=10ms",
        "--backoff-max=10ms",
    ];
    let supervisor = Supervisor::script(Way::Plain, &flags, script);
    supervisor.wait_for_lines("runs", 3);
}

#[test]
fn sigterm_is_passed_on_and_ends_the_supervisor() {
    for way in ways("sigterm_is_passed_on_and_ends_the_supervisor") {
        let script =
            "trap 'echo got >> signals; exit 3' TERM; echo up > up; while :; do sleep 0.05; done";
        let mut supervisor = Supervisor::script(way, &["--restart=always"], script);
        supervisor.wait_for_lines("up", 1);
        supervisor.signal("TERM");
        assert_eq!(supervisor.code(), 3);
        assert_eq!(supervisor.read("signals"), "got\n");

        let mut plain = Supervisor::start(way, &["--restart=always"], &["sleep", "100"]);
        plain.wait_until("command", || plain.logged("command started") == 1);
        plain.signal("INT");
        assert_eq!(plain.code(), 128 + 2);
    }
}

#[test]
fn the_whole_process_group_gets_the_signal() {
    for way in ways("the_whole_process_group_gets_the_signal") {
        let script = "(trap 'echo inner >> signals; exit' TERM; echo up >> up
              while :; do sleep 0.05; done) &
             trap 'wait; echo outer >> signals; exit 0' TERM; echo up >> up; wait";
        let mut supervisor = Supervisor::script(way, &[], script);
        supervisor.wait_for_lines("up", 2);
        supervisor.signal("TERM");
        assert_eq!(supervisor.code(), 0);
        let mut lines: Vec<_> = supervisor
            .read("signals")
            .lines()
            .map(String::from)
            .collect();
        lines.sort();
        assert_eq!(lines, ["inner", "outer"]);
    }
}

#[test]
fn other_signals_are_passed_on_and_end_nothing() {
    for way in ways("other_signals_are_passed_on_and_end_nothing") {
        let script = "for s in HUP USR1 USR2; do trap \"echo $s >> signals\" $s; done
             echo up > up; while :; do sleep 0.05; done";
        let supervisor = Supervisor::script(way, &[], script);
        supervisor.wait_for_lines("up", 1);
        for (count, name) in ["HUP", "USR1", "USR2"].iter().enumerate() {
            supervisor.signal(name);
            supervisor.wait_for_lines("signals", count + 1);
        }
        assert_eq!(supervisor.read("signals"), "HUP\nUSR1\nUSR2\n");
        assert!(exists(supervisor.pid()));
    }
}

#[test]
fn after_the_grace_period_comes_sigkill() {
    for way in ways("after_the_grace_period_comes_sigkill") {
        let script = "trap '' TERM; echo up > up; while :; do sleep 0.05; done";
        let mut supervisor = Supervisor::script(way, &["--grace=300ms"], script);
        supervisor.wait_for_lines("up", 1);
        let begin = Instant::now();
        supervisor.signal("TERM");
        assert_eq!(supervisor.code(), 137);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_signal_during_the_pause_ends_it() {
    let flags = ["--backoff-initial=100s", "--backoff-max=100s"];
    let mut supervisor = Supervisor::script(Way::Plain, &flags, "exit 4");
    supervisor.wait_until("pause", || supervisor.logged("restarting the command") == 1);
    supervisor.signal("TERM");
    assert_eq!(supervisor.code(), 4);
}

#[test]
fn orphans_are_reaped() {
    for way in ways("orphans_are_reaped") {
        let command = [SUPERVISOR, "workload", "--orphans=3"];
        let mut supervisor = Supervisor::start(way, &[], &command);
        supervisor.wait_until("three orphans reaped", || {
            supervisor.logged("orphan reaped") == 3
        });
        let left = children(supervisor.pid());
        assert_eq!(left.len(), 1, "only the command: {left:?}");
        assert_ne!(left[0].1, 'Z');
        supervisor.signal("TERM");
        assert_eq!(supervisor.code(), 0);
    }
}

#[test]
fn what_left_the_process_group_is_ended_too() {
    for way in ways("what_left_the_process_group_is_ended_too") {
        let script = "setsid sh -c 'trap \"echo got >> signals; exit\" TERM; echo up > up
                while :; do sleep 0.05; done' &
             while [ ! -e up ]; do sleep 0.05; done; exit 6";
        let mut supervisor = Supervisor::script(way, &["--restart=never"], script);
        assert_eq!(supervisor.code(), 6);
        assert_eq!(supervisor.read("signals"), "got\n");

        let script = "setsid sh -c 'trap \"\" TERM; echo up > up; while :; do sleep 0.05; done' &
             while [ ! -e up ]; do sleep 0.05; done; exit 6";
        let flags = ["--restart=never", "--grace=200ms"];
        let mut stubborn = Supervisor::script(way, &flags, script);
        assert_eq!(stubborn.code(), 6);
    }
}

#[test]
fn a_restart_finds_nothing_of_the_run_before() {
    let script = "if [ -e old ]; then sleep 100; fi
         (trap '' TERM; while :; do sleep 0.05; done) & echo $! > old; exit 1";
    let flags = ["--backoff-initial=50ms"];
    let supervisor = Supervisor::script(Way::Plain, &flags, script);
    supervisor.wait_until("restart", || supervisor.logged("command started") == 2);
    let old: u32 = supervisor.read("old").trim().parse().unwrap();
    supervisor.wait_until("end of the old process", || !exists(old));
}

#[test]
fn health_and_status_tell_the_state() {
    let flags = ["--backoff-initial=100s", "--backoff-max=100s"];
    let script = "while [ ! -e fail ]; do sleep 0.05; done; exit 9";
    let mut supervisor = Supervisor::script(Way::Plain, &flags, script);
    supervisor.wait_until("health", || supervisor.ask("health").status.success());

    std::fs::write(supervisor.path("fail"), "").unwrap();
    supervisor.wait_until("no health", || !supervisor.ask("health").status.success());
    let words = String::from_utf8(supervisor.ask("health").stderr).unwrap();
    assert!(words.contains("the command is backing-off"), "{words}");
    let status = supervisor.ask("status").stdout;
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["state"], "backing-off");
    assert_eq!(status["last_exit"]["outcome"]["code"], 9);

    supervisor.signal("TERM");
    assert_eq!(supervisor.code(), 9);
    let output = supervisor.ask("health");
    assert_eq!(output.status.code(), Some(1));
    assert!(!supervisor.path("socket").exists());
}

#[test]
fn a_socket_left_behind_is_replaced() {
    let supervisor = Supervisor::start(Way::Plain, &[], &["sleep", "100"]);
    supervisor.wait_until("health", || supervisor.ask("health").status.success());
    let socket = supervisor.path("socket");
    let flag = format!("--status-socket={}", socket.display());

    // It answers: a second supervisor runs without a socket.
    let mut second = Supervisor::start(Way::Plain, &[&flag], &["true"]);
    assert_eq!(second.code(), 0);
    assert!(second.read("log").contains("no status socket"));
    assert!(supervisor.ask("health").status.success());

    let mut killed = supervisor;
    let (command, _) = children(killed.pid())[0];
    killed.signal("KILL");
    killed.wait();
    assert!(
        Command::new("kill")
            .arg(command.to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(socket.exists());
    let third = Supervisor::start(Way::Plain, &[&flag], &["sleep", "100"]);
    third.wait_until("health", || killed.ask("health").status.success());
}

#[test]
fn mistakes_on_the_command_line() {
    for (arguments, words) in [
        (&["--grace=5", "--", "true"][..], "is not a duration"),
        (&["--gateway=nowhere", "--", "true"], "\"nowhere\""),
        (&["--restart=sometimes", "--", "true"], "on-failure"),
        (&[], "COMMAND"),
    ] {
        let output = Command::new(SUPERVISOR).args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
}
