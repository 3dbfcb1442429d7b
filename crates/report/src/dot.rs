//! Draws a plan for Graphviz. <https://graphviz.org/doc/info/lang.html>

use crate::explain::Explained;
use std::fmt::Write;

/// Draws the graph of a plan, with an arrow from each unit to each unit that it uses. Units that
/// all programs share are filled.
pub fn graph(units: &[Explained]) -> String {
    let most = units.iter().map(|unit| unit.programs.len()).max();
    let most = most.unwrap_or(0);
    let mut text = String::from(
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\", \
         fontsize=10];\n",
    );
    for unit in units {
        let is_shared = most > 1 && unit.programs.len() == most;
        let fill = match is_shared {
            true => ", style=filled, fillcolor=\"#d7e3f4\"",
            false => "",
        };
        let label = format!("{}\n{} · {}", unit.name, unit.kind, unit.platform);
        let _ = writeln!(
            text,
            "  {} [label={}{fill}];",
            quoted(&unit.key),
            quoted(&label)
        );
    }
    for unit in units {
        for dependency in &unit.dependencies {
            let _ = writeln!(text, "  {} -> {};", quoted(&unit.key), quoted(dependency));
        }
    }
    text + "}\n"
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{explain, tests::plan};

    #[test]
    fn the_graph_has_every_unit_and_every_edge() {
        let text = graph(&explain(&plan(), |_| None));
        assert_eq!(text.matches(" -> ").count(), 3);
        assert_eq!(text.matches("[label=").count(), 4);
        assert_eq!(text.matches("filled").count(), 2);
        assert!(text.contains("\"lib\" [label=\"lib-1.0.0\\nlib · x86_64-unknown-linux-gnu\""));
    }
}
