//! A unit that starts a program to download something: `curl`, `wget`, or `git` for a repository.
//! No unit has these programs, so their absence fails before the network's does.

use super::missing::NOT_FOUND;
use super::{Failure, words};

/// Programs that download files.
const DOWNLOADERS: [&str; 5] = ["curl", "wget", "wget2", "aria2c", "axel"];

/// Commands of git that fetch a repository.
const FETCHES: [&str; 5] = ["clone", "fetch", "pull", "submodule", "ls-remote"];

/// Commands of git about the repository in which they run.
const QUESTIONS: [&str; 2] = ["rev-parse", "describe"];

impl Failure<'_> {
    /// Explains that a program to download with, which the output names, is missing.
    pub(super) fn named_downloader(&self) -> Option<String> {
        if self.is_compiled() {
            return None;
        }
        let mut downloaders = DOWNLOADERS.iter();
        let named = downloaders.find(|program| words::names_program(self.said, program))?;
        self.says_any(&NOT_FOUND).then(|| self.lacks(named))
    }

    /// Explains that a program to download with, which only the sources name, is missing.
    pub(super) fn started_downloader(&self) -> Option<String> {
        // A shell names the program that it did not find.
        if self.is_compiled() || !self.says_any(&NOT_FOUND[..2]) {
            return None;
        }
        if self.downloads_by_git() {
            return Some(self.repository());
        }
        let (code, scripts) = (self.code(), self.scripts());
        let starts = |program: &&&str| {
            code.iter().any(|code| words::starts_program(code, program))
                || scripts
                    .iter()
                    .any(|text| words::names_program(text, program))
        };
        Some(self.lacks(DOWNLOADERS.iter().find(starts)?))
    }

    /// Whether the sources start git to fetch a repository, and ask nothing about their own.
    pub(super) fn downloads_by_git(&self) -> bool {
        let code = self.code();
        let runs = |commands: &[&str]| code.iter().any(|code| runs_git(code, commands));
        runs(&FETCHES) && !runs(&QUESTIONS)
    }

    fn lacks(&self, program: &str) -> String {
        let tries = format!(
            "starts {program} to download something, and no unit has {program} or a network"
        );
        self.pin_downloads(&tries)
    }

    /// Explains that there is no git, and how to have a repository before the build.
    fn repository(&self) -> String {
        let package = self.package;
        let addresses = self.addresses();
        let is_repository = |url: &&String| url.ends_with(".git");
        let url = addresses.iter().find(is_repository).or(addresses.first());
        let wants = match url {
            Some(url) => format!(": it wants {url}"),
            None => String::new(),
        };
        // An address with a query or with parts to be filled in is no address of an input.
        let url = url.filter(|url| !url.contains(['?', '{', '}']));
        let url = url.map_or("https://\u{2026}", String::as_str);
        let input = format!("{package}-repository");
        let place = format!("downloads/{input}");
        let directory = &self.request.unit.source_dir;
        let variables = self.variables();
        let (variable, reads) = match &variables[..] {
            [one] => (one.as_str(), format!("reads {one}")),
            [] => (
                "VARIABLE",
                "reads no variable that is not set, so change it to read one, VARIABLE below"
                    .to_owned(),
            ),
            more => (
                "VARIABLE",
                format!(
                    "reads {}, so put the right one in the place of VARIABLE",
                    more.join(", ")
                ),
            ),
        };
        format!(
            "{package} starts git to fetch a repository, and no unit has git or a \
             network{wants}. Pin the repository at one commit as an input of the flake, and set a \
             variable to its place: the code of {package} {reads}. Add these lines to flake.nix, \
             with `{input}` among the arguments of `outputs`:\n\n    \
             inputs.{input} = {{ url = \"git+{url}?rev=COMMIT\"; flake = false; }};\n    \
             parts.{input} = {input};    # in mkFlake {{ \u{2026} }}\n\n\
             and these to images.toml:\n\n    \
             [crates.{package}]\n    parts = [{{ part = {input:?}, path = {place:?} }}]\n    \
             environment = {{ {variable} = \"{directory}/{place}\" }}\n"
        )
    }
}

/// Whether a source has git and one of its commands as arguments, or in a shell command.
fn runs_git(code: &str, commands: &[&str]) -> bool {
    let is_word = |word: &str| code.contains(&format!("\"{word}\""));
    let is_command = |word: &str| code.contains(&format!("\"git {word}"));
    (is_word("git") && commands.iter().any(|word| is_word(word)))
        || commands.iter().any(|word| is_command(word))
}

/// Returns the addresses in a source's shell commands that download, such as
/// `"curl -L https://example.org/a -o a"`.
pub(super) fn addresses(code: &str) -> Vec<String> {
    let openings = DOWNLOADERS.map(|program| format!("\"{program} "));
    let openings: Vec<&str> = openings.iter().map(String::as_str).collect();
    let commands = words::quoted_after(code, &openings).into_iter();
    commands.flat_map(words::addresses).collect()
}

#[cfg(test)]
mod tests {
    use crate::hints::hint;
    use crate::hints::tests::package;

