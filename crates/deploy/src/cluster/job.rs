//! Jobs. No server changes the template of one, so a changed job is deleted and created again.

use serde_json::Value;

/// The number of characters that a long name keeps in [`under_free_name`]. A job's name has up to
/// 63 characters.
const KEPT: usize = 50;
/// The labels of a job's pods that have the job's name.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/>
const LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Whether a job has ended, successfully or not. A job without active pods may be suspended, be
/// new, or wait before it tries again, so only its conditions count.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/#JobStatus>
pub fn is_finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        let is_end = condition["type"] == "Complete" || condition["type"] == "Failed";
        is_end && condition["status"] == "True"
    })
}

/// Returns a job with a name that no other has, `NAME-anew`, so that the server checks it as a new
/// object.
pub fn under_free_name(mut job: Value) -> Value {
    let Some(name) = job["metadata"]["name"].as_str().map(str::to_owned) else {
        return job;
    };
    let kept: String = name.chars().take(KEPT).collect();
    let free = format!("{}-anew", kept.trim_end_matches(['-', '.']));
    for labels in [
        "/spec/template/metadata/labels",
        "/spec/selector/matchLabels",
    ] {
        for label in LABELS {
            let label = job.pointer_mut(labels).and_then(|all| all.get_mut(label));
            if let Some(label) = label.filter(|label| **label == *name) {
                *label = free.as_str().into();
            }
        }
    }
    job["metadata"]["name"] = free.into();
    job
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_condition_ends_a_job() {
        let job = |kind: &str, status: &str| {
            json!({ "status":
                { "conditions": [{ "type": kind, "status": status }] } })
        };
        assert!(is_finished(&job("Complete", "True")));
        assert!(is_finished(&job("Failed", "True")));
        assert!(!is_finished(&job("Failed", "False")));
        assert!(!is_finished(&job("Suspended", "True")));
        assert!(!is_finished(&job("FailureTarget", "True")));
        assert!(!is_finished(
            &json!({ "status": { "active": 0, "failed": 1 } })
        ));
        assert!(!is_finished(&json!({})));
    }

    #[test]
    fn a_free_name_is_valid_and_labels_of_the_name_follow_it() {
        let named = |name: &str| {
            json!({ "metadata": { "name": name }, "spec": { "template": { "metadata": {
                "labels": { "job-name": name, "app": name },
            } } } })
        };
        let renamed = under_free_name(named("migrate"));
        assert_eq!(renamed["metadata"]["name"], "migrate-anew");
        let labels = &renamed["spec"]["template"]["metadata"]["labels"];
        assert_eq!(
            labels,
            &json!({ "job-name": "migrate-anew", "app": "migrate" })
        );
        assert!(renamed["spec"]["selector"].is_null());
        let long = format!("{}.{}", "a".repeat(49), "b".repeat(13));
        let renamed = under_free_name(named(&long));
        let wanted = format!("{}-anew", "a".repeat(49));
        assert_eq!(renamed["metadata"]["name"], wanted);
    }
}
