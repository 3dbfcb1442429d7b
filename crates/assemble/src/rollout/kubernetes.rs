//! Compares, applies and rolls back objects of a cluster, and waits for their rollouts.

use anyhow::{Context, Result, bail};
use crateyard_deploy::cluster::{
    Change, Key, Restored, Step, list, plan, rollback, with_kept, with_record,
};
use crateyard_terminal::{clean, count};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::files;
use super::kubectl::{ClusterArgs, Kubectl};

/// The number of digits of the hash that names a deployment.
const DIGITS: usize = 16;

/// Compares manifests with the objects of a cluster.
///
/// # Errors
/// When the cluster can't be reached, or refuses a manifest.
pub fn compare(kubectl: &Kubectl, manifests: &[String]) -> Result<Vec<Step>> {
    let wanted = read(kubectl, manifests)?;
    if let Some(unnamed) = wanted.iter().find(|object| Key::of(object).is_none()) {
        bail!(
            "an object of kind {} has no name, so its running copy can't be found\n  try: \
             metadata.name",
            clean(&unnamed["kind"].to_string())
        );
    }
    let live = kubectl.live(&list(&wanted))?;
    let there: Vec<Value> = wanted
        .iter()
        .filter_map(|object| {
            let key = Key::of(object)?;
            let live = live
                .iter()
                .find(|one| Key::of(one).as_ref() == Some(&key))?;
            Some(with_kept(object.clone(), live))
        })
        .collect();
    let would = match there.is_empty() {
        true => Vec::new(),
        false => kubectl.would(&list(&there)).map_err(with_conflicts)?,
    };
    Ok(plan(wanted, &live, &would))
}

/// Reads all YAML texts as one stream and each JSON text alone, because kubectl reads a stream
/// either as YAML or as JSON.
fn read(kubectl: &Kubectl, manifests: &[String]) -> Result<Vec<Value>> {
    let (json, yaml): (Vec<&String>, Vec<&String>) = manifests
        .iter()
        .partition(|text| text.trim_start().starts_with('{'));
    let mut streams = vec![files::join(yaml.into_iter().map(String::as_str))];
    streams.extend(json.into_iter().cloned());
    let mut objects = Vec::new();
    for stream in streams.iter().filter(|stream| !stream.trim().is_empty()) {
        objects.extend(kubectl.read(stream)?);
    }
    Ok(objects)
}

fn with_conflicts(error: anyhow::Error) -> anyhow::Error {
    match error.to_string().contains("conflict") {
        true => error.context(
            "another manager owns fields that these manifests set\n  \
             try: leave them out of the manifests, or take them over by --force-conflicts",
        ),
        false => error,
    }
}

/// Applies the steps that change something, each with a record of the old object.
///
/// # Errors
/// When the cluster refuses.
pub fn apply(kubectl: &Kubectl, steps: &[Step]) -> Result<()> {
    let changed: Vec<&Step> = steps
        .iter()
        .filter(|step| step.change != Change::None)
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let deployment = name_of(&changed);
    let objects: Vec<Value> = changed
        .iter()
        .map(|step| with_record(step.wanted.clone(), step.live.as_ref(), &deployment))
        .collect();
    kubectl.apply(&list(&objects)).map_err(with_conflicts)
}

/// Returns the name of a deployment: a hash of the objects that it applies and of those that it
/// replaces.
fn name_of(changed: &[&Step]) -> String {
    let mut hash = Sha256::new();
    for step in changed {
        for value in [Some(&step.wanted), step.live.as_ref()]
            .into_iter()
            .flatten()
        {
            hash.update(value.to_string());
        }
    }
    let mut name = format!("{:x}", hash.finalize());
    name.truncate(DIGITS);
    name
}

