//! The elements that a bill of materials should have.

use super::{documents, images};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// The elements of CISA's draft of 2025 ("2025 Minimum Elements for a Software Bill of Materials"),
/// in both documents: author, timestamp, tool and generation context of the document; producer,
/// name, version, identifier, hash, licence and dependencies of each component.
pub fn are_complete() -> Result<()> {
    for (name, layout) in images()? {
        let read = |file: &str| -> Result<Value> {
            let bytes = fs::read(documents(&layout).join(file))?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        spdx_is_complete(&read("sbom.spdx.json")?).with_context(|| format!("{name}, SPDX"))?;
        cyclonedx_is_complete(&read("sbom.cdx.json")?)
            .with_context(|| format!("{name}, CycloneDX"))?;
    }
    Ok(())
}

fn spdx_is_complete(sbom: &Value) -> Result<()> {
    let packages = sbom["packages"].as_array().context("no packages")?;
    ensure!(packages.len() > 10, "only {} packages", packages.len());
    let texts = ["name", "versionInfo", "supplier", "licenseDeclared"];
    for package in packages {
        has_all(package, &texts, &["checksums", "externalRefs"])?;
    }
    let creation = &sbom["creationInfo"];
    let creators = creation["creators"].to_string();
    ensure!(
        creators.contains("Organization: ") && creators.contains("Tool: "),
        "creators {creators}"
    );
    has_all(creation, &["created"], &[])?;
    ensure!(
        creation["comment"].to_string().contains("context: build"),
        "no generation context"
    );
    let mut related = BTreeSet::new();
    for relation in sbom["relationships"]
        .as_array()
        .context("no relationships")?
    {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            related.insert(relation[end].as_str().unwrap_or_default());
        }
    }
    for package in packages {
        let id = package["SPDXID"].as_str().unwrap_or_default();
        ensure!(related.contains(id), "{id} is related to nothing");
    }
    let of_script = |it: &&Value| {
        it["comment"]
            .to_string()
            .contains("build script of the crate")
    };
    ensure!(
        packages.iter().any(|it| of_script(&it)),
        "no library of a -sys crate"
    );
    Ok(())
}

fn cyclonedx_is_complete(sbom: &Value) -> Result<()> {
    let metadata = &sbom["metadata"];
    has_all(metadata, &["timestamp"], &["lifecycles"])?;
    ensure!(
        !metadata["manufacturer"]["name"].is_null()
            && !metadata["tools"]["components"][0]["name"].is_null(),
        "no author or no tool: {metadata}"
    );
    let components = sbom["components"].as_array().context("no components")?;
    let tools = sbom["formulation"][0]["components"]
        .as_array()
        .context("no tools")?;
    let all = components
        .iter()
        .chain(tools)
        .chain([&metadata["component"]]);
    for component in all {
        has_all(
            component,
            &["name", "version", "purl"],
            &["hashes", "licenses"],
        )?;
        ensure!(
            !component["supplier"]["name"].is_null(),
            "{}: no supplier",
            component["name"]
        );
    }
    let listed = sbom["dependencies"].as_array().context("no dependencies")?;
    let listed: BTreeSet<&str> = listed.iter().filter_map(|it| it["ref"].as_str()).collect();
    for component in components {
        let own = component["bom-ref"].as_str().unwrap_or_default();
        ensure!(listed.contains(own), "{own} has no entry in dependencies");
    }
    Ok(())
}

/// Whether a component has texts and lists, none of them empty.
fn has_all(component: &Value, texts: &[&str], lists: &[&str]) -> Result<()> {
    let has_text = |it: &&&str| {
        let text = component[**it].as_str().unwrap_or_default();
        !text.is_empty() && text != "NOASSERTION"
    };
    let has_list = |it: &&&str| component[**it].as_array().is_some_and(|it| !it.is_empty());
    let mut missing: Vec<&&str> = texts.iter().filter(|it| !has_text(it)).collect();
    missing.extend(lists.iter().filter(|it| !has_list(it)));
    // The image's labels name its own licence. Other images have their own documents.
    let is_image =
        component["primaryPackagePurpose"] == "CONTAINER" || component["type"] == "container";
    missing.retain(|it| !is_image || !["licenseDeclared", "licenses"].contains(*it));
    ensure!(
        missing.is_empty(),
        "{} lacks {missing:?}",
        component["name"]
    );
    Ok(())
}
