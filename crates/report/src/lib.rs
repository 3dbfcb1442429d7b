//! Presents plans and builds as text, graphs and pages.
//!
//! [`explain`] describes each unit of a plan and the reason why it is there. [`dot`] draws the
//! plan for Graphviz. [`page`] makes a single HTML file that needs no network: a plan's graph
//! ([`page::of_plan`]) or a build's timeline ([`page::of_build`]).
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plan: crateyard_plan::Plan = serde_json::from_str(&std::fs::read_to_string("plan.json")?)?;
//! let units = crateyard_report::explain::explain(&plan, |_derivation| None);
//! std::fs::write("plan.html", crateyard_report::page::of_plan(&units))?;
//! # Ok(()) }
//! ```

pub mod dot;
pub mod explain;
pub mod page;
