//! A unit that starts a program to download something: `curl`, `wget`, or `git` for a repository.
//! No unit has these programs, so their absence fails before the network's does.

use super::missing::NOT_FOUND;
use super::{Failure, words};

/// Programs that download files.
const DOWNLOADERS: [&str; 5] = ["curl", "wget", "wget2", "aria2c", "axel"];

/// Commands of git that fetch a repository.
const FETCHES: [&str; 5] = ["clone", "fetch", "pull", "submodule", "ls-remote"];

impl Failure<'_> {
    /// Explains that a program to download with, which the output names, is missing.
    pub(super) fn named_downloader(&self) -> Option<String> {
        let mut downloaders = DOWNLOADERS.iter();
        let named = downloaders.find(|program| words::names_program(self.said, program))?;
        self.says_any(&NOT_FOUND).then(|| self.lacks(named))
    }

    /// Explains that a program to download with, which only the sources name, is missing.
    pub(super) fn started_downloader(&self) -> Option<String> {
        if !self.says_any(&NOT_FOUND) {
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

    /// Whether the sources start git to fetch a repository.
    pub(super) fn downloads_by_git(&self) -> bool {
        self.code().iter().any(|code| {
            let is_word = |word: &str| code.contains(&format!("\"{word}\""));
            let is_command = |word: &str| code.contains(&format!("\"git {word}"));
            (is_word("git") && FETCHES.iter().any(|word| is_word(word)))
                || FETCHES.iter().any(|word| is_command(word))
        })
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
        let url = self.addresses().into_iter().next();
        let wants = match &url {
            Some(url) => format!(": it wants {url}"),
            None => String::new(),
        };
        let url = url.unwrap_or_else(|| "https://\u{2026}".to_owned());
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

    const NO_PROGRAM: &str = "called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFound, message: \
         \"No such file or directory\" }";

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
