//! The lines of Nix's log that the driver needs.

use crateyard_nix::log::Line;
use crateyard_nix::log::activity::COPY_PATH;
use crateyard_nix::log::result::{BUILD_LOG_LINE, POST_BUILD_LOG_LINE};

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

/// Parses a line of the log. Returns `None` for a line that nobody needs.
pub(super) fn understand(text: &str) -> Option<Said> {
    let line = Line::parse(text)?;
    let field = |index: usize| line.field(index).map(str::to_owned);
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
