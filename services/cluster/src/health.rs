//! `cluster health`: whether everything that belongs on this node runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use fleet::Client;
use fleet::api::{State, Supervisor};

use crate::k3s;
use crate::options::NodeOptions;
use crate::state::Node;

/// Asks k3s if the image has it, otherwise the gateway.
///
/// # Errors
/// When a part of the node is missing or not well. The error names it.
pub(crate) fn check(options: &NodeOptions) -> anyhow::Result<()> {
    match k3s::find(options)? {
        Some(k3s) => check_k3s(&k3s)?,
        None => {
            let node = Node::read(&options.node_data_dir())?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(check_node(&node))?;
        }
    }
    println!("healthy");
    Ok(())
}

async fn check_node(node: &Node) -> anyhow::Result<()> {
    let client = Client::new(&node.gateway, None)?;
    client.ready().await.context("the gateway is not ready")?;
    all_run(&node.supervisors, &client.list().await?)
}

/// Checks that each expected supervisor runs. A restarted supervisor may be listed twice until its
/// old entry expires: one running entry is enough.
fn all_run(expected: &[String], listed: &[Supervisor]) -> anyhow::Result<()> {
    let mut states = BTreeMap::<&str, Vec<State>>::new();
    for supervisor in listed {
        let name = supervisor.registration.name.as_str();
        states
            .entry(name)
            .or_default()
            .push(supervisor.report.state);
    }
    for name in expected {
        match states.get(name.as_str()) {
            Some(states) if states.contains(&State::Running) => {}
            Some(states) => bail!("{name} is {}", states[0].as_str()),
            None => bail!("{name} is not registered"),
        }
    }
    Ok(())
}

fn check_k3s(k3s: &Path) -> anyhow::Result<()> {
    let ready = ["get", "--raw", "/readyz", "--request-timeout=5s"];
    kubectl(k3s, &ready).context("the API server is not ready")?;
    let available = [
        "wait",
        "deployment",
        "--all",
        "--for=condition=Available",
        "--timeout=3s",
        "--namespace=crateyard",
    ];
    kubectl(k3s, &available).context("not all deployments are available")
}

fn kubectl(k3s: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(k3s).arg("kubectl").args(arguments).output();
    let output = output.with_context(|| format!("can't run {}", k3s.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl: {}", words.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(name: &str, state: &str) -> Supervisor {
        serde_json::from_value(serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "name": name, "version": "1", "host": "h", "program": "p", "pid": 1,
            "state": state, "child_pid": null, "restarts": 0, "last_exit": null,
            "registered_at": "2024-01-01T00:00:00Z", "seen_at": "2024-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn every_supervisor_must_run() {
        let expected = ["a".to_owned(), "b".to_owned()];
        let a = supervisor("a", "running");
        let error = |listed: &[Supervisor]| all_run(&expected, listed).unwrap_err().to_string();
        assert_eq!(error(std::slice::from_ref(&a)), "b is not registered");
        let failing = supervisor("b", "backing-off");
        assert_eq!(error(&[a.clone(), failing.clone()]), "b is backing-off");
        all_run(&expected, &[a, failing, supervisor("b", "running")]).unwrap();
    }
}
