//! Reads a workspace's Dockerfiles: the programs that they ship, and the ports that they expose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crateyard_spec::Port;

use crate::metadata::Package;
use crate::setcap::{self, Capabilities};
use crate::tree::{self, Kind};

/// Directories and names of Dockerfiles for developers and tests, not for releases.
const OTHERS: [&str; 8] = [
    "test",
    "bench",
    "example",
    "dev",
    "ci",
    "fuzz",
    "build-env",
    "cross",
];

/// The file that `assemble dockerfile` generates.
const OURS: &str = "Dockerfile.images";

/// The limits on words with variables, in bytes: for one word, and for all of a Dockerfile. Words
/// beyond them stay as they are.
const MAX_WORD: usize = 4096;
const MAX_REPLACED: usize = 1 << 20;

/// A Dockerfile.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    /// Its path, relative to the workspace.
    pub path: String,
    /// The capabilities that it gives programs by `setcap`.
    pub capabilities: Capabilities,
    /// Its stages, at least one.
    stages: Vec<Stage>,
}

/// A stage of a Dockerfile. Each may become an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// Its name, in lower case.
    name: Option<String>,
    /// Names of programs and packages in it.
    names: BTreeSet<String>,
    /// The exposed ports, sorted.
    pub ports: BTreeSet<Port>,
    /// The program that it starts, if it names one.
    started: Option<String>,
}

impl Stage {
    /// Whether it starts this program, or names none.
    pub(crate) fn starts(&self, bin: &str) -> bool {
        self.started.as_deref().is_none_or(|started| started == bin)
    }
}

impl Dockerfile {
    /// Whether it puts this program into an image. A package that it builds counts for all of its
    /// programs, unless it names one of them.
    pub(crate) fn holds(&self, package: &Package, bin: &str) -> bool {
        let mut all = package.binaries();
        self.names(bin)
            || (self.names_package(&package.name) && !all.any(|target| self.names(&target.name)))
    }

    fn names(&self, bin: &str) -> bool {
        self.stages.iter().any(|stage| stage.names.contains(bin))
    }

    fn names_package(&self, package: &str) -> bool {
        self.names(&package_name(package))
    }

    /// Returns the stage that ships this program: the last one that has it and runs something, or
    /// else the last one.
    pub(crate) fn stage_of(&self, bin: &str) -> Option<&Stage> {
        let runs = |stage: &&Stage| {
            let is_run = stage.started.is_some() || !stage.ports.is_empty();
            is_run && stage.names.contains(bin)
        };
        let mut stages = self.stages.iter();
        stages.rfind(runs).or(self.stages.last())
    }
}

/// Returns how [`Stage::names`] writes a package.
fn package_name(package: &str) -> String {
    format!("--package {package}")
}

