//! The real program, as a test sees it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// A gateway on a free port of the loopback device; killed when dropped.
pub(crate) struct Gateway {
    process: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Gateway {
    /// Starts it and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(GATEWAY)
            .args(["--listen=127.0.0.1:0", "--log-format=json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut logs = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = logs.next().expect("gateway ended early").unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "gateway listens" {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        // The rest is read too: a full pipe would stop the gateway.
        std::thread::spawn(move || {
            logs.map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"));
        });
        Gateway { process, address }
    }

    /// Where to ask, without TLS.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end, at most ten seconds.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "gateway does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `gateway health` says about it.
    pub(crate) fn health(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(GATEWAY);
        command.arg("health").env("GATEWAY_LISTEN", &self.address);
        command.args(arguments).output().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
