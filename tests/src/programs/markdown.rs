//! Writes the outcomes as `docs/programs.md`.

use super::compare::Known;
use super::outcome::{Again, Failure, Outcome};
use super::table::Program;
use crate::cold::median;
use crate::said;
use std::fmt::Write as _;

/// Returns the page. It keeps the rows that `old`, the page before, has of programs without an
/// outcome, and also lists programs that nobody has tried.
pub fn page(programs: &[(Program, Option<Outcome>)], old: &str) -> String {
    let mut text = include_str!("head.md").to_owned();
    let is_timed = |outcome: &Outcome| !outcome.cold.is_empty() || !outcome.simulated.is_empty();
    let outcomes = programs.iter().filter_map(|(_, outcome)| outcome.as_ref());
    let timed = outcomes.clone().any(is_timed);
    let repeated = outcomes.clone().any(|outcome| outcome.again.is_some());
    let columns = COLUMNS.iter().filter(|column| match column.kind {
        Kind::Always => true,
        Kind::Repeated => repeated,
        Kind::Timed => timed,
    });
    let columns: Vec<&Column> = columns.collect();
    text += "\n";
    text += &line(columns.iter().map(|column| column.name.to_owned()));
    text += &format!("|{}\n", "---|".repeat(columns.len()));
    let rows = programs.iter().map(|(program, outcome)| {
        let unknown = Outcome::new(program);
        let cells = |outcome| line(columns.iter().map(|column| (column.cell)(program, outcome)));
        match outcome {
            Some(outcome) => cells(outcome),
            None => old_row(program, columns.len(), old).unwrap_or_else(|| cells(&unknown)),
        }
    });
    let rows: Vec<String> = rows.collect();
    text += &rows.concat();
    text += &summary(programs, &columns, &rows);
    text += &failures(programs, old);
    text + include_str!("timed.md")
}

/// Returns the row of a program in the page before.
fn old_row(program: &Program, columns: usize, old: &str) -> Option<String> {
    let start = format!("| {} {} | ", program.name, program.version);
    let row = old.lines().find(|line| line.starts_with(&start))?;
    (cells(row).count() == columns).then(|| format!("{row}\n"))
}

/// Returns the lines below the table of the page before that tell how a program failed.
fn old_failures<'a>(program: &Program, old: &'a str) -> impl Iterator<Item = &'a str> {
    let start = format!("- {}, ", program.name);
    old.lines().filter(move |line| line.starts_with(&start))
}

/// Returns the cells of a row.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    let row = row.trim().trim_start_matches("| ").trim_end_matches(" |");
    row.split(" | ")
}

/// A column of the table.
struct Column {
    name: &'static str,
    kind: Kind,
    cell: fn(&Program, &Outcome) -> String,
}

/// The condition for showing a column.
enum Kind {
    Always,
    /// Something was built more than once.
    Repeated,
    /// Something was timed.
    Timed,
}

