//! Text for people: cleaned and shortened ([`clean`], [`shortened`]), and points in [`time`].
#![forbid(unsafe_code)]

mod clean;
pub mod time;

pub use clean::{clean, clean_json, clean_lines, clean_log, shortened};
