//! Licences that no expression names: the manifest names a file.

use super::documents;
use crate::workspaces::{attribute, fetch, small_with};
use crate::{checkout, nix};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;

/// A package of the workspace and a crate of crates.io have only the file of a licence. Both bills
/// of materials name it, and SPDX has its text.
pub fn of_files() -> Result<()> {
    let main = "fn main() {}";
    let workspace = small_with("own", main, "", "fuchsia-cprng = \"=0.1.1\"\n")?;
    fs::write(workspace.path().join("COPYING"), "Do what you like.\n")?;
    let version = "version = \"0.1.0\"\n";
    let license = format!("{version}license-file = \"COPYING\"\n");
    checkout::replace(workspace.path(), "Cargo.toml", version, &license)?;
    fetch(
        workspace.path(),
        &checkout::repository().join("debian.lock"),
    )?;
    let layout = nix::build(&attribute(workspace.path(), "images.own"))?;
    let read = |file: &str| -> Result<Value> {
        let bytes = fs::read(documents(&layout).join(file))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let (spdx, cyclonedx) = (read("sbom.spdx.json")?, read("sbom.cdx.json")?);
    for (name, text) in [
        ("own", "Do what you like."),
        ("fuchsia-cprng", "The Fuchsia Authors. All rights reserved."),
    ] {
        let declared = field(&spdx["packages"], name, "licenseDeclared")?;
        let id = declared.as_str().unwrap_or_default();
        ensure!(id.starts_with("LicenseRef-"), "{name}: {declared}");
        let licenses = field(&cyclonedx["components"], name, "licenses")?;
        ensure!(licenses[0]["expression"] == id, "{name}: {licenses}");
        let texts = spdx["hasExtractedLicensingInfos"].as_array();
        let found = texts.into_iter().flatten().find(|it| it["licenseId"] == id);
        let found = &found.with_context(|| format!("no text of {id}"))?["extractedText"];
        let has_text = found.as_str().is_some_and(|it| it.contains(text));
        ensure!(has_text, "{name}: {found}");
    }
    Ok(())
}

/// Returns a field of the crate with a name.
fn field<'a>(components: &'a Value, name: &str, field: &str) -> Result<&'a Value> {
    let found = components.as_array().into_iter().flatten();
    let is_known = |value: &Value| !value.is_null() && value != "NOASSERTION";
    let mut found = found.filter(|it| it["name"] == name && is_known(&it[field]));
    let component = found.next();
    Ok(&component.with_context(|| format!("no {field} of {name}"))?[field])
}