/// Finds all Dockerfiles of a workspace.
pub(crate) fn below(root: &Path) -> Vec<Dockerfile> {
    let mut found = Vec::new();
    let mut pending = vec![(root.to_path_buf(), 0)];
    while let Some((directory, depth)) = pending.pop() {
        for entry in tree::entries(&directory) {
            let relative = tree::relative(&entry.path, root);
            match entry.kind {
                Kind::Directory if depth < tree::MAX_DEPTH && !tree::is_foreign(&entry.path) => {
                    pending.push((entry.path, depth + 1));
                }
                Kind::File if is_named(&relative) && !is_other(&relative) => {
                    let text = tree::text(&entry.path).unwrap_or_default();
                    found.push(read(relative, &text));
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn is_named(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ignores = name.ends_with(".dockerignore");
    let lower = name.to_lowercase();
    let named = ["dockerfile", "containerfile"].iter().any(|kind| {
        lower == *kind
            || lower.starts_with(&format!("{kind}."))
            || lower.ends_with(&format!(".{kind}"))
    });
    named && !ignores && name != OURS
}

fn is_other(path: &str) -> bool {
    let lower = path.to_lowercase();
    let mut words = lower.split(['/', '.', '-', '_']);
    words.any(|word| {
        OTHERS
            .iter()
            .any(|other| word == *other || word.strip_suffix('s') == Some(other))
            || ["benchmark", "benchmarks", "testing", "devcontainer"].contains(&word)
    })
}

/// Reads the stages and the names in the instructions.
fn read(path: String, text: &str) -> Dockerfile {
    let mut capabilities = Capabilities::new();
    let mut variables = Variables::default();
    let mut stages: Vec<Stage> = Vec::new();
    let mut stage = Stage::default();
    for instruction in instructions(text) {
        setcap::read(&instruction, &mut capabilities);
        let words = variables.words(&instruction);
        let Some((kind, arguments)) = words.split_first() else {
            continue;
        };
        match kind.to_uppercase().as_str() {
            "FROM" => {
                let next = begun(arguments, stages.iter().chain([&stage]));
                stages.push(std::mem::replace(&mut stage, next));
            }
            "ARG" | "ENV" => variables.set(arguments),
            "EXPOSE" => {
                let ports = arguments.iter().filter_map(|it| it.parse::<Port>().ok());
                stage.ports.extend(ports);
            }
            "ENTRYPOINT" | "CMD" => {
                let program = arguments.first().map(|word| last(word).to_owned());
                stage.names.extend(program.clone());
                // After an ENTRYPOINT, CMD holds arguments, not a program.
                if kind.eq_ignore_ascii_case("entrypoint") || stage.started.is_none() {
                    stage.started = program;
                }
            }
            _ => stage.names.extend(named(arguments)),
        }
    }
    stages.push(stage);
    Dockerfile {
        path,
        capabilities,
        stages,
    }
}

/// Returns the stage that `FROM IMAGE AS NAME` begins. If the image is a stage, the new one has all
/// that this stage has.
fn begun<'s>(arguments: &[String], mut stages: impl Iterator<Item = &'s Stage>) -> Stage {
    let mut words = arguments.iter().filter(|word| !word.starts_with("--"));
    let base = words.next().map(|word| word.to_lowercase());
    let base = stages.find(|stage| stage.name.is_some() && stage.name == base);
    Stage {
        name: words.nth(1).map(|word| word.to_lowercase()),
        ..base.cloned().unwrap_or_default()
    }
}

/// Returns the instructions without comments, each on one line.
fn instructions(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut all: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        let (content, goes_on) = match line.strip_suffix('\\') {
            Some(content) => (content, true),
            None => (line, false),
        };
        match all.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(content);
            }
            None => all.push(content.to_owned()),
        }
        open = goes_on;
    }
    all
}

/// The variables of a Dockerfile.
#[derive(Default)]
struct Variables {
    values: BTreeMap<String, String>,
    /// The bytes of all words that had variables in them.
    replaced: usize,
}

impl Variables {
    /// Splits an instruction into words, and replaces the variables in them.
    fn words(&mut self, instruction: &str) -> Vec<String> {
        let separators = |c: char| c.is_whitespace() || "\"'[],;&|()".contains(c);
        let words = instruction
            .split(separators)
            .filter(|word| !word.is_empty());
        words
            .map(|word| self.replaced(word).unwrap_or_else(|| word.to_owned()))
            .collect()
    }

    /// Replaces the variables in a word: `${PORT}`, `${PORT:-80}`, `$PORT`. Returns `None` for a
    /// word that has none, or that is beyond the limits: variables can double each other.
    fn replaced(&mut self, word: &str) -> Option<String> {
        let fits = |text: &str| text.len() <= MAX_WORD;
        if !word.contains('$') || !fits(word) || self.replaced > MAX_REPLACED {
            return None;
        }
        let (mut text, mut rest) = (String::new(), word);
        while let Some((before, variable)) = rest.split_once('$') {
            let (name, default, after) = named_first(variable);
            text.push_str(before);
            text.push_str(self.values.get(name).map_or(default, String::as_str));
            if !fits(&text) {
                return None;
            }
            rest = after;
        }
        text.push_str(rest);
        self.replaced += text.len();
        Some(text).filter(|text| fits(text))
    }

    /// Sets variables from `NAME=VALUE …` or `NAME VALUE`.
    fn set(&mut self, arguments: &[String]) {
        if let [name, value] = arguments {
            if !name.contains('=') && !value.contains('=') {
                self.values.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in arguments.iter().filter_map(|word| word.split_once('=')) {
            self.values.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// Splits the text behind a `$`: the variable's name, its default, and what follows.
fn named_first(text: &str) -> (&str, &str, &str) {
    let braced = text.strip_prefix('{').and_then(|it| it.split_once('}'));
    if let Some((inside, after)) = braced {
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        return (name, default, after);
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (name, after) = text.split_at(end.unwrap_or(text.len()));
    (name, "", after)
}

/// Finds the programs and packages in commands and paths: `--bin NAME`, `--package NAME`,
/// `…/release/NAME`, `/usr/local/bin/NAME`.
fn named(arguments: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = arguments
        .iter()
        .flat_map(|word| match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => vec![option, value],
            _ => vec![word.as_str()],
        });
    while let Some(word) = words.next() {
        match word {
            "--bin" => found.extend(words.next().map(str::to_owned)),
            "-p" | "--package" => found.extend(words.next().map(package_name)),
            path if path.contains("/release/") || path.contains("/bin/") => {
                found.push(last(path).to_owned());
            }
            _ => {}
        }
    }
    found
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_name_programs_and_ports() {
        let text = "FROM rust AS build\nARG PORT=8080\nENV METRICS_PORT 9100\n# EXPOSE 1\nRUN \
                    cargo build --release \\\n  --bin=api -p worker && strip \
                    target/release/api\nFROM debian\nCOPY --from=build /w/target/release/api \
                    /usr/local/bin/\nEXPOSE $PORT/tcp ${METRICS_PORT} ${UDP:-53}/udp \
                    443\nENTRYPOINT [\"/usr/local/bin/api\", \"serve\"]\n";
        let file = read("Dockerfile".to_owned(), text);
        assert!(file.names("api"));
        assert!(file.names_package("worker"));
        assert!(!file.names("serve") && !file.names_package("serve"));
        let expected = ["53/udp", "443/tcp", "8080/tcp", "9100/tcp"];
        assert_eq!(ports(&file, "api"), expected);
    }

    fn ports(file: &Dockerfile, bin: &str) -> Vec<String> {
        let ports = &file.stage_of(bin).unwrap().ports;
        ports.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_stage_has_its_own_ports() {
        let text = "FROM rust AS build\nRUN cargo build --bin api --bin shop --bin job\nFROM \
                    debian AS Base\nEXPOSE 9000\nFROM base as api\nCOPY --from=build \
                    /w/target/release/api /\nEXPOSE 80\nENTRYPOINT [\"/api\"]\nFROM \
                    --platform=linux/amd64 debian AS shop\nCOPY --from=build \
                    /w/target/release/shop /\nEXPOSE 81\nCMD /shop\nFROM debian\nEXPOSE 82\n";
        let file = read("Dockerfile".to_owned(), text);
        assert_eq!(ports(&file, "api"), ["80/tcp", "9000/tcp"]);
        assert_eq!(ports(&file, "shop"), ["81/tcp"]);
        assert_eq!(ports(&file, "job"), ["82/tcp"]);
        let starts = |bin| file.stage_of(bin).unwrap().starts(bin);
        assert!(starts("api") && starts("shop") && starts("job"));
    }

    #[test]
    fn variables_stay_small() {
        let doubled = "FROM rust\nARG A=a\n".to_owned() + &"ARG A=$A$A\n".repeat(64);
        read("Dockerfile".to_owned(), &(doubled + "EXPOSE 80\n"));
        let mut one = Variables::default();
        one.set(&["A".to_owned(), "a".repeat(MAX_WORD / 2)]);
        assert_eq!(one.words("$A${A}")[0].len(), MAX_WORD);
        assert_eq!(one.words("$A$A$A $A$A/ x"), ["$A$A$A", "$A$A/", "x"]);

        let many = one.words(&"$A ".repeat(100_000));
        let bytes: usize = many.iter().map(String::len).sum();
        assert!(bytes < 2 * MAX_REPLACED, "{bytes}");
        // A word of many variables takes no stack.
        let long = "$X".repeat(1_000_000);
        assert_eq!(Variables::default().words(&long), [long]);
    }

    #[test]
    fn names_tell_releases_from_the_rest() {
        for path in [
            "Dockerfile",
            "docker/Dockerfile.alpine",
            "api.Dockerfile",
            "Containerfile",
        ] {
            assert!(is_named(path) && !is_other(path), "{path}");
        }
        for path in [
            "Dockerfile.images",
            "Dockerfile.dockerignore",
            "Dockerfile.rs.bak/x",
        ] {
            assert!(!is_named(path), "{path}");
        }
        for path in [
            "tests/Dockerfile",
            "Dockerfile.dev",
            ".ci/Dockerfile",
            "docker/Dockerfile-test.dockerfile",
        ] {
            assert!(is_other(path), "{path}");
        }
    }
}
