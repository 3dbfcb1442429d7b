//! Compares, applies and rolls back objects of a cluster, and waits for their rollouts.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use crateyard_deploy::cluster::{
    Change, Key, Restored, Step, expect_once, in_order, list, plan, rollback, with_kept,
    with_record,
};
use crateyard_terminal::{clean, clean_log, count};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::files;
use super::jobs;
use super::kubectl::{ClusterArgs, Kubectl, is_conflict, is_immutable};

/// The number of digits of the hash that names a deployment.
const DIGITS: usize = 16;

/// Compares manifests with the objects of a cluster. With `recreate`, jobs that the server refuses
/// to change are to be created anew.
///
/// # Errors
/// When the cluster can't be reached, or refuses a manifest.
pub fn compare(kubectl: &Kubectl, manifests: &[String], recreate: bool) -> Result<Vec<Step>> {
    let wanted = in_order(read(kubectl, manifests)?);
    if let Some(unnamed) = wanted.iter().find(|object| Key::of(object).is_none()) {
        bail!(
            "an object of kind {} has no name, so its running copy can't be found\n  try: \
             metadata.name",
            clean(&unnamed["kind"].to_string())
        );
    }
    expect_once(&wanted).map_err(cleaned)?;
    let live = kubectl.live(&list(&wanted))?;
    let new: BTreeSet<String> = wanted
        .iter()
        .filter(|object| live_of(object, &live).is_none())
        .filter_map(Key::of)
        .filter(Key::is_namespace)
        .map(|key| key.name)
        .collect();
    // The server can judge no object in a namespace that this run creates.
    let can_judge = |object: &&Value| {
        let space = object["metadata"]["namespace"].as_str();
        space.is_none_or(|space| !new.contains(space))
    };
    let asked = wanted.iter().filter(can_judge).map(|object| {
        let object = object.clone();
        match live_of(&object, &live) {
            Some(live) => with_kept(object, live),
            None => object,
        }
    });
    let (would, recreated) = would(kubectl, &asked.collect::<Vec<_>>(), &live, recreate)?;
    plan(wanted, &live, &would, &recreated).map_err(cleaned)
}

fn cleaned(error: String) -> anyhow::Error {
    anyhow!(clean_log(&error).into_owned())
}

/// Returns the cluster's copy of an object.
fn live_of<'a>(object: &Value, live: &'a [Value]) -> Option<&'a Value> {
    let key = Key::of(object)?;
    live.iter().find(|one| Key::of(one).as_ref() == Some(&key))
}

/// Returns the objects as the cluster would have them, and the jobs that it refuses to change.
///
/// # Errors
/// When the cluster refuses an object, unless it is a finished job and `recreate` is true.
fn would(
    kubectl: &Kubectl,
    asked: &[Value],
    live: &[Value],
    recreate: bool,
) -> Result<(Vec<Value>, BTreeSet<Key>)> {
    if asked.is_empty() {
        return Ok(Default::default());
    }
    let error = match kubectl.would(&list(asked)) {
        Ok(would) => return Ok((would, BTreeSet::new())),
        Err(error) if is_immutable(&error) => error,
        Err(error) => return Err(with_conflicts(error)),
    };
    let refused = jobs::refused(kubectl, asked);
    let Some((first, _)) = refused.first_key_value() else {
        return Err(error.context(
            "the server allows no change of a field\n  \
             try: undo the change, or delete the object by kubectl and deploy again",
        ));
    };
    if !recreate {
        bail!(
            "no server changes the template of a job, and that of {} would be another\n  try: \
             --recreate-jobs, which deletes the job with its pods and creates it again",
            clean(&first.to_string())
        );
    }
    for (key, job) in &refused {
        jobs::expect_replaceable(kubectl, key, job, live_of(job, live))?;
    }
    let others: Vec<&Value> = asked
        .iter()
        .filter(|object| Key::of(object).is_none_or(|key| !refused.contains_key(&key)))
        .collect();
    let would = match others.is_empty() {
        true => Vec::new(),
        false => kubectl.would(&list(others)).map_err(with_conflicts)?,
    };
    Ok((would, refused.into_keys().collect()))
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
    match is_conflict(&error) {
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
    for step in changed.iter().filter(|step| step.recreate) {
        kubectl.delete(&step.key)?;
    }
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

/// Lists the reasons why an object's pods do not run.
fn pods(kubectl: &Kubectl, step: &Step) -> Option<String> {
    let labels = step.wanted["spec"]["selector"]["matchLabels"].as_object()?;
    let labels = labels
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    let selector = format!("--selector={}", labels.collect::<Vec<_>>().join(","));
    let namespace = format!("--namespace={}", step.key.namespace);
    let arguments = ["get", "pods", &selector, &namespace, "-o", "json"];
    let pods = crateyard_deploy::cluster::objects(&kubectl.run(&arguments, "").ok()?).ok()?;
    let mut said: Vec<String> = pods.iter().flat_map(reasons_of).collect();
    said.sort();
    said.dedup();
    said.truncate(5);
    (!said.is_empty()).then(|| format!(":\n  {}", said.join("\n  ")))
}

/// Returns the reasons why a pod does not run: those of its containers, or why no node takes it.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>
fn reasons_of(pod: &Value) -> Vec<String> {
    let name = &pod["metadata"]["name"];
    let each = |list: &str| pod["status"][list].as_array().cloned().unwrap_or_default();
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(each);
    let waiting = containers.filter_map(|status| {
        let waiting = &status["state"]["waiting"];
        // The other containers wait for an init container, which has the reason.
        let reason = waiting["reason"]
            .as_str()
            .filter(|reason| *reason != "PodInitializing")?;
        let message = waiting["message"].as_str().unwrap_or_default();
        Some(format!("{} of {name}: {reason} {message}", status["name"]))
    });
    let unplaced = each("conditions").into_iter().filter_map(|condition| {
        let is_it = condition["type"] == "PodScheduled" && condition["status"] == "False";
        let message = condition["message"].as_str().unwrap_or_default();
        is_it.then(|| {
            format!(
                "{name}: {} {message}",
                condition["reason"].as_str().unwrap_or_default()
            )
        })
    });
    let said = waiting.chain(unplaced);
    said.map(|line| clean(line.trim()).into_owned()).collect()
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
pub fn back(kubectl: &Kubectl, manifests: &[String], recreate: bool) -> Result<Option<Back>> {
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
    let (would, recreated) = would(kubectl, &previous, &live, recreate)?;
    let live: Vec<Value> = kept.iter().map(|one| one.live.clone()).collect();
    let previous = kept.into_iter().filter_map(|one| one.previous).collect();
    Ok(Some(Back {
        steps: plan(previous, &live, &would, &recreated).map_err(cleaned)?,
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
