//! Draws the times as bars. The scale is logarithmic: a cold build takes minutes, an edit seconds.

use std::collections::BTreeSet;
use std::fmt::Write;

use crateyard_engines::Engine;

use super::{Row, Verdict, show_time};
use crate::scenario::Scenario;

const LEFT: f64 = 250.0;
const BAR: f64 = 14.0;
const GAP: f64 = 14.0;
const TOP: f64 = 82.0;
const WIDTH: f64 = 470.0;
/// Space for the label after the longest bar.
const RIGHT: f64 = 190.0;
/// The start of the scale, in seconds.
const SHORTEST: f64 = 0.1;

/// Light and dark styles, which follow the reader's screen. The picture also draws its background,
/// because a viewer may show either color behind it.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
.ground { fill: #ffffff; stroke: #d1d9e0 } .band { fill: #f6f8fa }
.title { font-size: 17px; font-weight: 600 }
.small { font-size: 11.5px; fill: #59636e }
.value { font-size: 11.5px; fill: #59636e; stroke: #ffffff; stroke-width: 3px; paint-order: stroke }
.grid { stroke: #d1d9e0 }
.nix { fill: #0969da } .buildx { fill: #d4700b } .cargo { fill: #8c959f }
.fail { font-size: 11.5px; fill: #cf222e; font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 } \
.value { fill: #9198a1; stroke: #0d1117 } .grid { stroke: #3d444d }
.ground { fill: #0d1117; stroke: #3d444d } .band { fill: #151b23 }
.nix { fill: #4493f8 } .buildx { fill: #f0883e } .cargo { fill: #768390 } .fail { fill: #ff7b72 }
}";

/// Draws the rows of a machine with this many cores.
pub(super) fn draw(rows: &[Row], cores: usize) -> String {
    let scenarios: BTreeSet<Scenario> = rows.iter().map(|row| row.scenario).collect();
    let engines: BTreeSet<Engine> = rows.iter().map(|row| row.engine).collect();
    let scale = Scale::of(rows);
    let group = engines.len() as f64 * BAR + GAP;
    let bottom = TOP + scenarios.len() as f64 * group;
    let mut svg = heading(LEFT + WIDTH + RIGHT, bottom + 34.0, cores);
    svg += &legend(&engines);
    for place in (0..scenarios.len()).step_by(2) {
        let top = TOP + place as f64 * group;
        let width = LEFT + WIDTH + RIGHT - 2.0;
        // Writing to a string can't fail.
        let _ = writeln!(
            svg,
            "<rect class=\"band\" x=\"1\" y=\"{top:.0}\" width=\"{width:.0}\" \
             height=\"{group:.0}\"/>"
        );
    }
    svg += &scale.lines(bottom);
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
            let of_both = |row: &&Row| row.scenario == *scenario && row.engine == *engine;
            if let Some(row) = rows.iter().find(of_both) {
                svg += &bar(row, top + line as f64 * BAR, &scale);
            }
        }
    }
    svg + "</svg>\n"
}

fn heading(width: f64, height: f64, cores: usize) -> String {
    const TITLE: &str = "Time to build all images after a change";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"{TITLE}\">\n<style>\n{STYLE}\n</style>\n<rect class=\"ground\" x=\"0.5\" \
         y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"6\"/>\n<text class=\"title\" x=\"16\" \
         y=\"30\">{TITLE}</text>\n<text class=\"small\" x=\"16\" y=\"50\">and what was compiled \
         for it; {cores} cores, logarithmic scale</text>\n",
        width - 1.0,
        height - 1.0,
    )
}

fn legend(engines: &BTreeSet<Engine>) -> String {
    let entry = |(place, engine): (usize, &Engine)| {
        let (name, at) = (engine.name(), LEFT + place as f64 * 70.0);
        format!(
            "<rect class=\"{name}\" x=\"{at:.0}\" y=\"60\" width=\"11\" height=\"11\" rx=\"2\"/>\
             <text class=\"small\" x=\"{:.0}\" y=\"70\">{name}</text>\n",
            at + 16.0
        )
    };
    engines.iter().enumerate().map(entry).collect()
}

/// Converts times to lengths.
struct Scale {
    longest: f64,
}

impl Scale {
    fn of(rows: &[Row]) -> Scale {
        let seen = rows.iter().filter_map(|row| row.seen.as_ref());
        let times = seen.map(|seen| seen.wall.as_secs_f64());
        Scale {
            longest: times.fold(10.0, f64::max),
        }
    }

    fn length(&self, seconds: f64) -> f64 {
        let share = (seconds.max(SHORTEST) / SHORTEST).ln() / (self.longest / SHORTEST).ln();
        (share * WIDTH).max(2.0)
    }

    /// Draws lines at round times.
    fn lines(&self, bottom: f64) -> String {
        let times = [
            (1.0, "1 s"),
            (10.0, "10 s"),
            (60.0, "1 min"),
            (600.0, "10 min"),
            (3600.0, "1 h"),
        ];
        let known = times.iter().filter(|(seconds, _)| *seconds <= self.longest);
        let line = |(seconds, label): &(f64, &str)| {
            let x = LEFT + self.length(*seconds);
            format!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP:.0}\" \
                 y2=\"{bottom:.0}\"/><text class=\"small\" x=\"{x:.1}\" y=\"{:.0}\" \
                 text-anchor=\"middle\">{label}</text>\n",
                bottom + 20.0
            )
        };
        known.map(line).collect()
    }
}

fn bar(row: &Row, y: f64, scale: &Scale) -> String {
    let text = y + BAR - 3.5;
    let Some(seen) = &row.seen else {
        return format!(
            "<text class=\"small\" x=\"{:.0}\" y=\"{text:.1}\">{}: skipped</text>\n",
            LEFT + 6.0,
            row.engine.name()
        );
    };
    let length = scale.length(seen.wall.as_secs_f64());
    let (class, failed) = match row.verdict {
        Verdict::Fail(_) => ("fail", ", FAIL"),
        _ => ("value", ""),
    };
    let units = match seen.units {
        0 => "nothing".to_owned(),
        1 => "1 unit".to_owned(),
        units => format!("{units} units"),
    };
    format!(
        "<rect class=\"{}\" x=\"{LEFT:.0}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.0}\" \
         rx=\"2\"/><text class=\"{class}\" x=\"{:.1}\" y=\"{text:.1}\">{}, \
         {units}{failed}</text>\n",
        row.engine.name(),
        BAR - 2.0,
        LEFT + length + 6.0,
        show_time(seen.wall),
    )
}
