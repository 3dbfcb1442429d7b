//! Cleans and shortens text for people, and writes points in [`time`].
//!
//! ```
//! assert_eq!(crateyard_text::clean("a\u{1b}[2J"), "a\\u{1b}[2J");
//! assert_eq!(crateyard_text::time::rfc3339(0), "1970-01-01T00:00:00Z");
//! ```
#![forbid(unsafe_code)]

mod clean;
pub mod time;

pub use clean::{clean, clean_json, clean_lines, clean_log, shortened};
