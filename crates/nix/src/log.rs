//! The log of Nix: JSON lines (`--log-format internal-json`).

use serde::Deserialize;

/// The beginning of a line of the log that is JSON.
pub const PREFIX: &str = "@nix ";

/// A line of the log. [`activity`] and [`result`] have numbers for its kind.
#[derive(Debug, Deserialize)]
pub struct Line {
    /// `start`, `stop`, `result` or `msg`.
    pub action: String,
    /// Nix's number for the activity.
    #[serde(default)]
    pub id: u64,
    /// The level of a message, 0 for errors.
    #[serde(default)]
    pub level: u64,
    /// The kind of the activity or result.
    #[serde(default, rename = "type")]
    pub kind: u64,
    #[serde(default)]
    fields: Vec<serde_json::Value>,
    /// A message for people.
    #[serde(default)]
    pub msg: String,
}

/// Nix's numbers for activities (`ActivityType`).
///
/// <https://github.com/NixOS/nix/blob/2.34.0/src/libutil/include/nix/util/logging.hh>
pub mod activity {
    /// Nix copies a store path; the fields are the path and its source.
    pub const COPY_PATH: u64 = 100;
}

/// Nix's numbers for results (`ResultType` in the same file).
pub mod result {
    /// A line of a builder's output.
    pub const BUILD_LOG_LINE: u64 = 101;
    /// A line of the post-build hook's output.
    pub const POST_BUILD_LOG_LINE: u64 = 107;
}

impl Line {
    /// Parses a line of the log. Returns `None` for one that is not JSON or has another form.
    ///
    /// ```
    /// use crateyard_nix::log::{Line, activity};
    ///
    /// let line = r#"@nix {"action":"start","id":1,"type":100,"fields":["/nix/store/aaa-x"]}"#;
    /// let line = Line::parse(line).expect("a line of the log");
    /// assert_eq!(line.kind, activity::COPY_PATH);
    /// assert_eq!(line.field(0), Some("/nix/store/aaa-x"));
    /// ```
    pub fn parse(text: &str) -> Option<Line> {
        serde_json::from_str(text.strip_prefix(PREFIX)?).ok()
    }

    /// Returns a field that is text.
    pub fn field(&self, index: usize) -> Option<&str> {
        self.fields.get(index)?.as_str()
    }
}
