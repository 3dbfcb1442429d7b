//! Finds the port that a program listens on by default.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crateyard_spec::Port;

use crate::metadata::{Package, Target};
use crate::modules;
use crate::sources::Source;

/// The ports in the sources.
pub(crate) enum Found {
    None,
    /// One port, for each protocol that it is used with, and the place that names it.
    One(Vec<Port>, String),
    /// Several ports, with the places that name them.
    Several(Vec<String>),
}

/// Words near a port that show that it is not the port of the program's main service.
const ASIDE: [&str; 14] = [
    "metric",
    "prometheus",
    "admin",
    "debug",
    "pprof",
    "test",
    "example",
    "upstream",
    "connect",
    "postgres",
    "redis",
    "mysql",
    "smtp",
    "database",
];

/// The rank of a place, from best to worst: the default of an option, an address to listen on, a
/// name with `port` in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Option,
    Address,
    Name,
}

/// Finds the ports of a binary.
pub(crate) fn of(package: &Package, bin: &str, sources: &[Source]) -> Found {
    let mut best: BTreeMap<Rank, BTreeMap<Port, String>> = BTreeMap::new();
    let others = Others::of(package, bin, sources);
    for source in sources.iter().filter(|source| others.leave(source)) {
        let lines = program_lines(&source.text);
        for (index, (number, line)) in lines.iter().enumerate() {
            let found = port_at(&lines, index);
            let port = found.and_then(|(rank, port)| Some((rank, with_protocol(port, line)?)));
            if let Some((rank, port)) = port {
                let place = format!("{}:{number}", source.path.display());
                best.entry(rank).or_default().entry(port).or_insert(place);
            }
        }
    }
    let Some(ports) = best.into_values().next() else {
        return Found::None;
    };
    let numbers: BTreeSet<u16> = ports.keys().map(|port| port.number()).collect();
    match ports.values().next() {
        // One service may use several protocols.
        Some(place) if numbers.len() == 1 => {
            Found::One(ports.keys().copied().collect(), place.clone())
        }
        _ => Found::Several(
            ports
                .into_iter()
                .map(|(port, place)| format!("{} in {place}", port.number()))
                .collect(),
        ),
    }
}

/// Adds the protocol, which a line such as `UdpSocket::bind("0.0.0.0:53")` names.
fn with_protocol(port: u16, line: &str) -> Option<Port> {
    match line.to_lowercase().contains("udp") {
        true => format!("{port}/udp").parse().ok(),
        false => Port::tcp(port),
    }
}

/// What belongs to the other binaries of a package alone.
struct Others {
    /// Their main files, and the modules that they declare and this one does not.
    files: BTreeSet<PathBuf>,
    /// The directories of a `main.rs` where nothing of this binary or of the library begins.
    directories: Vec<PathBuf>,
}

impl Others {
    fn of(package: &Package, bin: &str, sources: &[Source]) -> Others {
        let is_other = |target: &&Target| target.name != bin && target.is_binary();
        let (others, own): (Vec<&Target>, Vec<&Target>) =
            package.targets.iter().partition(is_other);
        let is_shared = |target: &&Target| target.is_binary() || target.is_library();
        let own = own.into_iter().filter(is_shared);
        let own: Vec<PathBuf> = own.map(|target| package.main_file(target)).collect();
        let others: Vec<PathBuf> = others.into_iter().map(|it| package.main_file(it)).collect();
        let files = |roots: &[PathBuf]| -> BTreeSet<PathBuf> {
            let files = roots.iter().flat_map(|root| modules::of(root, sources));
            files.collect()
        };
        let mains = others.iter().filter(|file| file.ends_with("main.rs"));
        let directories = mains.filter_map(|file| Some(file.parent()?.to_owned()));
        Others {
            directories: directories
                .filter(|directory| !own.iter().any(|file| file.starts_with(directory)))
                .filter(|directory| directory != Path::new("src"))
                .collect(),
            files: &files(&others) - &files(&own),
        }
    }

    /// Whether a source may belong to this binary, and not to its tests.
    fn leave(&self, source: &Source) -> bool {
        let mut directories = self.directories.iter();
        let is_other = self.files.contains(&source.path)
            || directories.any(|directory| source.path.starts_with(directory));
        let words = source.path.to_string_lossy().to_lowercase();
        !is_other && !source.is_aside() && !ASIDE.iter().any(|word| words.contains(word))
    }
}

