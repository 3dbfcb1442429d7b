//! The chart and the manifests fit this workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap()
}

#[test]
fn versions_are_those_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("charts/crateyard/Chart.yaml");
    assert!(
        chart.contains(&format!("\nversion: {version}\n")),
        "{chart}"
    );
    assert!(
        chart.contains(&format!("\nappVersion: {version}\n")),
        "{chart}"
    );
    let manifest = read("manifests/crateyard.yaml");
    let package = format!("/static/charts/crateyard-{version}.tgz\n");
    assert!(manifest.contains(&package), "{manifest}");
}

#[test]
fn helm_accepts_the_chart() {
    let chart = deploy("charts/crateyard");
    let helm = |arguments: &[&str]| Command::new("helm").args(arguments).arg(&chart).output();
    let linted = match helm(&["lint", "--strict"]) {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: helm_accepts_the_chart: helm: {error}"),
    };
    assert!(linted.status.success(), "{linted:?}");
    for set in ["logFormat=json", "gateway.tlsSecret=gateway-tls"] {
        let output = helm(&["template", "crateyard", "--set", set]).unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.matches("\nkind: Deployment\n").count(), 2, "{text}");
    }
}
