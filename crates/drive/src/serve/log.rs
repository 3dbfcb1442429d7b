//! The log of Nix: JSON lines (`--log-format internal-json`).

use serde::Deserialize;

/// The beginning of a line of the log that is JSON.
pub(super) const JSON_LINE: &str = "@nix ";

/// Nix's numbers for activities and results (`ActivityType` and `ResultType` in its logging.hh).
const COPY_PATH: u64 = 100;
const BUILD_LOG_LINE: u64 = 101;
const POST_BUILD_LOG_LINE: u64 = 107;

/// The level of warnings. Messages of higher levels are only for verbose output.
const LEVEL_OF_WARNINGS: u64 = 1;

/// A message of Nix while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line of the builder's output.
    Line(String),
    /// A message of Nix itself.
    Message(String),
    /// Nix begins to copy a store path.
    Copying {
        /// Nix's number for the activity.
        id: u64,
        /// The store path.
        path: String,
        /// The source of the copy.
        from: String,
    },
    /// An activity has ended.
    Over {
        /// Nix's number for the activity.
        id: u64,
    },
}

#[derive(Deserialize)]
struct Line {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    level: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    fields: Vec<serde_json::Value>,
    #[serde(default)]
    msg: String,
}

/// Parses a line of the log. Returns `None` for a line that nobody needs.
pub(super) fn understand(text: &str) -> Option<Said> {
    let line: Line = serde_json::from_str(text.strip_prefix(JSON_LINE)?).ok()?;
    let field = |index: usize| Some(line.fields.get(index)?.as_str()?.to_owned());
    match (line.action.as_str(), line.kind) {
        ("result", BUILD_LOG_LINE | POST_BUILD_LOG_LINE) => Some(Said::Line(field(0)?)),
        ("start", COPY_PATH) => Some(Said::Copying {
            id: line.id,
            path: field(0)?,
            from: field(1)?,
        }),
        ("stop", _) => Some(Said::Over { id: line.id }),
        ("msg", _) if line.level <= LEVEL_OF_WARNINGS => Some(Said::Message(line.msg)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_keeps_its_colours() {
        let line =
            r#"@nix {"action":"result","fields":["\u001b[31merror\u001b[0m"],"id":4,"type":101}"#;
        let said = Said::Line("\u{1b}[31merror\u{1b}[0m".into());
        assert_eq!(understand(line), Some(said));
        assert_eq!(
            understand("@nix {\"action\":\"start\",\"id\":1,\"type\":104}"),
            None
        );
        assert_eq!(understand("plain"), None);
    }
}
