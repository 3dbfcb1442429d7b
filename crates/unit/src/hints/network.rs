//! A unit that tries to download something: the addresses, and the lines of `images.toml` that
//! bring the files.

use std::collections::BTreeMap;

use super::pairs::{Pairs, pairs};
use super::{Failure, downloader, words};
use crate::Action;

/// Words of programs that can't reach the network, in lower case.
const SIGNS: [&str; 29] = [
    // The kernel's errors, by their texts and as Rust and Node.js name them.
    "network is unreachable",
    "network unreachable",
    "networkunreachable",
    "connect enetunreach",
    "no route to host",
    "hostunreachable",
    // The C library's errors about names: glibc's, musl's, and Node.js's and Python's words.
    "temporary failure in name resolution",
    "name or service not known",
    "no address associated with hostname",
    "name does not resolve",
    "getaddrinfo e",
    "gaierror",
    // Resolvers and clients. "failed to resolve" alone is rustc's.
    "could not resolve host",
    "couldn't resolve host",
    "unable to resolve host",
    "failed to resolve host",
    "failed to resolve address",
    "failed to lookup address",
    "no such host",
    "hostnotfound",
    "dns error",
    "dns failed",
    "dns lookup",
    "failed to connect to",
    "couldn't connect to server",
    "could not connect to server",
    "error trying to connect",
    "error sending request",
    "tcp connect error",
];

/// Words in front of the name of a host, in lower case.
const HOSTS: [&str; 9] = [
    "could not resolve host: ",
    "couldn't resolve host: ",
    "unable to resolve host address \u{2018}",
    "unable to resolve host address '",
    "failed to resolve address for ",
    "getaddrinfo enotfound ",
    "getaddrinfo eai_again ",
    "resolve dns name '",
    "failed to connect to ",
];

/// The number of addresses that a message names.
const NAMED: usize = 4;

/// A file that a unit tries to download.
struct Wanted {
    /// The address. It may be a host alone, or have `{…}` in it.
    url: String,
    /// The name for the part.
    part: String,
    /// The place for the file, relative to the package.
    place: String,
    /// The variable that the sources tie to the address.
    variable: Option<String>,
}

