//! Pairs of an address and a variable in the text of a build script.
//!
//! A script that can do without the network often reads a variable and downloads a file only if the
//! variable is not set, all in one statement:
//!
//! ```text
//! let archive = env::var("APP_ARCHIVE").unwrap_or_else(|_| download("https://…/app.tar.gz"));
//! ```
//!
//! Only such a statement ties the variable to the address. Their order in the script says nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::words;

/// The words that read a variable, in front of its quoted name.
const READS: [&str; 2] = ["var(\"", "var_os(\""];
/// The keywords that give a value a name.
const BINDINGS: [&str; 3] = ["const ", "static ", "let "];

/// Returns the variables that a source ties to addresses, by address.
///
/// A pair counts if no other variable is tied to the address, and no other address to the variable.
pub(super) fn pairs(source: &str, addresses: &[String], variables: &[String]) -> Pairs {
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| (address, places_of_address(source, address)))
        .collect();
    let variables: Vec<_> = variables
        .iter()
        .map(|variable| (variable, places_of_variable(source, variable)))
        .collect();
    let mut tied = Vec::new();
    for (address, of_address) in &addresses {
        for (variable, of_variable) in &variables {
            let mut both = of_address
                .iter()
                .flat_map(|one| of_variable.iter().map(move |other| (one, other)));
            if both.any(|(one, other)| is_one_statement(source, one, other)) {
                tied.push(((*address).clone(), (*variable).clone()));
            }
        }
    }
    let is_alone = |(address, variable): &(String, String)| {
        let shares = tied.iter().filter(|(a, v)| a == address || v == variable);
        shares.count() == 1
    };
    tied.iter().filter(|pair| is_alone(pair)).cloned().collect()
}

/// Variables by address.
pub(super) type Pairs = BTreeMap<String, String>;

/// Returns the places where a source reads a variable.
fn places_of_variable(source: &str, variable: &str) -> Vec<Range<usize>> {
    let quoted = READS.iter().flat_map(|read| {
        let text = format!("{read}{variable}\"");
        let found: Vec<_> = source.match_indices(&text).map(|(at, _)| at).collect();
        found.into_iter().map(move |at| at..at + text.len())
    });
    quoted.collect()
}

/// Returns the places that stand for an address: strings with it, and uses of the names that these
/// strings have.
fn places_of_address(source: &str, address: &str) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for (at, quoted) in words::quoted_addresses(source) {
        if !fits(&quoted, address) {
            continue;
        }
        places.push(at..at + quoted.len());
        if let Some(name) = binding(&source[..at]) {
            places.extend(uses(&source[at..], name).map(|place| place.start + at..place.end + at));
        }
    }
    places
}

/// Whether an address is a quoted one, or one that a script makes of it by filling in `{…}`.
fn fits(quoted: &str, address: &str) -> bool {
    let mut parts = Vec::new();
    let mut rest = quoted;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((_, behind)) = after.split_once('}') else {
            break;
        };
        parts.push(before);
        rest = behind;
    }
    if quoted == address || parts.is_empty() {
        return quoted == address;
    }
    let Some(mut left) = address.strip_prefix(parts[0]) else {
        return false;
    };
    for part in &parts[1..] {
        match left.split_once(part) {
            Some((_, behind)) => left = behind,
            None => return false,
        }
    }
    left.ends_with(rest)
}

/// Returns the name that the statement which ends in `before` gives to its value. A statement that
/// reads a variable gives the name to something else than the address.
fn binding(before: &str) -> Option<&str> {
    let start = before.rfind([';', '{', '}']).map_or(0, |at| at + 1);
    let statement = &before[start..];
    let words = BINDINGS.iter();
    // The first one: `static` may also be in the type of the value.
    let (_, end) = words
        .filter_map(|word| Some((statement.find(word)?, statement.find(word)? + word.len())))
        .min()?;
    let rest = statement[end..].trim_start();
    let rest = rest.strip_prefix("mut ").unwrap_or(rest);
    let name = rest.split(|c: char| !is_of_name(c)).next()?;
    let is_name = !name.is_empty() && rest[name.len()..].trim_start().starts_with([':', '=']);
    let reads = READS.iter().any(|read| statement.contains(read));
    (is_name && !reads).then_some(name)
}

