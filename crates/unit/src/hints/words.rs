//! What programs say, taken apart.

/// The library that pkg-config did not find.
pub(super) fn library(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("The system library `")?;
    rest.split_once('`').map(|(library, _)| library)
}

/// The library that the linker did not find.
pub(super) fn unlinked(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("cannot find -l")?;
    rest.split([':', ' ', '\n'])
        .next()
        .filter(|name| !name.is_empty())
}

/// The files that rustc could not read for `include_str!` and the like.
pub(super) fn unreadable(said: &str) -> Vec<&str> {
    let after = said.split("couldn't read `").skip(1);
    after
        .filter_map(|rest| rest.split_once('`').map(|(file, _)| file))
        .collect()
}

/// The variable that `env!` did not find.
pub(super) fn undefined(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("environment variable `")?;
    let (name, rest) = rest.split_once('`')?;
    rest.trim_start().starts_with("not defined").then_some(name)
}

/// How addresses of the web begin.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// The addresses of the web in what a program says.
pub(super) fn addresses(said: &str) -> Vec<String> {
    starts(said)
        .filter_map(|at| {
            // They may hold `=`, in a query.
            let end = |c: char| is_end(c) && c != '=';
            let address = said[at..].split(end).next()?;
            Some(address.trim_end_matches(['.', ':', '!']).to_owned())
        })
        .collect()
}

/// The addresses that begin a string of a Rust source, with the places that are filled in later.
pub(super) fn quoted_addresses(line: &str) -> Vec<String> {
    let quoted = starts(line).filter(|at| line[..*at].ends_with('"'));
    quoted
        .filter_map(|at| line[at..].split('"').next().map(str::to_owned))
        .collect()
}

fn starts(text: &str) -> impl Iterator<Item = usize> {
    let found = SCHEMES.iter().flat_map(|scheme| text.match_indices(scheme));
    let mut found: Vec<usize> = found.map(|(at, _)| at).collect();
    found.sort_unstable();
    found.into_iter()
}

/// The words that follow each of `openings`.
pub(super) fn names_after(said: &str, openings: &[&str]) -> Vec<String> {
    let after = openings
        .iter()
        .flat_map(|opening| said.split(opening).skip(1));
    let end = |c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c));
    let names = after.filter_map(|rest| rest.split(end).next());
    names
        .map(|name| name.trim_end_matches('.').to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The name of the file at an address.
pub(super) fn file_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let path = rest.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once('/')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}

/// What looks like a path out of the package or into the workspace.
pub(super) fn paths(said: &str) -> Vec<&str> {
    let lines = said
        .lines()
        .filter(|line| !line.contains("couldn't read `"));
    lines
        .flat_map(|line| line.split(is_end))
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| word.starts_with("/workspace/") || word.contains("../"))
        .collect()
}

fn is_end(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`()[]{}<>,;|=".contains(c)
}

/// What stands in the quotes that follow each of `openings` in a Rust source.
pub(super) fn quoted_after<'a>(source: &'a str, openings: &'a [&str]) -> Vec<&'a str> {
    let after = openings
        .iter()
        .flat_map(|opening| source.split(opening).skip(1));
    after
        .filter_map(|rest| rest.split_once('"').map(|(literal, _)| literal))
        .collect()
}