const COLUMNS: [Column; 15] = [
    column("program", Kind::Always, |program, _| {
        format!("{} {}", program.name, program.version)
    }),
    column("made of", Kind::Always, |program, _| {
        program.made_of.clone()
    }),
    column("units", Kind::Always, |_, outcome| {
        let compared = outcome.compared.as_ref();
        compared.map_or_else(dash, |c| c.units.to_string())
    }),
    column("Cargo's", Kind::Always, |_, outcome| {
        let compared = outcome.compared.as_ref();
        compared.map_or_else(dash, |c| match c.known_from {
            Known::Build => c.cargos.to_string(),
            Known::UnitGraph => format!("{} (graph)", c.cargos),
        })
    }),
    column("edits", Kind::Always, |program, _| {
        program.edits.len().to_string()
    }),
    column("features", Kind::Always, |_, outcome| {
        let compared = outcome.compared.as_ref();
        compared.map_or_else(dash, |c| match c.differing.len() {
            0 => "equal".to_owned(),
            count => format!("**{count} differ**"),
        })
    }),
    column("bytes", Kind::Always, |_, outcome| {
        outcome.same_bytes.map_or_else(dash, |same| match same {
            true => "equal".to_owned(),
            false => "**differ**".to_owned(),
        })
    }),
    column("again", Kind::Repeated, |_, outcome| {
        let again = outcome.again.as_ref();
        again.map_or_else(dash, |again| match again.differing.len() {
            0 if again.elsewhere => format!("{} equal, elsewhere", again.outputs),
            0 => format!("{} equal", again.outputs),
            count => format!("**{count} of {} differ**", again.outputs),
        })
    }),
    column("runs", Kind::Always, |_, outcome| {
        match (&outcome.failure, outcome.runs) {
            (Some(failure), _) => format!("**FAILED: {}**", step(failure)),
            (None, true) => "yes".to_owned(),
            (None, false) => dash(),
        }
    }),
    column("cargo", Kind::Timed, |_, outcome| {
        seconds(&outcome.cold_cargo)
    }),
    column("units, cold", Kind::Timed, |_, outcome| {
        seconds(&outcome.cold)
    }),
    column("ratio", Kind::Timed, |_, outcome| ratio(outcome.ratio())),
    column("edit", Kind::Timed, |_, outcome| {
        match (&outcome.edit[..], &outcome.edit_cargo[..]) {
            ([], _) | (_, []) => dash(),
            (edit, cargo) => format!("{:+.1} s", median(edit) - median(cargo)),
        }
    }),
    column("on 4 cores", Kind::Timed, |_, outcome| {
        ratio(outcome.simulated_ratio(4))
    }),
    column("on 8", Kind::Timed, |_, outcome| {
        ratio(outcome.simulated_ratio(8))
    }),
];