/// Waits until all objects are rolled out, including those that an earlier run has left unfinished.
///
/// # Errors
/// When a rollout fails or takes too long. The error tells why its pods wait.
pub fn wait(kubectl: &Kubectl, args: &ClusterArgs, steps: &[Step]) -> Result<()> {
    let rolling = steps.iter().filter(|step| step.rolls_out());
    let timeout = format!("--timeout={}", args.timeout);
    for step in rolling {
        let key = &step.key;
        crateyard_terminal::say("waiting", &format!("for {key}"));
        let namespace = format!("--namespace={}", key.namespace);
        let resource = key.resource();
        let arguments = ["rollout", "status", &resource, &namespace, &timeout];
        kubectl.run(&arguments, "").with_context(|| {
            format!(
                "{key} is not rolled out{}\n  try: kubectl describe {resource} {namespace}, or \
                 restore what ran before: assemble deploy --rollback",
                pods(kubectl, step).unwrap_or_default()
            )
        })?;
    }
    Ok(())
}

/// Lists the reasons why the containers of an object's pods wait.
fn pods(kubectl: &Kubectl, step: &Step) -> Option<String> {
    let labels = step.wanted["spec"]["selector"]["matchLabels"].as_object()?;
    let labels = labels
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    let selector = format!("--selector={}", labels.collect::<Vec<_>>().join(","));
    let namespace = format!("--namespace={}", step.key.namespace);
    let arguments = ["get", "pods", &selector, &namespace, "-o", "json"];
    let pods = crateyard_deploy::cluster::objects(&kubectl.run(&arguments, "").ok()?).ok()?;
    let mut said: Vec<String> = Vec::new();
    for pod in &pods {
        let statuses = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten();
        for status in statuses {
            let waiting = &status["state"]["waiting"];
            if let Some(reason) = waiting["reason"].as_str() {
                let message = waiting["message"].as_str().unwrap_or_default();
                let line = format!(
                    "{} of {}: {reason} {message}",
                    status["name"], pod["metadata"]["name"]
                );
                said.push(clean(line.trim()).into_owned());
            }
        }
    }
    said.sort();
    said.dedup();
    said.truncate(5);
    (!said.is_empty()).then(|| format!(":\n  {}", said.join("\n  ")))
}

/// The plan of a rollback.
pub struct Back {
    /// The steps that restore objects.
    pub steps: Vec<Step>,
    /// Objects that stay as they are, because there is no record of them.
    pub staying: Vec<Key>,
}

/// Finds the last deployment of the manifests' objects, and their state before it. Returns `None`
/// if there was no deployment.
///
/// # Errors
/// When the cluster can't be reached.
pub fn back(kubectl: &Kubectl, manifests: &[String]) -> Result<Option<Back>> {
    let wanted = read(kubectl, manifests)?;
    let live = kubectl.live(&list(&wanted))?;
    let of_last = rollback(&live);
    if of_last.is_empty() {
        return Ok(None);
    }
    let (kept, staying): (Vec<Restored>, Vec<Restored>) =
        of_last.into_iter().partition(|one| one.previous.is_some());
    let previous: Vec<Value> = kept
        .iter()
        .filter_map(|one| Some(with_kept(one.previous.clone()?, &one.live)))
        .collect();
    let would = match previous.is_empty() {
        true => Vec::new(),
        false => kubectl.would(&list(&previous)).map_err(with_conflicts)?,
    };
    let live: Vec<Value> = kept.iter().map(|one| one.live.clone()).collect();
    let previous = kept.into_iter().filter_map(|one| one.previous).collect();
    Ok(Some(Back {
        steps: plan(previous, &live, &would),
        staying: staying.into_iter().map(|one| one.key).collect(),
    }))
}

/// Formats the message about objects that stay as they are.
pub fn describe_staying(staying: &[Key]) -> String {
    match staying {
        [] => String::new(),
        keys => {
            let names: Vec<String> = keys
                .iter()
                .map(|key| clean(&key.to_string()).into_owned())
                .collect();
            format!(
                "{} of that deployment stay as they are, because they are new, secret or too \
                 large to keep: \
                 {}\n",
                count(keys.len(), "object"),
                names.join(", ")
            )
        }
    }
}
