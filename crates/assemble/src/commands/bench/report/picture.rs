//! The times as bars. The scale is logarithmic: a cold build takes minutes, an edit seconds.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Row, Verdict, show_time};
use crate::commands::bench::scenario::Scenario;
use crate::engine::Engine;

const LEFT: f64 = 250.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
const TOP: f64 = 56.0;
const WIDTH: f64 = 560.0;
/// The scale begins here, in seconds.
const SHORTEST: f64 = 0.1;

/// Light and dark, as the reader's screen is.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #59636e }
.grid { stroke: #d1d9e0 }
.nix { fill: #0a63c9 } .buildx { fill: #d1670f } .cargo { fill: #7a828a }
.fail { fill: #cf222e; font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
.nix { fill: #4c9aff } .buildx { fill: #f0923e } .cargo { fill: #9198a1 } .fail { fill: #ff7b72 }
}";

/// Draws the rows.
pub fn draw(rows: &[Row]) -> String {
    let scenarios: BTreeSet<Scenario> = rows.iter().map(|row| row.scenario).collect();
    let engines: BTreeSet<Engine> = rows.iter().map(|row| row.engine).collect();
    let group = engines.len() as f64 * BAR + GAP;
    let height = TOP + scenarios.len() as f64 * group + 28.0;
    let times = rows.iter().filter_map(|row| row.seen.as_ref());
    let longest = times
        .map(|seen| seen.wall.as_secs_f64())
        .fold(10.0, f64::max);
    let length = |seconds: f64| {
        let share = (seconds.max(SHORTEST) / SHORTEST).ln() / (longest / SHORTEST).ln();
        (share * WIDTH).max(2.0)
    };
    let total = LEFT + WIDTH + 190.0;
    // A string takes all that is written to it.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total:.0} {height:.0}\" width=\"{total:.0}\" height=\"{height:.0}\" \
         role=\"img\" aria-label=\"Time to build all images after a change\">\n<style>\n{STYLE}\n</style>\n\
         <text class=\"title\" x=\"12\" y=\"22\">Time to build all images after a change</text>\n"
    );
    let mut at = LEFT;
    for engine in &engines {
        let name = engine.name();
        let _ = writeln!(
            svg,
            "<rect class=\"{name}\" x=\"{at:.0}\" y=\"32\" width=\"11\" height=\"11\" rx=\"2\"/><text class=\"small\" x=\"{:.0}\" y=\"42\">{name}</text>",
            at + 16.0
        );
        at += 70.0;
    }
    for seconds in [1.0, 10.0, 60.0, 600.0, 3600.0] {
        if seconds > longest {
            break;
        }
        let x = LEFT + length(seconds);
        let label = match seconds {
            seconds if seconds >= 60.0 => format!("{:.0} min", seconds / 60.0),
            seconds => format!("{seconds:.0} s"),
        };
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.0}\"/><text class=\"small\" x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
            height - 24.0,
            height - 9.0
        );
    }
    for (place, scenario) in scenarios.iter().enumerate() {
        let top = TOP + place as f64 * group + GAP / 2.0;
        let middle = top + (group - GAP) / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 12.0,
            scenario.title()
        );
        for (line, engine) in engines.iter().enumerate() {
            let row = rows
                .iter()
                .find(|row| row.scenario == *scenario && row.engine == *engine);
            let y = top + line as f64 * BAR;
            if let Some(row) = row {
                svg += &bar(row, y, &length);
            }
        }
    }
    svg + "</svg>\n"
}

fn bar(row: &Row, y: f64, length: &dyn Fn(f64) -> f64) -> String {
    let text = y + BAR - 3.5;
    let Some(seen) = &row.seen else {
        return format!(
            "<text class=\"small\" x=\"{:.0}\" y=\"{text:.1}\">{}: skipped</text>\n",
            LEFT + 4.0,
            row.engine.name()
        );
    };
    let width = length(seen.wall.as_secs_f64());
    let class = match row.verdict {
        Verdict::Fail(_) => "fail",
        _ => "small",
    };
    let failed = match row.verdict {
        Verdict::Fail(_) => ", FAIL",
        _ => "",
    };
    let units = match seen.units {
        0 => "nothing compiled".to_owned(),
        1 => "1 unit".to_owned(),
        units => format!("{units} units"),
    };
    format!(
        "<rect class=\"{}\" x=\"{LEFT:.0}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.0}\" rx=\"2\"/>\
         <text class=\"{class}\" x=\"{:.1}\" y=\"{text:.1}\">{}, {units}{failed}</text>\n",
        row.engine.name(),
        BAR - 2.0,
        LEFT + width + 6.0,
        show_time(seen.wall),
    )
}
