//! Writes the outcomes as `docs/workspaces.md`.

use crate::outcome::Outcome;
use crate::said;
use crate::table::Workspace;
use std::fmt::Write as _;

/// Returns the page. It also lists workspaces without an outcome.
pub fn page(workspaces: &[(Option<Outcome>, Workspace)]) -> String {
    let mut text = include_str!("head.md").to_owned();
    text +=
        "\n| workspace | commit | packages | units | images | edits | planned | built | runs |\n";
    text += "|---|---|---|---|---|---|---|---|---|\n";
    for (outcome, workspace) in workspaces {
        text += &row(workspace, outcome.as_ref());
    }
    text += &summary(workspaces);
    text += &notes(workspaces);
    text
}

fn row(workspace: &Workspace, outcome: Option<&Outcome>) -> String {
    let known = |text: fn(&Outcome) -> String| outcome.map_or_else(|| "–".to_owned(), text);
    let cells = [
        format!("[{}]({})", workspace.name, workspace.address),
        workspace.commit.chars().take(10).collect(),
        known(|outcome| outcome.packages.to_string()),
        known(|outcome| match outcome.units {
            0 => "–".to_owned(),
            units => units.to_string(),
        }),
        outcome.map_or_else(|| "–".to_owned(), |outcome| images(workspace, outcome)),
        workspace.edits.len().to_string(),
        known(|outcome| match outcome.is_planned() {
            false => "**FAILED**".to_owned(),
            true => "yes".to_owned(),
        }),
        known(|outcome| match (outcome.is_built, &outcome.failure) {
            (true, _) => "yes".to_owned(),
            (false, Some(_)) if outcome.is_planned() => "**FAILED**".to_owned(),
            (false, _) => "–".to_owned(),
        }),
        known(|outcome| match (outcome.runs, &outcome.failure) {
            (true, _) => "yes".to_owned(),
            (false, Some(_)) if outcome.is_built => "**FAILED**".to_owned(),
            (false, _) => "–".to_owned(),
        }),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// Lists the images that `assemble init` wrote, first the one that its last line builds. Images
/// that the authors do not ship, and missing ones, are bold.
fn images(workspace: &Workspace, outcome: &Outcome) -> String {
    let main = outcome.main.iter();
    let others = outcome.images.iter();
    let others = others.filter(|image| Some(*image) != outcome.main.as_ref());
    let written = main
        .chain(others)
        .map(|image| match workspace.images.contains(image) {
            true => image.clone(),
            false => format!("**{image}**"),
        });
    let missing = workspace.images.iter();
    let missing = missing.filter(|image| !outcome.images.contains(image));
    let missing = missing.map(|image| format!("**no {image}**"));
    written.chain(missing).collect::<Vec<_>>().join(", ")
}

fn summary(workspaces: &[(Option<Outcome>, Workspace)]) -> String {
    let is_planned = |outcome: &&Option<Outcome>| outcome.as_ref().is_some_and(Outcome::is_planned);
    let outcomes = workspaces.iter().map(|(outcome, _)| outcome);
    let planned = outcomes.filter(is_planned).count();
    let untouched = workspaces
        .iter()
        .filter(|(outcome, workspace)| workspace.edits.is_empty() && is_planned(&outcome))
        .count();
    let known = workspaces
        .iter()
        .filter_map(|(outcome, _)| outcome.as_ref());
    let built = known.clone().filter(|outcome| outcome.is_built).count();
    let run = known.filter(|outcome| outcome.runs).count();
    format!(
        "\n{planned} of {} are planned, {untouched} of them without an edit by hand. {built} are \
         built, and {run} of them run.\n",
        workspaces.len()
    )
}

fn notes(workspaces: &[(Option<Outcome>, Workspace)]) -> String {
    let mut text = String::new();
    for (outcome, workspace) in workspaces {
        for edit in &workspace.edits {
            let _ = writeln!(
                text,
                "- {}: an edit of `{}`: {}",
                workspace.name,
                edit.files.join("` and `"),
                edit.reason
            );
        }
        let Some(outcome) = outcome else {
            let _ = writeln!(text, "- {}: not looked at yet", workspace.name);
            continue;
        };
        if let Some(failure) = &outcome.failure {
            let _ = writeln!(
                text,
                "- {}: `{}` fails: `{}`",
                workspace.name,
                failure.command,
                said::summary(&failure.said).replace('`', "'")
            );
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("\n## Edits and failures\n\n{text}"),
    }
}
