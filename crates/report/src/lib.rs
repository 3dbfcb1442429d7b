//! Shows plans and builds to people.
//!
//! [`explain`] says of every unit of a plan what it is and why it is there; [`dot`] draws the plan
//! for Graphviz. [`page`] makes one HTML file that needs no network of either: the plan's graph
//! ([`page::of_plan`]) or a build's timeline ([`page::of_build`]).

pub mod dot;
pub mod explain;
pub mod page;
