//! The dependencies that bills of materials state, in SPDX and in CycloneDX.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A component as people know it, whatever a document calls it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// The name and version, with a space between.
    name: String,
    /// The package URL.
    purl: String,
}

/// A component and another that it depends on or holds.
pub type Edge = (Node, Node);

/// Returns the edges of the two documents in a directory, SPDX's first.
pub fn of_both(directory: &Path) -> Result<[BTreeSet<Edge>; 2]> {
    let read = |file: &str| -> Result<Value> {
        let bytes = fs::read(directory.join(file))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let both = [
        of_spdx(&read("sbom.spdx.json")?)?,
        of_cyclonedx(&read("sbom.cdx.json")?)?,
    ];
    ensure!(both[0].len() > 10, "only {} edges", both[0].len());
    Ok(both)
}

/// Returns the edges between different crates, as `NAME VERSION uses NAME VERSION`. A program also
/// depends on the library of its own package.
pub fn between_crates(edges: &BTreeSet<Edge>) -> BTreeSet<String> {
    // The C libraries of a crate have its address, but not its name.
    let is_crate = |node: &Node| {
        let name = node.name.split(' ').next().unwrap_or_default();
        node.purl.starts_with(&format!("pkg:cargo/{name}@"))
    };
    let edges = edges.iter();
    edges
        .filter(|(user, used)| is_crate(user) && is_crate(used) && user.name != used.name)
        .map(|(user, used)| format!("{} uses {}", user.name, used.name))
        .collect()
}

/// Returns all edges as texts.
pub fn said(edges: &BTreeSet<Edge>) -> BTreeSet<String> {
    let node = |node: &Node| format!("{} ({})", node.name, node.purl);
    let edges = edges.iter();
    edges
        .map(|(user, used)| format!("{} uses {}", node(user), node(used)))
        .collect()
}

/// SPDX has several relations where CycloneDX has one. The image is described by the document, and
/// tools that built something are in CycloneDX's formulation.
fn of_spdx(sbom: &Value) -> Result<BTreeSet<Edge>> {
    let mut nodes = BTreeMap::new();
    for package in array(sbom, "packages")? {
        let references = package["externalRefs"].as_array().into_iter().flatten();
        let mut purls = references.filter(|it| it["referenceType"] == "purl");
        let purl = purls.next().map_or("", |it| text(it, "referenceLocator"));
        nodes.insert(text(package, "SPDXID"), node(package, "versionInfo", purl));
    }
    let mut edges = BTreeSet::new();
    for relation in array(sbom, "relationships")? {
        let kind = text(relation, "relationshipType");
        if ["DESCRIBES", "DESCRIBED_BY", "BUILD_TOOL_OF"].contains(&kind) {
            continue;
        }
        let end = |field: &str| {
            let id = text(relation, field);
            let node = nodes.get(id).cloned();
            node.with_context(|| format!("SPDX: {kind} names {id:?}, which is no package"))
        };
        edges.insert((end("spdxElementId")?, end("relatedSpdxElement")?));
    }
    Ok(edges)
}

fn of_cyclonedx(sbom: &Value) -> Result<BTreeSet<Edge>> {
    let components = array(sbom, "components")?.iter();
    let components = components.chain([&sbom["metadata"]["component"]]);
    let nodes: BTreeMap<&str, Node> = components
        .map(|it| (text(it, "bom-ref"), node(it, "version", text(it, "purl"))))
        .collect();
    let named = |id: &str| {
        let node = nodes.get(id).cloned();
        node.with_context(|| format!("CycloneDX: {id:?} is no component"))
    };
    let mut edges = BTreeSet::new();
    for entry in array(sbom, "dependencies")? {
        for used in entry["dependsOn"].as_array().into_iter().flatten() {
            let used = named(used.as_str().unwrap_or_default())?;
            edges.insert((named(text(entry, "ref"))?, used));
        }
    }
    Ok(edges)
}

fn node(component: &Value, version: &str, purl: &str) -> Node {
    Node {
        name: format!("{} {}", text(component, "name"), text(component, version)),
        purl: purl.to_owned(),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn array<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field]
        .as_array()
        .with_context(|| format!("no {field}"))
}
