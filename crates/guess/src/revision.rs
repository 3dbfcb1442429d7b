//! Finds packages whose build asks git for the revision. Without `revision = true` they are built
//! without it, often silently: build scripts go on if there is no git.

use std::collections::BTreeSet;

use crate::files;
use crate::metadata::{Dependency, Package};
use crate::sources::Source;

/// Returns whether the revision would help the build of a package, with the reason. If the package
/// asks in a way that `revision` can't answer, the reason alone says so.
pub(crate) fn is_asked(package: &Package, sources: &[Source], reasons: &mut Vec<String>) -> bool {
    let name = &package.name;
    let calling = [
        calling_script(package, sources),
        calling_crate(package),
        calling_macro(package, sources),
    ];
    if let Some(who) = calling.into_iter().flatten().next() {
        reasons.push(format!(
            "the package {name} sees the revision, because {who}"
        ));
        return true;
    }
    let blind = [unanswered_script(package, sources), reading_crate(package)];
    if let Some(who) = blind.into_iter().flatten().next() {
        reasons.push(format!(
            "the package {name} sees no revision, because a build has no .git: {who}"
        ));
    }
    false
}

/// Names the file of the build script that asks git what the stand-in for git answers.
fn calling_script(package: &Package, sources: &[Source]) -> Option<String> {
    let file = asking(package, sources).find(|file| !looks_for_repository(&file.text))?;
    Some(format!("its {} calls git", file.path.display()))
}

/// Names the file of the build script that would ask git, but only in a repository.
fn unanswered_script(package: &Package, sources: &[Source]) -> Option<String> {
    let file = asking(package, sources).next()?;
    Some(format!("its {} looks for it", file.path.display()))
}

/// Returns the files of the build script that ask git for the revision.
fn asking<'s>(
    package: &Package,
    sources: &'s [Source],
) -> impl Iterator<Item = &'s Source> + use<'s> {
    let script = files::build_script(package, sources);
    let files = sources
        .iter()
        .filter(move |source| script.contains(&source.path));
    files.filter(|source| calls_git(&source.text) && is_answered(&words(&source.text)))
}

/// Whether a build script does something only if there is a repository.
fn looks_for_repository(text: &str) -> bool {
    let is_named = literals(text).any(|(_, text)| text == ".git" || text.ends_with("/.git"));
    let tests = [".exists()", ".try_exists()", ".is_dir()"];
    is_named && tests.iter().any(|test| text.contains(test))
}

/// Whether a text starts git: `Command::new("git")`, `cmd!("git", …)`, `"git rev-parse HEAD"`.
fn calls_git(text: &str) -> bool {
    literals(text).any(|(before, literal)| {
        let is_first = before.is_empty() || before.ends_with('(');
        (literal == "git" && is_first) || literal.starts_with("git ")
    })
}

/// Whether the stand-in for git answers a question of these words (`crates/unit/src/git.rs`).
fn is_answered(words: &BTreeSet<&str>) -> bool {
    let has = |any: &[&str]| any.iter().any(|word| words.contains(word));
    let has_format = words
        .iter()
        .any(|word| word.starts_with("--format=") || word.starts_with("--pretty="));
    (has(&["rev-parse"]) && has(&["HEAD"]))
        || (has(&["describe"]) && has(&["--always"]))
        || (has(&["log", "show"]) && has_format)
        || (has(&["status"]) && has(&["--porcelain", "--short", "-s"]))
        || (has(&["diff", "diff-index"]) && has(&["--quiet", "--exit-code"]))
}

/// Returns the words of all literals of a text.
fn words(text: &str) -> BTreeSet<&str> {
    literals(text)
        .flat_map(|(_, literal)| literal.split_whitespace())
        .collect()
}

/// Returns the literals on the lines of a text, each with what is before it on its line. Leaves out
/// comments.
fn literals(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with("//"));
    lines.flat_map(|line| {
        let mut quotes = line.match_indices('"').map(|(at, _)| at);
        std::iter::from_fn(move || {
            let (begin, end) = (quotes.next()?, quotes.next()?);
            Some((line[..begin].trim_end(), &line[begin + 1..end]))
        })
    })
}

/// Names the crate for build scripts that calls git.
fn calling_crate(package: &Package) -> Option<String> {
    let calls = |dependency: &&Dependency| match dependency.name.as_str() {
        "shadow-rs" | "vergen-gitcl" => true,
        "vergen" => has_feature(dependency, &["gitcl"]),
        _ => false,
    };
    let dependency = for_script(package).find(calls)?;
    Some(format!("its build script calls git by {}", dependency.name))
}

/// Names the crate for build scripts that reads the repository by itself.
fn reading_crate(package: &Package) -> Option<String> {
    let reads = |dependency: &&Dependency| match dependency.name.as_str() {
        "vergen-git2" | "vergen-gix" => true,
        "vergen" => has_feature(dependency, &["git", "git2", "gitoxide", "gix"]),
        "built" => has_feature(dependency, &["git2", "gix"]),
        _ => false,
    };
    let dependency = for_script(package).find(reads)?;
    let name = &dependency.name;
    Some(format!("its build script reads it by {name}"))
}

/// Returns the dependencies of the build script that are on by default.
fn for_script(package: &Package) -> impl Iterator<Item = &Dependency> {
    let all = package.dependencies.iter();
    all.filter(|it| it.kind.as_deref() == Some("build") && package.is_on(it))
}

fn has_feature(dependency: &Dependency, any: &[&str]) -> bool {
    let mut features = dependency.features.iter();
    features.any(|feature| any.contains(&feature.as_str()))
}

/// Names the file that calls the macro `git_version!`, if the stand-in for git answers it.
fn calling_macro(package: &Package, sources: &[Source]) -> Option<String> {
    let mut dependencies = package.dependencies.iter();
    dependencies.find(|it| it.name == "git-version" && it.kind.is_none() && package.is_on(it))?;
    let calls = |source: &&Source| {
        let mut lines = source.text.split("git_version!(").skip(1);
        lines.any(|rest| {
            let arguments = rest.split(')').next().unwrap_or_default();
            !arguments.contains("args") || arguments.contains("\"--always\"")
        })
    };
    let mut own = sources.iter().filter(|source| !source.is_aside());
    let file = own.find(calls)?.path.display();
    Some(format!("git_version! in its {file} calls git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_that_the_stand_in_answers_count() {
        for (text, expected) in [
            (
                "Command::new(\"git\").args([\"rev-parse\", \"HEAD\"])",
                true,
            ),
            (
                "Command::new(\n    \"git\",\n)\n.arg(\"rev-parse\")\n.arg(\"HEAD\")",
                true,
            ),
            ("sh(\"git describe --always --tags\")", true),
            ("cmd!(\"git\", \"log\", \"-1\", \"--format=%H\")", true),
            ("run(\"git\", &[\"status\", \"--porcelain\"])", true),
            (
                "Command::new(\"git\").args([\"describe\", \"--tags\"])",
                false,
            ),
            ("sh(\"git submodule update --init\")", false),
            (
                "// Command::new(\"git\").args([\"rev-parse\", \"HEAD\"])",
                false,
            ),
            (
                "cfg!(feature = \"git\"); run(\"rev-parse\", \"HEAD\")",
                false,
            ),
        ] {
            let is_asked = calls_git(text) && is_answered(&words(text));
            assert_eq!(is_asked, expected, "{text}");
        }
    }
}
