//! Tells by an object's status whether its rollout has ended.

use serde_json::Value;

/// Whether all pods of an object have its last version and are available. This only saves requests:
/// if it returns false, the command asks `kubectl rollout status`.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/>
pub(super) fn is_settled(object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    // A server leaves out numbers that are 0.
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let are = |wanted: &Value, names: &[&str]| {
        names
            .iter()
            .all(|name| number(&status[*name]) == number(wanted))
    };
    let generation = object["metadata"]["generation"].as_u64();
    if generation.is_none() || status["observedGeneration"].as_u64() < generation {
        return false;
    }
    match object["kind"].as_str() {
        Some("Deployment") => are(
            &spec["replicas"],
            &["replicas", "updatedReplicas", "availableReplicas"],
        ),
        Some("StatefulSet") => {
            let is_last = status["currentRevision"] == status["updateRevision"];
            is_last && are(&spec["replicas"], &["replicas", "readyReplicas"])
        }
        Some("DaemonSet") => are(
            &status["desiredNumberScheduled"],
            &["updatedNumberScheduled", "numberAvailable"],
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_that_are_old_or_missing_are_waited_for() {
        let deployment = |observed: u64, updated: u64, available: u64| {
            json!({
                "kind": "Deployment", "metadata": { "generation": 2 }, "spec": { "replicas": 2 },
                "status": {
                    "observedGeneration": observed, "replicas": 2,
                    "updatedReplicas": updated, "availableReplicas": available,
                },
            })
        };
        assert!(is_settled(&deployment(2, 2, 2)));
        assert!(!is_settled(&deployment(1, 2, 2)));
        assert!(!is_settled(&deployment(2, 1, 2)));
        assert!(!is_settled(&deployment(2, 2, 1)));
        assert!(!is_settled(&json!({ "kind": "Deployment" })));
    }
}