impl Failure<'_> {
    /// Explains a failed download.
    pub(super) fn network(&self) -> Option<String> {
        let said = self.said.to_ascii_lowercase();
        let says = SIGNS.iter().any(|sign| said.contains(sign));
        says.then(|| self.pin_downloads("tries the network, which no unit has"))
    }

    /// Says that the package `tries` something, and how to have the files before the build.
    pub(super) fn pin_downloads(&self, tries: &str) -> String {
        let package = self.package;
        let addresses = self.addresses();
        let named = &addresses[..addresses.len().min(NAMED)];
        let wants = match addresses.len() - named.len() {
            _ if addresses.is_empty() => String::new(),
            0 => format!(": it wants {}", named.join(", ")),
            more => format!(": it wants {} and {more} more", named.join(", ")),
        };
        let variables = self.variables();
        let files = self.wanted(named, &variables);
        let them = match files.len() {
            1 => "the file by its hash before the build, and set a variable to its place",
            _ => {
                "the files by their hashes before the build, and set a variable to the place of \
                 each"
            }
        };
        format!(
            "{package} {tries}{wants}. Let `assemble lock` pin {them}: {}.{} Add these lines to \
             images.toml and run `assemble lock`:\n\n{}",
            self.about_variables(&files, &variables),
            about_mirrors(&files),
            self.lines(&files)
        )
    }

    /// Returns the addresses of the wanted files: those in the output of the program, or else those
    /// in its sources, or else names of hosts.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut found: Vec<String> = words::addresses(self.said);
        if found.is_empty() {
            for code in self.code() {
                let quoted = words::quoted_addresses(&code).into_iter();
                found.extend(quoted.map(|(_, address)| address));
                found.extend(downloader::addresses(&code));
            }
        }
        if found.is_empty() {
            let scripts = self.scripts();
            found = scripts
                .iter()
                .flat_map(|text| words::addresses(text))
                .collect();
        }
        if found.is_empty() {
            found = words::names_after(&self.said.to_ascii_lowercase(), &HOSTS);
        }
        let mut known = Vec::new();
        for address in found {
            if !known.contains(&address) {
                known.push(address);
            }
        }
        known
    }

    /// Gives each file a part, a place of its own and the variable that the sources tie to it.
    fn wanted(&self, addresses: &[String], variables: &[String]) -> Vec<Wanted> {
        let mut tied = Pairs::new();
        for code in self.code() {
            tied.extend(pairs(&code, addresses, variables));
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        let unknown = ["https://\u{2026}".to_owned()];
        let addresses = if addresses.is_empty() {
            &unknown[..]
        } else {
            addresses
        };
        for (index, address) in addresses.iter().enumerate() {
            let part = match addresses.len() {
                1 => self.package.to_owned(),
                _ => format!("{}-{}", self.package, index + 1),
            };
            let url = match address.contains("://") {
                true => address.clone(),
                false => format!("https://{address}/\u{2026}"),
            };
            wanted.push(Wanted {
                place: file_name(&url).to_owned(),
                url,
                part,
                variable: tied.remove(address),
            });
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for file in &wanted {
            *names.entry(file.place.clone()).or_default() += 1;
        }
        for file in &mut wanted {
            // Two files of one name lie in directories of their own.
            file.place = match names[&file.place] {
                1 => format!("downloads/{}", file.place),
                _ => format!("downloads/{}/{}", file.part, file.place),
            };
        }
        wanted
    }

    /// Says which variables the program reads, and whether its sources tie them to the files.
    fn about_variables(&self, files: &[Wanted], variables: &[String]) -> String {
        let reader = match self.request.unit.action {
            Action::RunBuildScript { .. } => "its build script",
            _ => "its code",
        };
        let read = variables.join(", ");
        let is_tied = files.iter().all(|file| file.variable.is_some());
        match (variables.is_empty(), is_tied) {
            (true, _) => format!(
                "{reader} reads no variable that is not set, so change it to read one, VARIABLE \
                 below"
            ),
            (false, true) => format!("{reader} reads {read}"),
            (false, false) => format!(
                "{reader} reads {read}, but its text does not tie each file to one of them, so put \
                 the right name in the place of VARIABLE"
            ),
        }
    }

    /// Returns the lines to add for these files.
    fn lines(&self, files: &[Wanted]) -> String {
        let (mut parts, mut places, mut settings) = (String::new(), Vec::new(), Vec::new());
        let directory = &self.request.unit.source_dir;
        let mut unknown = 0;
        for file in files {
            let Wanted {
                url, part, place, ..
            } = file;
            let variable = file.variable.clone().unwrap_or_else(|| {
                unknown += 1;
                match unknown {
                    1 => "VARIABLE".to_owned(),
                    more => format!("VARIABLE_{more}"),
                }
            });
            parts += &format!("    [parts.{part}]\n    download = {{ url = {url:?} }}\n\n");
            places.push(format!("{{ part = {part:?}, path = {place:?} }}"));
            settings.push(format!("{variable} = \"{directory}/{place}\""));
        }
        format!(
            "{parts}    [crates.{}]\n    parts = [{}]\n    environment = {{ {} }}\n",
            self.package,
            places.join(", "),
            settings.join(", ")
        )
    }
}

/// Returns the name of the file at an address, or a word in its place.
fn file_name(url: &str) -> &str {
    words::file_of(url).unwrap_or("FILE")
}

/// Says what addresses with one file name may mean.
fn about_mirrors(files: &[Wanted]) -> &'static str {
    let is_again = |(index, file): (usize, &Wanted)| {
        let mut before = files[..index].iter();
        before.any(|other| {
            words::file_of(&other.url).is_some_and(|name| name == file_name(&file.url))
        })
    };
    match files.iter().enumerate().any(is_again) {
        true => " If addresses with one file name are mirrors of one file, keep the part of one.",
        false => "",
    }
}
