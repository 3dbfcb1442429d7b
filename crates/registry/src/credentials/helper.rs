//! Credential helpers: programs that keep secrets for docker.
//!
//! See [their protocol](https://github.com/docker/docker-credential-helpers).

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crateyard_oci::Reference;
use serde::Deserialize;

use super::{Complaint, Credentials};
use crate::client::Environment;

/// The answer of a credential helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The answers of helpers. Each helper is asked once for a registry, for all its repositories.
#[derive(Default)]
pub(crate) struct Helpers {
    answers: BTreeMap<(String, String), Answer>,
}

/// Credentials, none, or why the helper failed.
pub(crate) type Answer = Result<Option<Credentials>, Complaint>;

impl Helpers {
    /// Asks `docker-credential-NAME` for the registry of `target`.
    pub(crate) fn ask(
        &mut self,
        name: &str,
        environment: &Environment,
        target: &Reference,
    ) -> Answer {
        let server = match target.registry() {
            "docker.io" => "https://index.docker.io/v1/",
            registry => registry,
        };
        let key = (name.to_owned(), server.to_owned());
        let answer = self.answers.entry(key);
        answer
            .or_insert_with(|| ask(name, environment, server))
            .clone()
    }
}

fn ask(name: &str, environment: &Environment, server: &str) -> Answer {
    let program = format!("docker-credential-{name}");
    let failed = |reason: String, remedy: &str| Complaint {
        place: program.clone(),
        reason,
        remedy: format!("{remedy}, or take {name:?} out of docker's config.json"),
    };
    let repair = format!("run `echo {server} | {program} get` to see what it needs");
    let output = match run(&program, environment, server) {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let reason = "this credential helper is not installed".to_owned();
            return Err(failed(reason, &format!("install {program}")));
        }
        Err(error) => return Err(failed(error.to_string(), &repair)),
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let reason = format!("{}: {said} {complaint}", output.status);
        return Err(failed(reason, &repair));
    }
    let reply: Reply = serde_json::from_str(&said)
        .map_err(|error| failed(format!("bad answer: {error}"), &repair))?;
    Ok(match (reply.username.as_str(), reply.secret.as_str()) {
        ("", "") => None,
        ("<token>", _) => Some(Credentials::IdentityToken(reply.secret)),
        _ => Some(Credentials::Password {
            username: reply.username,
            password: reply.secret,
        }),
    })
}

fn run(program: &str, environment: &Environment, server: &str) -> std::io::Result<Output> {
    let mut command = Command::new(program);
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(path) = &environment.path {
        command.env("PATH", path);
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper may answer without reading, and close its end early. Only its answer counts.
        let _ = writeln!(stdin, "{server}");
    }
    child.wait_with_output()
}