/// Returns the lines of a source, with their numbers, without comments and tests.
fn program_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut all = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()));
    while let Some((number, line)) = all.next() {
        if line.starts_with("#[cfg(test)]")
            || line.starts_with("#[test]")
            || line.ends_with("::test]")
        {
            skip_item(line, &mut all);
        } else if !line.is_empty() && !line.starts_with("//") {
            lines.push((number, line));
        }
    }
    lines
}

/// Skips the item of an attribute, up to its closing brace or semicolon.
fn skip_item<'t>(first: &'t str, lines: &mut impl Iterator<Item = (usize, &'t str)>) {
    let mut depth = 0_usize;
    let after = first.split_once(']').map_or("", |(_, rest)| rest);
    let rest = lines.map(|(_, line)| line);
    for line in std::iter::once(after).chain(rest) {
        let opens = line.matches('{').count();
        depth = (depth + opens).saturating_sub(line.matches('}').count());
        let is_attribute = line.is_empty() || line.starts_with("#[");
        if depth == 0 && !is_attribute && (opens > 0 || line.ends_with([';', '}', ','])) {
            return;
        }
    }
}

fn port_at(lines: &[(usize, &str)], index: usize) -> Option<(Rank, u16)> {
    let (_, line) = lines[index];
    // A comparison asks for a port, and does not set it.
    if line.contains("==") || line.contains("!=") {
        return None;
    }
    let around = |before: usize, after: usize| {
        let first = index.saturating_sub(before);
        let last = (index + after + 1).min(lines.len());
        lines[first..last]
            .iter()
            .map(|(_, line)| line.to_lowercase())
            .collect::<Vec<_>>()
    };
    let is_aside = || {
        let near = around(calls_above(lines, index).max(1), 0).concat();
        ASIDE.iter().any(|word| near.contains(word))
    };
    if let Some(port) = line.parse().ok().filter(|port| *port > 0) {
        // The line is the whole body of a function such as `default_port`.
        let function = lines[..index].last().map_or("", |(_, line)| line);
        let is_default = function.starts_with("fn ") && function.ends_with("-> u16 {");
        let is_port = is_default && has_word(&function.replace("fn ", "").to_lowercase(), "port");
        return (is_port && !is_aside()).then_some((Rank::Name, port));
    }
    if line.contains("default_value") || line.contains("unwrap_or") {
        let value = line
            .split_once("default_value")
            .or_else(|| line.split_once("unwrap_or"))?
            .1;
        // An option's name is on lines around its default, a variable's name before it: on the
        // line, or where a chain of calls begins.
        let (before, after) = match line.contains("default_value") {
            true => (2, 2),
            false => (calls_above(lines, index), 0),
        };
        let is_port = || {
            around(before, after)
                .iter()
                .any(|line| has_word(line, "port"))
        };
        let port = address(value).or_else(|| number(value).filter(|_| is_port()));
        return Some((Rank::Option, port.filter(|_| !is_aside())?));
    }
    if let Some(port) = address(line) {
        return (!is_aside() && !is_loopback(line)).then_some((Rank::Address, port));
    }
    let (name, value) = line.split_once(" = ").or_else(|| line.split_once(": "))?;
    let is_port = has_word(&name.to_lowercase(), "port") && !name.contains(['(', '"']);
    let value = value.trim_end_matches([';', ',']);
    let port = value
        .parse()
        .ok()
        .filter(|port| *port > 0 && is_port && !is_aside())?;
    Some((Rank::Name, port))
}

/// Returns how many lines above this one belong to the same chain of calls, if it is in one.
fn calls_above(lines: &[(usize, &str)], index: usize) -> usize {
    let is_call = |(_, line): &&(usize, &str)| line.starts_with('.');
    lines[..=index].iter().rev().take_while(is_call).count()
}

fn is_loopback(line: &str) -> bool {
    ["127.0.0.1", "[::1]", "localhost", "LOCALHOST"]
        .iter()
        .any(|address| line.contains(address))
}

