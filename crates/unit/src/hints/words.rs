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

/// The first address of the web.
pub(super) fn address(said: &str) -> Option<&str> {
    let at = said.find("https://").or_else(|| said.find("http://"))?;
    said[at..].split(is_end).next()
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
    c.is_whitespace() || "\"'`()[]{}<>,;|=".contains(c)
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