const fn column(name: &'static str, kind: Kind, cell: fn(&Program, &Outcome) -> String) -> Column {
    Column { name, kind, cell }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn dash() -> String {
    "–".to_owned()
}

fn seconds(values: &[f64]) -> String {
    match values {
        [] => dash(),
        [one] => format!("{one:.1} s"),
        several => format!("{:.1} s (of {})", median(several), several.len()),
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"))
}

fn step(failure: &Failure) -> String {
    format!("{:?}", failure.step).to_lowercase()
}

fn summary(
    programs: &[(Program, Option<Outcome>)],
    columns: &[&Column],
    rows: &[String],
) -> String {
    let outcomes: Vec<&Outcome> = programs.iter().filter_map(|(_, o)| o.as_ref()).collect();
    let having = |name: &str, value: &str| {
        let position = columns.iter().position(|column| column.name == name);
        let cell = |row: &'_ String| position.and_then(|at| cells(row).nth(at)) == Some(value);
        rows.iter().filter(|row| cell(row)).count()
    };
    let ratios: Vec<f64> = outcomes.iter().filter_map(|o| o.ratio()).collect();
    let within = |limit: f64| ratios.iter().filter(|ratio| **ratio <= limit).count();
    let mut text = format!(
        "\n{} of {} have Cargo's units and features. {} are built and run too; {} have Cargo's \
         bytes.",
        having("features", "equal"),
        rows.len(),
        having("runs", "yes"),
        having("bytes", "equal"),
    );
    if !ratios.is_empty() {
        let _ = write!(
            text,
            " Of {} that were timed {} took at most 1.05 times as long as Cargo, {} at most 1.15 \
             ({} cores).",
            ratios.len(),
            within(1.05),
            within(1.15),
            outcomes.iter().map(|o| o.cores).max().unwrap_or(0),
        );
    }
    text += &built_again(&outcomes);
    for cores in [4, 8] {
        let simulated = outcomes.iter().filter_map(|o| o.simulated_ratio(cores));
        let ratios: Vec<f64> = simulated.collect();
        let within = ratios.iter().filter(|ratio| **ratio <= 1.0).count();
        if !ratios.is_empty() {
            let _ = write!(
                text,
                " Simulated on {cores} cores: {within} of {} at most 1.00, median {:.2}.",
                ratios.len(),
                median(&ratios),
            );
        }
    }
    text + "\n"
}

/// Returns a sentence about the programs that were built more than once.
fn built_again(outcomes: &[&Outcome]) -> String {
    let again: Vec<&Again> = outcomes.iter().filter_map(|o| o.again.as_ref()).collect();
    if again.is_empty() {
        return String::new();
    }
    let elsewhere = again.iter().filter(|again| again.elsewhere).count();
    let outputs: usize = again.iter().map(|again| again.outputs).sum();
    let differing: usize = again.iter().map(|again| again.differing.len()).sum();
    format!(
        " {} were built more than once, {elsewhere} of them elsewhere: of {outputs} outputs \
         {differing} differ.",
        again.len()
    )
}

fn failures(programs: &[(Program, Option<Outcome>)], old: &str) -> String {
    let mut text = String::new();
    for (program, outcome) in programs {
        for edit in &program.edits {
            let files = edit.files.join("`, `");
            let _ = writeln!(
                text,
                "- {}: an edit of `{files}`: {}",
                program.name, edit.reason
            );
        }
        let Some(outcome) = outcome else {
            for line in old_failures(program, old) {
                let _ = writeln!(text, "{line}");
            }
            continue;
        };
        if let Some(failure) = &outcome.failure {
            let _ = writeln!(
                text,
                "- {}, {}: `{}`",
                program.name,
                step(failure),
                said::summary(&failure.said).replace('`', "'")
            );
        }
        for name in outcome.again.iter().flat_map(|again| &again.differing) {
            let _ = writeln!(
                text,
                "- {}: `{name}` differs when it is built again",
                program.name
            );
        }
        for unit in outcome.compared.iter().flat_map(|c| &c.differing) {
            let _ = writeln!(text, "- {}: `{unit}`", program.name);
        }
    }
    match text.is_empty() {
        true => text,
        false => format!(
            "\n## Edits, failures, differences\n`-` is a unit that Cargo alone has, `+` one that \
             Cargo has not.\n\n{text}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str) -> Program {
        let text = format!(
            "name = {name:?}\nversion = \"1.0.0\"\nmade-of = \"Rust\"\nbinary = {name:?}\n\
             arguments = []\nprints = []\n"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn the_rows_of_programs_without_an_outcome_stay() {
        let old = "| a 1.0.0 | Rust | 7 | 7 | 0 | equal | equal | yes |\n\
                   | b 0.9.0 | Rust | 8 | 8 | 0 | equal | equal | yes |\n\
                   | c 1.0.0 | Rust | – | – | 0 | – | – | **FAILED: init** |\n\
                   - c, init: `error: no`\n\
                   - d, init: `error: no`\n";
        let mut tried = Outcome::new(&program("d"));
        tried.same_bytes = Some(false);
        let none = |name| (program(name), None);
        let programs = [none("a"), none("b"), none("c"), (program("d"), Some(tried))];
        let page = page(&programs, old);
        let has = |text: &str| assert!(page.contains(text), "{text}\n{page}");
        has("| a 1.0.0 | Rust | 7 | 7 | 0 | equal | equal | yes |\n");
        has("| b 1.0.0 | Rust | – | – | 0 | – | – | – |\n");
        has("| c 1.0.0 | Rust | – | – | 0 | – | – | **FAILED: init** |\n");
        has("| d 1.0.0 | Rust | – | – | 0 | – | **differ** | – |\n");
        has("\n1 of 4 have Cargo's units and features. 1 are built and run too; 1 have");
        has("\n- c, init: `error: no`\n");
        assert!(!page.contains("- d, init"), "{page}");
    }
}
