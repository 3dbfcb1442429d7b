//! Finds the first error in a builder's output: rustc's, Cargo's, or that of a panic.

use std::path::{Component, Path, PathBuf};

use crateyard_workspace::git::GitRepository;

/// The directory of every workspace while a unit is built.
const WORKSPACE: &str = "/workspace";

/// An error that a program has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnostic {
    /// Its first line, such as `error[E0308]: mismatched types`.
    pub message: String,
    /// The place that it names.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, relative to the top of the workspace or absolute, as the program names it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl Diagnostic {
    /// Finds the first error in an output without colours.
    pub(super) fn first(output: &str) -> Option<Self> {
        let lines: Vec<&str> = output.lines().collect();
        (0..lines.len()).find_map(|at| Self::at(&lines[at..]))
    }

    /// Reads the error that begins with the first of these lines.
    fn at(lines: &[&str]) -> Option<Self> {
        let (&first, rest) = lines.split_first()?;
        if first.starts_with("error: ") || first.starts_with("error[") && first.contains("]: ") {
            // An empty line ends the head of an error, in which its place is.
            let head = rest.iter().take_while(|line| !line.trim().is_empty());
            let mut places = head.filter_map(|line| line.trim_start().strip_prefix("--> "));
            return Some(Self {
                message: first.trim_start_matches("error: ").trim_end().to_owned(),
                place: places.next().and_then(Place::parse),
            });
        }
        let (thread, place) = first.split_once(" panicked at ")?;
        let place = Place::parse(place.strip_suffix(':')?)?;
        thread.starts_with("thread '").then(|| Self {
            message: rest.first().unwrap_or(&"panicked").trim().to_owned(),
            place: Some(place),
        })
    }
}

impl Place {
    /// Parses `FILE:LINE:COLUMN`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_end().rsplitn(3, ':');
        let column = parts.next()?.parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        let file = PathBuf::from(parts.next()?);
        Some(Self { file, line, column })
    }
}

/// Where the sources of a workspace are.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    workspace: PathBuf,
    /// The workspace's directory in its repository: empty at the top.
    below: PathBuf,
}

impl Sources {
    /// Finds the sources of the workspace in a directory.
    pub(super) fn of(workspace: &Path) -> Self {
        let place = workspace.canonicalize();
        let workspace = place.unwrap_or_else(|_| workspace.to_owned());
        let top = GitRepository::of(&workspace).map(|repository| repository.top);
        let below = top.and_then(|top| workspace.strip_prefix(top).ok().map(Path::to_owned));
        Self {
            below: below.unwrap_or_default(),
            workspace,
        }
    }

    /// Returns the path in the repository of a file that a program names. Returns `None` for files
    /// of other packages, generated files, and files that do not exist: the output is not to be
    /// trusted.
    pub(super) fn file(&self, named: &Path) -> Option<String> {
        let file = named.strip_prefix(WORKSPACE).unwrap_or(named);
        let is_below = file
            .components()
            .all(|it| matches!(it, Component::Normal(_)));
        let exists = is_below && self.workspace.join(file).is_file();
        exists.then(|| self.below.join(file).to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn first(output: &str) -> (String, Option<(String, u32, u32)>) {
        let found = Diagnostic::first(output).unwrap();
        let place = found.place.map(|place| {
            let file = place.file.to_string_lossy().into_owned();
            (file, place.line, place.column)
        });
        (found.message, place)
    }

    #[test]
    fn the_first_error_of_rustc_has_a_place() {
        let output = "\
warning: unused variable: `a`
 --> src/a.rs:1:2
  |

error[E0308]: mismatched types
  --> crates/api/src/lib.rs:30:5
   |
30 |     \"x\"

error: aborting due to 1 previous error; 1 warning emitted
";
        let place = ("crates/api/src/lib.rs".to_owned(), 30, 5);
        let message = "error[E0308]: mismatched types".to_owned();
        assert_eq!(first(output), (message, Some(place)));
    }

    #[test]
    fn errors_of_other_programs_count_too() {
        let linker = "error: linking with `cc` failed: exit status: 1\n  |\n  = note: x\n";
        let message = "linking with `cc` failed: exit status: 1".to_owned();
        assert_eq!(first(linker), (message, None));
        let cargo = "error: expected `.`, `=`\n --> Cargo.toml:3:5\n  |\n";
        let place = ("Cargo.toml".to_owned(), 3, 5);
        assert_eq!(first(cargo), ("expected `.`, `=`".to_owned(), Some(place)));
        let panic = "running 1 test\nthread 'main' (7) panicked at api/build.rs:4:9:\nno protoc\n\
                     note: run with `RUST_BACKTRACE=1`\nerror: the build script failed\n";
        let place = ("api/build.rs".to_owned(), 4, 9);
        assert_eq!(first(panic), ("no protoc".to_owned(), Some(place)));
        for none in ["", "all is well\n", "error\n", "an error: x\n"] {
            assert_eq!(Diagnostic::first(none), None, "{none}");
        }
    }

    #[test]
    fn an_error_names_a_file_of_the_repository_or_none() {
        let repository = tempfile::tempdir().unwrap();
        let workspace = repository.path().join("rust");
        fs::create_dir_all(repository.path().join(".git")).unwrap();
        fs::create_dir_all(workspace.join("src")).unwrap();
        fs::write(workspace.join("src/main.rs"), "").unwrap();
        fs::write(repository.path().join("secret"), "").unwrap();
        let sources = Sources::of(&workspace);
        for named in ["src/main.rs", "/workspace/src/main.rs"] {
            let file = sources.file(Path::new(named));
            assert_eq!(file.as_deref(), Some("rust/src/main.rs"));
        }
        for named in ["src/other.rs", "../secret", "/etc/passwd", "src", ""] {
            assert_eq!(sources.file(Path::new(named)), None, "{named}");
        }
    }
}
