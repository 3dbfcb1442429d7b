//! Checks and normalizes an `images.toml` where only this program can run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crateyard_description::{Description, Sources, Targets, Workspace, locked_packages, names_of};

const USAGE: &str = "\
Checks and normalizes an images.toml.

usage: description normalize FILE --targets TARGETS.json [--name NAME] [--source-list LIST]
                             [--lock Cargo.lock [--pinned NAMES]] [--libraries NAMES]
                             [--parts NAMES] --out OUT.json
       description check FILE [--root DIR]

  normalize    write everything that FILE says, resolved, as JSON
    --targets      the workspace's packages and targets, as `plan` writes them
    --name         what FILE is called in messages
    --source-list  the workspace's files, one path a line: sources that are not among them are
                   errors
    --lock         the workspace's Cargo.lock: crates that are not in it are errors
    --pinned       the crates that debian.lock has packages for, with spaces between: those of them
                   that could compile a library's own copy take Debian's
    --libraries    the crates that debian.lock has libraries for, with spaces between: layers of
                   images that hold programs
    --parts        the parts that the flake hands over, with spaces between: others are errors
    --out          where to write; `-` is standard output
  check        say all that is wrong with FILE; its sources are looked for beside it, or under DIR

exit status: 0 fine, 64 wrong usage, 65 something is wrong with FILE or TARGETS, 66 no such input,
73 can't write
";

/// Exit codes, as in sysexits.h.
const USAGE_ERROR: u8 = 64;
const DATA_ERROR: u8 = 65;
const NO_INPUT: u8 = 66;
const CANT_CREATE: u8 = 73;

/// A message for standard error, and the exit code.
struct Failure {
    code: u8,
    message: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            eprintln!("{message}");
            ExitCode::from(code)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments.first().map(String::as_str) {
        Some("normalize") => normalize(&Arguments::parse(
            &arguments[1..],
            &[
                "--targets",
                "--name",
                "--source-list",
                "--lock",
                "--pinned",
                "--libraries",
                "--parts",
                "--out",
            ],
        )?),
        Some("check") => check(&Arguments::parse(&arguments[1..], &["--root"])?),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        Some("--version") => {
            println!("description {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Some(other) => Err(usage(format!("there is no command `{other}`"))),
        None => Err(usage("no command given".to_string())),
    }
}

/// The file, and the options with their values.
struct Arguments {
    file: PathBuf,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn parse(arguments: &[String], known: &[&str]) -> Result<Arguments, Failure> {
        let mut file = None;
        let mut options = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if known.contains(&argument.as_str()) {
                let value = rest.next();
                let value = value.ok_or_else(|| usage(format!("`{argument}` has no value")))?;
                options.push((argument.clone(), value.clone()));
            } else if argument.starts_with("--") || file.is_some() {
                return Err(usage(format!("unknown argument `{argument}`")));
            } else {
                file = Some(PathBuf::from(argument));
            }
        }
        let file = file.ok_or_else(|| usage("no FILE given".to_string()))?;
        Ok(Arguments { file, options })
    }

    fn option(&self, name: &str) -> Option<&str> {
        let given = self.options.iter().rev().find(|(option, _)| option == name);
        given.map(|(_, value)| value.as_str())
    }

    /// Returns the names that an option lists.
    fn names(&self, option: &str) -> BTreeSet<String> {
        let names = self.option(option).unwrap_or_default();
        names.split_ascii_whitespace().map(str::to_owned).collect()
    }

    fn required(&self, name: &str) -> Result<&str, Failure> {
        self.option(name)
            .ok_or_else(|| usage(format!("`{name}` is missing")))
    }
}

fn normalize(arguments: &Arguments) -> Result<(), Failure> {
    let targets = arguments.required("--targets")?;
    let out = arguments.required("--out")?;
    let file = arguments.file.display().to_string();
    let name = arguments.option("--name").unwrap_or(&file);
    let mut description = parse(&arguments.file, name)?;
    let targets = Targets::from_json(&read(Path::new(targets))?)
        .map_err(|error| bad_data(format!("{targets}: error: {error}")))?;
    let mut workspace = Workspace::new(targets);
    if let Some(list) = arguments.option("--source-list") {
        workspace.sources = Sources::listed(&read(Path::new(list))?);
    }
    if let Some(lock) = arguments.option("--lock") {
        let packages = locked_packages(&read(Path::new(lock))?)
            .map_err(|error| bad_data(format!("{lock}: error: {error}")))?;
        workspace.locked = Some(names_of(&packages));
        let pinned = arguments.names("--pinned");
        description = description.with_known_crates(&packages, |name| pinned.contains(name));
    }
    workspace.libraries = arguments.names("--libraries");
    if arguments.option("--parts").is_some() {
        workspace.parts = Some(arguments.names("--parts"));
    }
    let normal = description
        .normalize(&workspace)
        .map_err(|problems| bad_data(problems.to_string()))?;
    write(out, &normal.to_json())
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    let description = parse(&arguments.file, &arguments.file.display().to_string())?;
    let beside = arguments.file.parent().unwrap_or(Path::new(""));
    let root = arguments.option("--root").map_or(beside, Path::new);
    let root = if root.as_os_str().is_empty() {
        Path::new(".")
    } else {
        root
    };
    description
        .check_sources(&Sources::Disk(root.to_path_buf()))
        .map_err(|problems| bad_data(problems.to_string()))
}

fn parse(file: &Path, name: &str) -> Result<Description, Failure> {
    let text = read(file)?;
    Description::parse(&text, name).map_err(|problems| bad_data(problems.to_string()))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure {
        code: NO_INPUT,
        message: format!("error: can't read `{}`: {error}", path.display()),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        bad_data(format!(
            "error: `{}` is not UTF-8: byte {at} is the first invalid one",
            path.display()
        ))
    })
}

/// Writes a file beside `out` and renames it, so that `out` is never half a file.
fn write(out: &str, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure {
        code: CANT_CREATE,
        message: format!("error: can't write `{out}`: {error}"),
    };
    if out == "-" {
        return std::io::stdout().write_all(text.as_bytes()).map_err(failed);
    }
    let temporary = format!("{out}.{}.tmp", std::process::id());
    let written = fs::File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&temporary, out));
    written.map_err(|error| {
        // If removing fails, the file was never created, or the cause is the same.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

fn usage(message: String) -> Failure {
    Failure {
        code: USAGE_ERROR,
        message: format!("error: {message}\n\n{USAGE}"),
    }
}

fn bad_data(message: String) -> Failure {
    Failure {
        code: DATA_ERROR,
        message,
    }
}
