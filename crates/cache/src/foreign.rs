//! Asks caches that only Nix can read, such as S3, with `nix path-info`.

use crateyard_nix::{NarInfo, StorePath, environment, said};
use serde_json::Value;
use std::process::Stdio;

use crate::error::{Error, Result};

/// The number of paths for one call of nix.
const BATCH: usize = 500;

/// Returns the narinfos of those paths that the cache has.
pub(crate) fn narinfos(url: &str, paths: &[&StorePath]) -> Result<Vec<NarInfo>> {
    let mut infos = Vec::new();
    for batch in paths.chunks(BATCH) {
        let mut command = environment::with_credentials("nix");
        command
            .args(["--extra-experimental-features", "nix-command"])
            .args(["path-info", "--json", "--store", url])
            .args(batch.iter().map(|path| path.to_string()))
            .stdin(Stdio::null());
        let output = command
            .output()
            .map_err(crateyard_nix::Error::start("nix"))?;
        let failed = |reason: String| Error::Unreachable {
            url: url.to_owned(),
            reason,
        };
        if !output.status.success() {
            return Err(failed(said::cause(&String::from_utf8_lossy(
                &output.stderr,
            ))));
        }
        let value: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(format!("nix path-info printed malformed JSON: {error}")))?;
        infos.extend(entries(&value).filter_map(|(path, value)| info(path, value)));
    }
    Ok(infos)
}

/// Iterates over the entries of Nix's output. Nix before 2.19 prints a list, newer versions print
/// an object by path.
fn entries(value: &Value) -> Box<dyn Iterator<Item = (&str, &Value)> + '_> {
    match value {
        Value::Array(list) => Box::new(
            list.iter()
                .filter_map(|it| Some((it["path"].as_str()?, it))),
        ),
        Value::Object(map) => Box::new(map.iter().map(|(path, it)| (path.as_str(), it))),
        _ => Box::new(std::iter::empty()),
    }
}

/// Returns the narinfo of a path, or `None` if the cache lacks it.
fn info(path: &str, value: &Value) -> Option<NarInfo> {
    let texts = |name: &str| {
        value[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    Some(NarInfo {
        path: path.parse().ok()?,
        url: value["url"].as_str().unwrap_or_default().to_owned(),
        compression: String::new(),
        file_hash: None,
        file_size: value["downloadSize"].as_u64(),
        nar_hash: value["narHash"].as_str()?.parse().ok()?,
        nar_size: value["narSize"].as_u64()?,
        references: texts("references")
            .map(|it| it.parse().ok())
            .collect::<Option<_>>()?,
        deriver: None,
        ca: value["ca"].as_str().map(str::to_owned),
        signatures: texts("signatures")
            .filter_map(|it| it.parse().ok())
            .collect(),
    })
}
