//! Parses the output of `docker buildx --progress=rawjson`: one status a line.
//!
//! <https://docs.docker.com/reference/cli/docker/buildx/build/#progress>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    logs: Vec<Log>,
    #[serde(default)]
    statuses: Vec<Transfer>,
}

/// The progress of an operation. For a blob from outside, whose digest is its name, the unit is
/// bytes.
#[derive(Deserialize)]
struct Transfer {
    id: String,
    #[serde(default)]
    current: u64,
}

#[derive(Deserialize)]
struct Log {
    /// The step that wrote the data. The output of concurrent steps comes in pieces, which may end
    /// anywhere.
    #[serde(default)]
    vertex: String,
    /// The output, in base 64.
    data: String,
}

/// The parsed output of the engine.
#[derive(Default)]
pub(super) struct Said {
    /// The output of all steps, and of buildx itself.
    pub log: String,
    /// The digest of each blob that came from a cache, a layout or a registry, and its size in
    /// bytes.
    pub blobs: BTreeMap<String, u64>,
}

/// Parses the output of buildx. A line that is not a status belongs to an error.
pub(super) fn read(output: &[u8]) -> Said {
    let mut said = Said::default();
    let mut steps: BTreeMap<String, String> = BTreeMap::new();
    for line in String::from_utf8_lossy(output).lines() {
        let Ok(status) = serde_json::from_str::<Status>(line) else {
            said.log.push_str(line);
            said.log.push('\n');
            continue;
        };
        for piece in status.logs {
            let bytes = STANDARD.decode(piece.data).unwrap_or_default();
            let log = steps.entry(piece.vertex).or_default();
            log.push_str(&String::from_utf8_lossy(&bytes));
        }
        let blobs = status.statuses.into_iter();
        for blob in blobs.filter(|status| status.id.starts_with("sha256:")) {
            let bytes = said.blobs.entry(blob.id).or_default();
            *bytes = blob.current.max(*bytes);
        }
    }
    let mut log: String = steps.into_values().map(|log| log + "\n").collect();
    log.push_str(&said.log);
    said.log = log;
    said
}

/// Adds up the bytes of all blobs that one engine got in several calls. Each blob counts once.
pub(super) fn fetched(said: &[Said]) -> u64 {
    let blobs: BTreeMap<&String, u64> = said
        .iter()
        .flat_map(|one| one.blobs.iter().map(|(digest, bytes)| (digest, *bytes)))
        .collect();
    blobs.values().sum()
}

impl Said {
    /// Returns the packages that Cargo reports as compiled. A member counts with its own source and
    /// also as an empty placeholder.
    pub(super) fn compiled(&self) -> Vec<String> {
        let names = self.log.lines().filter_map(|line| {
            let rest = line.trim_start().strip_prefix("Compiling ")?;
            rest.split(' ').next()
        });
        names.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_counted_once() {
        let status = |id: &str, current: u64| {
            format!("{{\"statuses\":[{{\"id\":\"{id}\",\"current\":{current},\"total\":9}}]}}\n")
        };
        let one =
            status("sha256:aa", 3) + &status("sha256:aa", 7) + &status("transferring vendor:", 5);
        let other =
            status("sha256:aa", 7) + &status("sha256:bb", 2) + &status("extracting sha256:bb", 4);
        let said = [read(one.as_bytes()), read(other.as_bytes())];
        assert_eq!(fetched(&said), 9);
    }

    #[test]
    fn names_come_from_logs() {
        let line = |step: &str, text: &str| {
            let data = STANDARD.encode(text);
            format!("{{\"logs\":[{{\"vertex\":\"{step}\",\"data\":\"{data}\"}}]}}\n")
        };
        let output = format!(
            "{}{}{}ERROR: it failed\n",
            line("a", "   Compiling serde v1.0.1\n   Comp"),
            line("b", "   Compiling "),
            line("a", "iling gateway v0.1.0 (/workspace)\n")
        ) + &line("b", "supervisor v0.1.0\n");
        let said = read(output.as_bytes());
        assert_eq!(said.compiled(), ["serde", "gateway", "supervisor"]);
        assert!(said.log.ends_with("ERROR: it failed\n"), "{}", said.log);
    }
}
