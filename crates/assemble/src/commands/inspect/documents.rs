//! Shows the documents about an image: its contents and its inputs.

use std::collections::BTreeMap;

use anyhow::Result;
use crateyard_attestation::provenance::{Statement, Times};
use crateyard_image::attestation::spdx;
use crateyard_terminal::{clean, count, table};
use serde::Serialize;
use serde_json::Value;

use crate::image_argument::{Opened, Selected};

/// The documents of an image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Documents {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<Made>,
}

/// A summary of the bill of materials.
#[derive(Serialize)]
struct Component {
    name: String,
    version: String,
    supplier: String,
    license: String,
}

/// A summary of the provenance.
#[derive(Serialize)]
struct Made {
    builder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    times: Option<Times>,
    /// The inputs of the workflow or the variables of the job.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, Value>,
    /// The number of inputs by role.
    inputs: BTreeMap<String, usize>,
}

impl Documents {
    /// Reads the documents of an image. The result is empty if there are none.
    pub fn read(opened: &Opened, selected: &Selected) -> Result<Documents> {
        let sbom = opened.sbom(selected)?;
        let provenance = opened.provenance(selected)?;
        let statement = provenance.and_then(|bytes| Statement::parse(&bytes).ok());
        Ok(Documents {
            components: sbom
                .iter()
                .flat_map(|it| &it.packages)
                .map(component)
                .collect(),
            made: statement.as_ref().map(made),
        })
    }

    /// Formats a line for each document.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.components.is_empty() {
            lines.push(format!(
                "bill of materials, {}",
                count(self.components.len(), "component")
            ));
        }
        if let Some(made) = &self.made {
            let inputs = made.inputs.values().sum();
            lines.push(format!(
                "provenance, {}, by {}",
                count(inputs, "input"),
                made.builder
            ));
        }
        lines
    }

    /// Formats the documents in full.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(made) = &self.made {
            let mut rows = vec![row("builder", &made.builder)];
            rows.extend(made.run.as_deref().map(|run| row("run", run)));
            rows.extend(made.commit.as_deref().map(|commit| row("commit", commit)));
            rows.extend(made.times.iter().map(|times| {
                let span = format!("{} to {}", times.started_on, times.finished_on);
                row("built", &span)
            }));
            rows.extend(made.parameters.iter().map(|(name, value)| {
                let value = value.as_str().map_or(value.to_string(), str::to_owned);
                row("asked for", &format!("{name}={value}"))
            }));
            let inputs = made.inputs.iter();
            let inputs: Vec<String> = inputs
                .map(|(role, count)| format!("{count} {role}"))
                .collect();
            rows.push(row("inputs", &inputs.join(", ")));
            text += "provenance\n";
            text += &table(&rows, "  ", &[]);
        }
        if !self.components.is_empty() {
            text += &format!("{}\n", count(self.components.len(), "component"));
            let rows = self.components.iter().map(|it| {
                let cells = [&it.name, &it.version, &it.license, &it.supplier];
                cells.map(|cell| clean(cell).into_owned()).to_vec()
            });
            text += &table(&rows.collect::<Vec<_>>(), "  ", &[]);
        }
        text
    }
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), clean(value).into_owned()]
}

fn component(package: &spdx::Package) -> Component {
    let supplier = package.supplier.as_deref().unwrap_or_default();
    let supplier = supplier.split_once(": ").map_or(supplier, |(_, name)| name);
    Component {
        name: package.name.clone(),
        version: package.version_info.clone().unwrap_or_default(),
        supplier: supplier.to_owned(),
        license: package.license_declared.clone(),
    }
}

fn made(statement: &Statement) -> Made {
    let details = &statement.predicate.run_details;
    let resources = &statement.predicate.build_definition.resolved_dependencies;
    let asked = &statement.predicate.build_definition.external_parameters;
    let parameters = asked.inputs.iter().chain(&asked.variables);
    let metadata = details.metadata.as_ref();
    let mut inputs = BTreeMap::new();
    for resource in resources {
        let role = resource
            .annotations
            .get("role")
            .cloned()
            .unwrap_or_default();
        *inputs.entry(role).or_default() += 1;
    }
    let commit = resources
        .iter()
        .find_map(|it| Some((it.digest.get("gitCommit")?, it.uri.as_ref()?)));
    Made {
        builder: details.builder.id.clone(),
        run: metadata.and_then(|it| it.invocation_id.clone()),
        times: metadata.and_then(|it| it.times.clone()),
        parameters: parameters
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        commit: commit.map(|(commit, address)| format!("{commit} of {address}")),
        inputs,
    }
}
