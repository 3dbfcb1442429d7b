//! Jobs that the server refuses to change, and that are to be created anew.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use crateyard_deploy::cluster::{Key, is_finished, list, under_free_name};
use crateyard_terminal::clean;
use serde_json::Value;

use super::kubectl::{Kubectl, is_immutable};

/// Finds the jobs that the server refuses to change.
pub fn refused<'a>(kubectl: &Kubectl, asked: &'a [Value]) -> BTreeMap<Key, &'a Value> {
    let jobs = asked.iter().filter_map(|object| {
        let key = Key::of(object).filter(Key::is_job)?;
        Some((key, object))
    });
    let is_refused = |job: &Value| {
        let answer = kubectl.would(&list([job]));
        answer.is_err_and(|error| is_immutable(&error))
    };
    jobs.filter(|(_, job)| is_refused(job)).collect()
}

/// Checks that a job has ended, and that the server accepts the one that replaces it.
///
/// # Errors
/// When the job has not ended, or the server would not create the other.
pub fn expect_replaceable(
    kubectl: &Kubectl,
    key: &Key,
    wanted: &Value,
    live: Option<&Value>,
) -> Result<()> {
    let name = clean(&key.to_string()).into_owned();
    ensure!(
        live.is_some_and(is_finished),
        "{name} has not finished, so it is not created anew\n  try: wait for its end, or delete it \
         by kubectl"
    );
    let anew = under_free_name(wanted.clone());
    kubectl.would(&list([&anew])).with_context(|| {
        format!(
            "{name} stays as it is, because the server refuses the job that would replace it. It \
             was asked about {}",
            clean(&anew["metadata"]["name"].to_string())
        )
    })?;
    Ok(())
}
