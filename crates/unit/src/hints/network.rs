//! A unit that wants to download something: what, and the lines of `images.toml` that give it that.

use super::{Failure, words};

/// How programs say that they can't reach the network.
const SIGNS: [&str; 12] = [
    "Network is unreachable",
    "Network unreachable",
    "NetworkUnreachable",
    "Could not resolve host",
    "Couldn't resolve host",
    "failed to lookup address",
    "Temporary failure in name resolution",
    "Name or service not known",
    "dns error",
    "unable to resolve host",
    "Failed to connect to",
    "error sending request for url",
];

/// What the name of a host follows.
const HOSTS: [&str; 4] = [
    "Could not resolve host: ",
    "Couldn't resolve host: ",
    "unable to resolve host address \u{2018}",
    "Failed to connect to ",
];

/// How many addresses a message names.
const NAMED: usize = 4;

impl Failure<'_> {
    /// It wants to download something.
    pub(super) fn network(&self) -> Option<String> {
        if !self.says_any(&SIGNS) {
            return None;
        }
        let package = self.package;
        let addresses = self.addresses();
        let wants = match addresses.is_empty() {
            true => String::new(),
            false => format!(": it wants {}", addresses.join(", ")),
        };
        let variables = self.variables();
        let among = match variables.is_empty() {
            true => "if its build script reads one".to_owned(),
            false => format!("its build script reads {}", variables.join(", ")),
        };
        Some(format!(
            "{package} tries the network, which no unit has{wants}. Let it be downloaded by its hash before, and say by a \
             variable where it lies ({among}). In images.toml, add the following and run `assemble lock`:\n\n{}",
            self.lines(&addresses, &variables)
        ))
    }

    /// What it wants: addresses that it names; else those that its sources name, or at least hosts.
    fn addresses(&self) -> Vec<String> {
        let mut found: Vec<String> = words::addresses(self.said);
        if found.is_empty() {
            let sources = self.sources();
            let code = sources.iter().flat_map(|source| source.lines());
            let code = code.filter(|line| !line.trim_start().starts_with("//"));
            found = code.flat_map(words::quoted_addresses).collect();
        }
        if found.is_empty() {
            found = words::names_after(self.said, &HOSTS);
        }
        let mut known = Vec::new();
        for address in found {
            if !known.contains(&address) {
                known.push(address);
            }
        }
        known.truncate(NAMED);
        known
    }

    /// The lines to add for these addresses.
    fn lines(&self, addresses: &[String], variables: &[String]) -> String {
        let unknown = ["https://\u{2026}".to_owned()];
        let addresses = match addresses.is_empty() {
            true => &unknown[..],
            false => addresses,
        };
        let (mut parts, mut places, mut settings) = (String::new(), Vec::new(), Vec::new());
        for (index, address) in addresses.iter().enumerate() {
            let name = match addresses.len() {
                1 => self.package.to_owned(),
                _ => format!("{}-{}", self.package, index + 1),
            };
            let url = match address.contains("://") {
                true => address.clone(),
                false => format!("https://{address}/\u{2026}"),
            };
            let file = format!("downloads/{}", words::file_of(&url).unwrap_or("FILE"));
            let numbered = || match index {
                0 => "VARIABLE".to_owned(),
                more => format!("VARIABLE_{}", more + 1),
            };
            let variable = variables.get(index).cloned().unwrap_or_else(numbered);
            parts += &format!("    [parts.{name}]\n    download = {{ url = {url:?} }}\n\n");
            places.push(format!("{{ part = {name:?}, path = {file:?} }}"));
            let directory = &self.request.unit.source_dir;
            settings.push(format!("{variable} = \"{directory}/{file}\""));
        }
        format!(
            "{parts}    [crates.{}]\n    parts = [{}]\n    environment = {{ {} }}\n",
            self.package,
            places.join(", "),
            settings.join(", ")
        )
    }
}