/// Returns the places of a name as a whole word.
fn uses<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    text.match_indices(name).filter_map(move |(at, _)| {
        let end = at + name.len();
        let beside = [text[..at].chars().next_back(), text[end..].chars().next()];
        let is_whole = !beside.into_iter().flatten().any(is_of_name);
        is_whole.then_some(at..end)
    })
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether two places lie in one statement: neither a semicolon nor the end of a block that the
/// statement does not continue lies between them.
fn is_one_statement(source: &str, one: &Range<usize>, other: &Range<usize>) -> bool {
    let (first, second) = if one.start < other.start {
        (one, other)
    } else {
        (other, one)
    };
    let Some(between) = source.get(first.end..second.start) else {
        return false;
    };
    let mut depth = 0_usize;
    for (at, c) in between.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return false,
            '}' => {
                depth -= 1;
                let rest = between[at + 1..].trim_start();
                let goes_on = rest.starts_with("else") || rest.starts_with(['.', '?', ')', ',']);
                if depth == 0 && !goes_on {
                    return false;
                }
            }
            ';' if depth == 0 => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "https://example.org/one.zip";
    const TWO: &str = "https://example.org/two.zip";

    fn found(source: &str) -> Vec<(String, String)> {
        let addresses = [ONE, TWO].map(str::to_owned);
        let variables = ["FIRST", "SECOND"].map(str::to_owned);
        pairs(source, &addresses, &variables).into_iter().collect()
    }

    fn pair(address: &str, variable: &str) -> (String, String) {
        (address.to_owned(), variable.to_owned())
    }

    #[test]
    fn a_statement_ties_a_variable_to_an_address() {
        let both = [pair(ONE, "SECOND"), pair(TWO, "FIRST")];
        for source in [
            // The order of the statements is not that of the names.
            r#"let a = env::var("FIRST").unwrap_or_else(|_| get("https://example.org/two.zip"));
               let b = env::var("SECOND").unwrap_or_else(|_| {
                   log();
                   get("https://example.org/one.zip")
               });"#,
            r#"let a = match std::env::var_os("FIRST") {
                   Some(path) => { copy(path); }
                   None => get("https://example.org/two.zip"),
               };
               let b = if let Ok(path) = env::var("SECOND") { path } else {
                   get("https://example.org/one.zip")
               };"#,
            r#"const ONE_URL: &str = "https://example.org/one.zip";
               static TWO_URL: &str = "https://example.org/two.zip";
               fn main() {
                   fetch(env::var("SECOND").ok(), ONE_URL);
                   fetch(env::var("FIRST").ok(), TWO_URL);
               }"#,
            r#"let one = format!("https://example.org/{name}.zip", name = "one");
               if env::var("FIRST").is_err() { get("https://example.org/two.zip") }"#,
        ] {
            let pairs = found(source);
            // The last source makes a pattern that both addresses fit.
            let expected = match source.contains("{name}") {
                true => vec![pair(TWO, "FIRST")],
                false => both.to_vec(),
            };
            assert_eq!(pairs, expected, "{source}");
        }
    }

    #[test]
    fn nothing_else_ties_them() {
        for source in [
            r#"let a = env::var("FIRST"); let b = get("https://example.org/one.zip");"#,
            r#"if let Ok(path) = env::var("FIRST") { copy(path) } else { zero() }
               get("https://example.org/one.zip")"#,
            r#"fn one() { get("https://example.org/one.zip") }
               fn two() { env::var("FIRST") }"#,
            // One variable for two addresses, and two variables for one address.
            r#"let all = match env::var("FIRST") {
                   Ok(_) => get("https://example.org/one.zip"),
                   Err(_) => get("https://example.org/two.zip"),
               };"#,
            r#"fetch(env::var("FIRST"), env::var("SECOND"), "https://example.org/one.zip");"#,
            // Only the beginning of the name.
            r#"const URL: &str = "https://example.org/one.zip";
               fetch(env::var("FIRST"), URL_OF_ANOTHER);"#,
        ] {
            assert_eq!(found(source), [], "{source}");
        }
    }

    #[test]
    fn an_address_may_fill_in_a_quoted_one() {
        let quoted = "https://example.org/v{version}/app-{target}.zip";
        assert!(fits(quoted, "https://example.org/v1.2/app-x86_64.zip"));
        assert!(!fits(quoted, "https://example.org/v1.2/app-x86_64.tar"));
        assert!(!fits(quoted, "https://example.com/v1.2/app-x86_64.zip"));
        assert!(!fits("https://example.org/a", "https://example.org/ab"));
    }
}