    const NO_PROGRAM: &str = "called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: \
                              NotFound, message: \"No such file or directory\" }";

    #[track_caller]
    fn says(build: &str, said: &str, wanted: &[&str]) {
        let (_directory, request) = package(build);
        let text = hint(&request, said).unwrap();
        for wanted in wanted {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
    }

    #[test]
    fn a_missing_program_that_downloads_is_named_with_the_lines_to_add() {
        let lines = [
            "it wants https://example.org/a.tgz. ",
            "[parts.app]\n    download = { url = \"https://example.org/a.tgz\" }",
            "path = \"downloads/a.tgz\"",
        ];
        // The program's name stands in the code, in a shell's message, or in that of a panic.
        let direct = "Command::new(\"curl\").args([\"-L\", \"https://example.org/a.tgz\"])";
        for (code, said, program) in [
            (direct, NO_PROGRAM, "curl"),
            (
                "run(\"wget\", &[URL]); const URL: &str = \"https://example.org/a.tgz\";",
                NO_PROGRAM,
                "wget",
            ),
            (
                "sh(\"curl -fsSL https://example.org/a.tgz | tar xz\")",
                "sh: 1: curl: not found",
                "curl",
            ),
            (
                "fetch(\"https://example.org/a.tgz\")",
                "could not run `wget`: No such file or directory (os error 2)",
                "wget",
            ),
        ] {
            let starts = format!("app starts {program} to download something, and no unit has");
            says(code, said, &[&[starts.as_str()][..], &lines].concat());
        }
    }

    #[test]
    fn modules_and_scripts_of_a_build_script_are_read() {
        let (directory, request) = package("mod get;\nfn main() { get::all() }");
        let write = |file: &str, text: &str| {
            std::fs::write(directory.path().join(file), text).unwrap();
        };
        write("get.rs", "Command::new(\"sh\").arg(\"get.sh\")");
        write(
            "get.sh",
            "# https://example.org/documentation\nwget https://example.org/a.tgz\n",
        );
        let text = hint(&request, NO_PROGRAM).unwrap();
        assert!(
            text.contains("it wants https://example.org/a.tgz. "),
            "{text}"
        );
    }

    #[test]
    fn a_repository_is_an_input_of_the_flake() {
        for code in [
            "Command::new(\"git\").args([\"clone\", \"https://example.org/a.git\"])",
            "Command::new(\"git\").args([\"submodule\", \"update\"]); \
             const FROM: &str = \"https://example.org/a.git\";",
        ] {
            says(
                code,
                NO_PROGRAM,
                &[
                    "it wants https://example.org/a.git. ",
                    "url = \"git+https://example.org/a.git?rev=COMMIT\"; flake = false;",
                    "parts = [{ part = \"app-repository\"",
                ],
            );
        }
    }

    #[test]
    fn git_that_asks_for_the_revision_too_is_no_download() {
        let (_directory, request) = package(
            "Command::new(\"git\").args([\"rev-parse\", \"HEAD\"]); \
             run(\"git\", &[\"submodule\", \"status\"])",
        );
        let text = hint(&request, NO_PROGRAM).unwrap();
        assert!(text.contains("revision = true"), "{text}");
    }

    #[test]
    fn an_address_with_a_query_is_no_input() {
        says(
            "Command::new(\"git\").args([\"clone\", \"https://example.org/{version}/a\"])",
            NO_PROGRAM,
            &["url = \"git+https://\u{2026}?rev=COMMIT\""],
        );
        says(
            "see(\"https://example.org/manual\"); \
             Command::new(\"git\").args([\"clone\", \"https://example.org/a.git\"])",
            NO_PROGRAM,
            &["url = \"git+https://example.org/a.git?rev=COMMIT\""],
        );
    }

    #[test]
    fn a_compiler_starts_no_downloader() {
        let (_directory, mut request) = package("fn main() { Command::new(\"curl\"); x }");
        let action = serde_json::json!({
            "kind": "compile", "program": "rustc", "args": [], "outDir": "/target",
            "buildScript": null,
            "target": { "kind": "bin", "name": "app" }, "native": [], "takesLinkLibs": false,
        });
        request.unit.action = serde_json::from_value(action).unwrap();
        for said in [
            "error[E0425]: cannot find value `x` in this scope\n  not found in this scope",
            "error[E0433]: could not find `Easy` in `curl`\n  not found in `curl`",
        ] {
            assert_eq!(hint(&request, said), None, "{said}");
        }
    }

    #[test]
    fn another_missing_file_is_no_download() {
        let (_directory, request) = package("read(\"data.bin\"); log(\"no curled lines\")");
        assert_eq!(hint(&request, NO_PROGRAM), None);
        // A header of a library, and a program that downloads nothing.
        let header = "fatal error: curl/curl.h: No such file or directory";
        assert_eq!(hint(&request, header), None);
        let (_directory, request) = package("Command::new(\"protoc\")");
        assert_eq!(hint(&request, "sh: 1: frob: not found"), None);
    }
}
