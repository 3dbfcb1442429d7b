//! What `docker buildx --progress=rawjson` writes: one status a line.
//!
//! <https://docs.docker.com/reference/cli/docker/buildx/build/#progress>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Log {
    /// In base 64.
    data: String,
}

/// What the engine said.
pub struct Said {
    /// What all steps wrote, and what buildx itself did.
    pub log: String,
}

/// Reads the output of buildx. What is no status is the text of an error.
pub fn read(output: &[u8]) -> Said {
    let mut log = String::new();
    for line in String::from_utf8_lossy(output).lines() {
        let Ok(status) = serde_json::from_str::<Status>(line) else {
            log.push_str(line);
            log.push('\n');
            continue;
        };
        for piece in status.logs {
            let bytes = STANDARD.decode(piece.data).unwrap_or_default();
            log.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    Said { log }
}

impl Said {
    /// The packages that Cargo said it compiles. A member counts where its source was there, and where it was empty.
    pub fn compiled(&self) -> Vec<String> {
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
    fn names_come_from_logs() {
        let line = |text: &str| {
            format!(
                "{{\"logs\":[{{\"data\":\"{}\"}}]}}\n",
                STANDARD.encode(text)
            )
        };
        let output = format!(
            "{}{}ERROR: it failed\n",
            line("   Compiling serde v1.0.1\n   Comp"),
            line("iling gateway v0.1.0 (/workspace)\n")
        );
        let said = read(output.as_bytes());
        assert_eq!(said.compiled(), ["serde", "gateway"]);
        assert!(said.log.ends_with("ERROR: it failed\n"), "{}", said.log);
    }
}