/// Returns the port in an address to listen on: `0.0.0.0:80`, `[::]:80`, `127.0.0.1:80`,
/// `([0, 0, 0, 0], 80)`, `UNSPECIFIED, 80`.
fn address(text: &str) -> Option<u16> {
    const BEFORE: [&str; 8] = [
        "0.0.0.0:",
        "[::]:",
        "127.0.0.1:",
        "[::1]:",
        "localhost:",
        "[0, 0, 0, 0], ",
        "UNSPECIFIED, ",
        "UNSPECIFIED), ",
    ];
    BEFORE.iter().find_map(|before| {
        let (_, rest) = text.split_once(before)?;
        digits(rest)
    })
}

/// Returns the first number in a text that is not part of a name or of another number.
fn number(text: &str) -> Option<u16> {
    let is_word = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let mut words = text.split(|c: char| !is_word(c));
    words.find_map(|word| word.parse().ok().filter(|port| *port > 0))
}

fn digits(text: &str) -> Option<u16> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|port| *port > 0)
}

fn has_word(line: &str, word: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(Rank, u16)> {
        let lines = program_lines(text);
        (0..lines.len()).find_map(|index| port_at(&lines, index))
    }

    #[test]
    fn programs_name_their_port_in_many_ways() {
        for (text, expected) in [
            ("bind(\"0.0.0.0:8080\")", (Rank::Address, 8080)),
            ("let a = \"[::]:81\";", (Rank::Address, 81)),
            (
                "SocketAddr::from(([0, 0, 0, 0], 3000))",
                (Rank::Address, 3000),
            ),
            (
                "SocketAddr::new(Ipv4Addr::UNSPECIFIED, 82)",
                (Rank::Address, 82),
            ),
            (
                "#[arg(long, default_value = \"8083\")]\npub port: u16,",
                (Rank::Option, 8083),
            ),
            (
                "#[arg(short, default_value_t = 84)]\nport: u16,",
                (Rank::Option, 84),
            ),
            (
                ".arg(\n Arg::new(\"port\")\n .default_value(\"5000\")",
                (Rank::Option, 5000),
            ),
            (
                "#[clap(default_value = \"127.0.0.1:86\")]\nlisten: SocketAddr,",
                (Rank::Option, 86),
            ),
            (
                "let port = var(\"PORT\").unwrap_or(\"87\".into());",
                (Rank::Option, 87),
            ),
            (
                "let port: u16 = var(\"PORT\")\n    .ok()\n    .and_then(|it| \
                 it.parse().ok())\n    .unwrap_or(89);",
                (Rank::Option, 89),
            ),
            (
                "let at = var(\"HTTP_PORT\")\n    .unwrap_or_else(|_| \"91\".into());",
                (Rank::Option, 91),
            ),
            ("const DEFAULT_PORT: u16 = 88;", (Rank::Name, 88)),
            (
                "fn default_port() -> u16 {\n    5000\n}",
                (Rank::Name, 5000),
            ),
        ] {
            assert_eq!(found(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_tests_and_metrics_listen_on_is_no_port_of_the_program() {
        for text in [
            "// bind(\"0.0.0.0:8080\")",
            "let metrics = \"0.0.0.0:9100\";",
            "#[cfg(test)]\nmod tests {\n    fn f() { bind(\"0.0.0.0:1\"); }\n}",
            "#[tokio::test]\nasync fn serves() {\n    bind(\"0.0.0.0:1\");\n}",
            "connect(\"127.0.0.1:5432\")",
            "#[arg(default_value = \"30\")]\ntimeout: u64,",
            "bind(\"0.0.0.0:0\")",
            "fn f(port: u16) {\n    let sockets = given.unwrap_or(1);",
            "let p = var(\"REDIS_PORT\")\n    .ok()\n    .map(number)\n    .unwrap_or(6379);",
            "let port = 0;\nlet sockets = given\n    .unwrap_or(1);",
            "fn default_depth() -> u16 {\n    5000\n}",
            "if server.listen.port() == ke_server.ntp_port.unwrap_or(123) {",
            "if server.port()\n    != given.port.unwrap_or(123)\n{",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        let after = "#[cfg(test)]\nmod tests;\nfn main() { bind(\"0.0.0.0:7000\") }";
        assert_eq!(found(after), Some((Rank::Address, 7000)));
    }
}
