//! Parts of the output of programs and of Rust sources.

/// Returns the library that pkg-config did not find.
pub(super) fn library(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("The system library `")?;
    rest.split_once('`').map(|(library, _)| library)
}

/// Returns the library that the linker did not find.
pub(super) fn unlinked(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("cannot find -l")?;
    rest.split([':', ' ', '\n'])
        .next()
        .filter(|name| !name.is_empty())
}

/// Returns the files that rustc could not read for `include_str!` and the like.
pub(super) fn unreadable(said: &str) -> Vec<&str> {
    let after = said.split("couldn't read `").skip(1);
    after
        .filter_map(|rest| rest.split_once('`').map(|(file, _)| file))
        .collect()
}

/// Returns the variable that `env!` did not find.
pub(super) fn undefined(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("environment variable `")?;
    let (name, rest) = rest.split_once('`')?;
    rest.trim_start().starts_with("not defined").then_some(name)
}

/// The beginnings of web addresses.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// Returns the web addresses in a program's output.
pub(super) fn addresses(said: &str) -> Vec<String> {
    starts(said)
        .filter_map(|at| {
            // A query in an address may have `=`.
            let end = |c: char| is_end(c) && c != '=';
            let address = said[at..].split(end).next()?;
            Some(address.trim_end_matches(['.', ':', '!']).to_owned())
        })
        .collect()
}

/// Returns the addresses at the beginnings of strings in a Rust source, each with its offset. They
/// may have `{…}` in them, which the source fills in later.
pub(super) fn quoted_addresses(source: &str) -> Vec<(usize, String)> {
    let quoted = starts(source).filter(|at| source[..*at].ends_with('"'));
    quoted
        .filter_map(|at| Some((at, source[at..].split('"').next()?.to_owned())))
        .collect()
}

fn starts(text: &str) -> impl Iterator<Item = usize> {
    let found = SCHEMES.iter().flat_map(|scheme| text.match_indices(scheme));
    let mut found: Vec<usize> = found.map(|(at, _)| at).collect();
    found.sort_unstable();
    found.into_iter()
}

/// Returns the words that follow each of `openings`.
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

/// Whether a text names a program: a whole word that is no part of a path or of a file's name.
pub(super) fn names_program(text: &str, program: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || "-_".contains(c);
    text.match_indices(program).any(|(at, _)| {
        let mut after = text[at + program.len()..].chars();
        let goes_on = match after.next() {
            Some('.') => after.next().is_some_and(is_of_word),
            Some(next) => is_of_word(next) || next == '/',
            None => false,
        };
        !goes_on && !text[..at].chars().next_back().is_some_and(is_of_word)
    })
}

/// Whether a Rust source has a string that is a program, or a command that begins with it.
pub(super) fn starts_program(source: &str, program: &str) -> bool {
    ["\"", " "]
        .iter()
        .any(|end| source.contains(&format!("\"{program}{end}")))
}

/// Returns the name of the file at an address.
pub(super) fn file_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let path = rest.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once('/')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}

/// Returns the words that look like paths out of the package, into the workspace, or to a part of
/// the package that a unit lacks.
pub(super) fn paths(said: &str) -> Vec<&str> {
    let lines = said
        .lines()
        .filter(|line| !line.contains("couldn't read `"));
    lines
        .flat_map(|line| line.split(is_end))
        // A line and a column may follow.
        .filter_map(|word| word.split(':').next())
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.starts_with("/workspace/") || word.contains("../") || is_left_out(word))
        .collect()
}

/// The folders of a package that its units lack unless they test, and one that the root's package
/// lacks (nix/cargo/source.nix).
const LEFT_OUT: [&str; 4] = ["benches", "docs", "examples", "tests"];

/// Whether a path from the package leads to what its units lack: a folder for tests, or a document.
fn is_left_out(path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    let (top, inner) = path.split_once('/').unwrap_or((path, ""));
    let is_document = || {
        let extension = top.rsplit_once('.').map(|(_, extension)| extension);
        extension == Some("md")
            || ["CHANGELOG", "LICENCE", "LICENSE"]
                .iter()
                .any(|name| top.starts_with(name))
    };
    match inner {
        "" => is_document(),
        _ => LEFT_OUT.contains(&top),
    }
}

/// Returns the texts in quotes that lead from the package to what its units lack.
pub(super) fn quoted_left_out(source: &str) -> Vec<&str> {
    let quoted = source.split('"').skip(1).step_by(2);
    quoted
        .filter(|text| LEFT_OUT.contains(text) || is_left_out(text))
        .filter(|text| !text.contains(|c: char| c.is_whitespace() || "{}*".contains(c)))
        .collect()
}

fn is_end(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`()[]{}<>,;|=".contains(c)
}

/// Returns the quoted texts that follow each of `openings` in a Rust source.
pub(super) fn quoted_after<'a>(source: &'a str, openings: &'a [&str]) -> Vec<&'a str> {
    let after = openings
        .iter()
        .flat_map(|opening| source.split(opening).skip(1));
    after
        .filter_map(|rest| rest.split_once('"').map(|(literal, _)| literal))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_package_that_its_units_lack_are_paths() {
        let said = "cannot read examples/a.txt:3:5, src/b.rs or README.md; see tests";
        assert_eq!(paths(said), ["examples/a.txt", "README.md"]);
    }

    #[test]
    fn sources_name_parts_of_a_package_that_its_units_lack() {
        let source = r#"dir("tests"); read("./examples/a"); read("src/a"); read("benches/{x}");"#;
        assert_eq!(quoted_left_out(source), ["tests", "./examples/a"]);
        assert_eq!(
            quoted_left_out(r#"f("LICENSE-MIT", "a/LICENSE")"#),
            ["LICENSE-MIT"]
        );
    }
}
