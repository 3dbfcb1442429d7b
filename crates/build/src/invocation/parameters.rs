//! The values that people give to a CI run: the inputs of a workflow, the variables of a job.
//!
//! A provenance is public, so it must not have a secret in it. A CI system masks secrets only in
//! its log, and does not tell a job which values are secret.

use std::collections::BTreeMap;

use serde_json::Value;

/// The text in place of a value that may be a secret, as in GitLab's provenance.
pub(crate) const MASKED: &str = "[MASKED]";

/// Parts of the names of secrets, in lower case and without separators.
const SECRET_PARTS: [&str; 10] = [
    "apikey",
    "accesskey",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "private",
    "secret",
    "token",
    "webhook",
];
/// Words that are the name of a secret, or one of its words.
const SECRET_WORDS: [&str; 6] = ["auth", "key", "pass", "pat", "pin", "pwd"];

/// Variables that a shell or an image sets.
const SHELL: [&str; 13] = [
    "HOME", "HOSTNAME", "LANG", "LANGUAGE", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL",
    "TERM", "USER", "_",
];

/// Reads the inputs from the event of a GitHub workflow that a person started by hand. The event is
/// the file at `GITHUB_EVENT_PATH`. Inputs whose name suggests a secret are masked.
pub(crate) fn of_event(event: &[u8]) -> BTreeMap<String, Value> {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    let inputs = event["inputs"].as_object().cloned().unwrap_or_default();
    let masked = inputs.into_iter().map(|(name, value)| {
        let is_secret = is_secret(&name) && !value.is_null();
        let value = if is_secret { MASKED.into() } else { value };
        (name, value)
    });
    masked.collect()
}

/// Lists the variables of a GitLab job that are not predefined: those of the project, the pipeline
/// and its configuration. All values are masked, because any of them may be a secret.
pub(crate) fn of_job(names: impl IntoIterator<Item = String>) -> BTreeMap<String, Value> {
    let predefined = ["CI_", "FF_", "GITLAB_", "LC_", "RUNNER_"];
    let is_own = |name: &String| {
        let is_predefined = predefined.iter().any(|prefix| name.starts_with(prefix));
        !is_predefined && name != "CI" && !SHELL.contains(&name.as_str())
    };
    let own = names.into_iter().filter(is_own);
    own.map(|name| (name, MASKED.into())).collect()
}

fn is_secret(name: &str) -> bool {
    let words = words(name);
    let joined = words.concat();
    SECRET_PARTS.iter().any(|part| joined.contains(part))
        || words
            .iter()
            .any(|word| SECRET_WORDS.contains(&word.as_str()) || word.ends_with("key"))
}

/// Splits a name such as `deploy-key`, `DEPLOY_KEY` or `deployKey` into words in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for it in name.chars() {
        let begins_word = it.is_uppercase() && was_lower;
        if begins_word || !it.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| it.is_alphanumeric()) {
            word.extend(it.to_lowercase());
        }
        was_lower = it.is_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{is_secret, of_event, of_job};
    use serde_json::json;

    #[test]
    fn inputs_are_kept_and_secrets_are_masked() {
        let event = json!({
            "inputs": {"channel": "beta", "dry-run": "true", "Deploy_Token": "hush",
                       "apiKey": "hush", "empty_secret": null},
            "sender": {"login": "ann"},
        });
        let found = serde_json::to_value(of_event(event.to_string().as_bytes())).unwrap();
        let wanted = json!({
            "channel": "beta", "dry-run": "true", "Deploy_Token": "[MASKED]", "apiKey": "[MASKED]",
            "empty_secret": null,
        });
        assert_eq!(found, wanted);
        for event in ["", "[]", "{\"inputs\": null}", "{\"inputs\": 1}"] {
            assert!(of_event(event.as_bytes()).is_empty(), "{event}");
        }
    }

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in [
            "accessKey",
            "awsAccessKeyId",
            "accesskey",
            "deploy_key",
            "signing-key",
            "sshKey",
            "GH_PAT",
            "npm.auth",
            "DB_PWD",
            "pin",
            "webhook_url",
            "Passphrase",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "path", "channel", "dry-run", "author", "passes", "spin", "keyboard",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn variables_of_a_job_are_named_without_values() {
        let names = [
            "PATH",
            "CI",
            "CI_JOB_TOKEN",
            "FF_X",
            "GITLAB_CI",
            "CHANNEL",
            "DEPLOY_KEY",
        ];
        let found = of_job(names.map(str::to_owned));
        let found = serde_json::to_value(found).unwrap();
        assert_eq!(
            found,
            json!({"CHANNEL": "[MASKED]", "DEPLOY_KEY": "[MASKED]"})
        );
    }
}
