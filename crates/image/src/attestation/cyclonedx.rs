//! The bill of materials as a [CycloneDX](https://cyclonedx.org/docs/1.6/json/) document, version
//! 1.6.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_text::time;
use serde_json::{Map, Value, json};

use super::bom::{Bom, Component, IMAGE, Kind, Party, Relation};
use crateyard_oci::Digest;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// Writes a bill of materials as a document.
pub(super) fn document(bom: &Bom) -> Value {
    let image = &bom.components[IMAGE];
    let others = || bom.components.iter().filter(|(key, _)| *key != IMAGE);
    let is_tool = |it: &Component| it.kind == Kind::BuildTool;
    let parts = others().filter(|(_, it)| !is_tool(it));
    let tools: Vec<Value> = others()
        .filter(|(_, it)| is_tool(it))
        .map(|(key, it)| component(key, it))
        .collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&bom.digest)),
        "version": 1,
        "metadata": {
            // The time is always the same, so that the bytes are, too.
            "timestamp": time::rfc3339(0),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{
                "type": "application", "name": "crateyard", "version": env!("CARGO_PKG_VERSION"),
            }]},
            "component": component(IMAGE, image),
        },
        "components": parts.map(|(key, it)| component(key, it)).collect::<Vec<_>>(),
        "dependencies": dependencies(bom),
    });
    if let Some(supplier) = organization(&image.supplier) {
        document["metadata"]["supplier"] = supplier.clone();
        document["metadata"]["manufacturer"] = supplier;
    }
    if !tools.is_empty() {
        document["formulation"] = json!([{"bom-ref": "build", "components": tools}]);
    }
    document
}

fn component(key: &str, component: &Component) -> Value {
    let kind = match component.kind {
        Kind::Container => "container",
        Kind::Application | Kind::BuildTool => "application",
        Kind::Library => "library",
        Kind::File => "file",
    };
    let mut value = Map::new();
    let mut put = |name: &str, content: Option<Value>| {
        value.extend(content.map(|content| (name.to_owned(), content)));
    };
    put("type", Some(kind.into()));
    put("bom-ref", Some(key.into()));
    put("name", Some(component.name.as_str().into()));
    put("version", Some(component.version.as_str().into()));
    put("supplier", organization(&component.supplier));
    put(
        "authors",
        list(component.authors.iter().map(contact).collect()),
    );
    put("description", component.comment.as_deref().map(Value::from));
    put("hashes", list(hashes(component)));
    let license = component.license.as_deref();
    put(
        "licenses",
        license.map(|it| json!([{"expression": it, "acknowledgement": "declared"}])),
    );
    put("purl", component.purl.as_deref().map(Value::from));
    put("swhid", component.swhid.as_deref().map(|id| json!([id])));
    put("externalReferences", list(references(component)));
    put("properties", list(properties(component)));
    Value::Object(value)
}

fn hashes(component: &Component) -> Vec<Value> {
    let hash = |number: &str, hex: &str| json!({"alg": format!("SHA-{number}"), "content": hex});
    let sha256 = component.sha256.iter().map(|hex| hash("256", hex));
    let integrity = component.integrity.iter();
    let integrity = integrity.map(|it| hash(it.number(), &it.hex));
    sha256.chain(integrity).collect()
}

fn references(component: &Component) -> Vec<Value> {
    let website = component
        .homepage
        .iter()
        .map(|url| json!({"type": "website", "url": url}));
    let bom = component.sbom.iter().map(|(address, digest)| {
        let hashes = json!([{"alg": "SHA-256", "content": digest.hex()}]);
        json!({"type": "bom", "url": address, "hashes": hashes})
    });
    let download = component
        .download
        .iter()
        .map(|url| json!({"type": "distribution", "url": url}));
    website.chain(bom).chain(download).collect()
}

fn properties(component: &Component) -> Vec<Value> {
    let path = ("crateyard:path", component.path.as_deref());
    let source = ("crateyard:source", component.source.as_deref());
    let property =
        |(name, value): (&str, Option<&str>)| Some(json!({"name": name, "value": value?}));
    [path, source].into_iter().filter_map(property).collect()
}

/// Returns the dependencies. SPDX's several relations are one here, and the tools that built a
/// program are in the formulation.
fn dependencies(bom: &Bom) -> Value {
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let is_part = |key: &str| bom.components[key].kind != Kind::BuildTool;
    for key in bom.components.keys().filter(|key| is_part(key)) {
        needs.entry(key).or_default();
    }
    let relations = bom
        .relations
        .iter()
        .filter(|(_, how, _)| *how != Relation::BuiltBy);
    for (from, _, to) in relations {
        needs.entry(from).or_default().insert(to);
    }
    let entries = needs
        .into_iter()
        .map(|(key, others)| match others.is_empty() {
            true => json!({"ref": key}),
            false => json!({"ref": key, "dependsOn": others}),
        });
    entries.collect()
}

fn organization(party: &Party) -> Option<Value> {
    if party.name.is_empty() {
        return None;
    }
    let mut value = json!({"name": party.name});
    if party.address.is_some() {
        value["contact"] = json!([contact(party)]);
    }
    Some(value)
}

fn contact(party: &Party) -> Value {
    match &party.address {
        Some(address) => json!({"name": party.name, "email": address}),
        None => json!({"name": party.name}),
    }
}

fn list(values: Vec<Value>) -> Option<Value> {
    (!values.is_empty()).then_some(Value::Array(values))
}

/// Returns a number that no other image's document has. It follows from the image's digest, so it
/// is always the same.
fn uuid(digest: &Digest) -> String {
    let hex = Digest::of(format!("cyclonedx {digest}").as_bytes())
        .hex()
        .to_owned();
    // Version 8 allows a rule of its own: RFC 9562.
    format!(
        "{}-{}-8{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}
