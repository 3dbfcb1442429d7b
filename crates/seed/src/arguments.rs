//! The command line.

use alloc::format;
use alloc::vec::Vec;

use crate::error::{Error, shown};
use crate::files::Mapped;

/// The output of `seed --help`.
pub(crate) const HELP: &str = "\
The seed unpacks .deb files into a root file system and runs a command in a cell.

Usage:
  seed unpack --into DIR [OPTION]... PACKAGE.deb...
      --into DIR               the root to make (must not exist, or be empty)
      --exclude PREFIX         leave out this path and what is below it
      --mkdir PATH             make a directory
      --symlink PATH=TARGET    make a symbolic link, in place of what is there
      --text PATH=CONTENT      write a file, in place of what is there
      --ca-certificates PATH   write all of usr/share/ca-certificates into one file
  seed cell --root DIR [OPTION]... -- PROGRAM [ARGUMENT]...
      --root DIR               the root file system; of several, the earlier wins
      --bind SOURCE=PATH       show a file or directory from outside in the cell
      --writable PATH          make an empty directory that can be written to
      --memory PATH            the same, in memory where there is some
      --env NAME=VALUE         set a variable
      --clear-env              pass no variables from outside
      --cwd DIR                where the program starts (/build)
      --no-network             no network but an own loopback
  seed --version | --help

  --from-file FILE, anywhere, stands for the lines of FILE, each one argument.

Exit codes: 64 usage, 65 damaged package, 74 input or output, 125 no cell,
126 not executable, 127 not found; else the program's own (128+N: signal N).
";

/// A parsed command line.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Unpack(Unpack),
    Cell(Cell),
}

/// The options of `seed unpack`.
#[derive(Debug, Default)]
pub(crate) struct Unpack {
    /// The root directory to make.
    pub(crate) into: Vec<u8>,
    /// Paths to leave out, with everything below them.
    pub(crate) exclude: Vec<Vec<u8>>,
    /// Additions to make after unpacking, in this order.
    pub(crate) additions: Vec<Addition>,
    /// The path of the file with all certificates, if there is to be one.
    pub(crate) ca_certificates: Option<Vec<u8>>,
    /// The packages to unpack, in this order.
    pub(crate) packages: Vec<Vec<u8>>,
}

/// An entry of the root that no package holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Addition {
    Directory { path: Vec<u8> },
    Symlink { path: Vec<u8>, target: Vec<u8> },
    Text { path: Vec<u8>, content: Vec<u8> },
}

/// The options of `seed cell`.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// Root file systems. If several have a file, the cell shows that of the first.
    pub(crate) roots: Vec<Vec<u8>>,
    /// Pairs of a source outside and a place in the cell.
    pub(crate) binds: Vec<(Vec<u8>, Vec<u8>)>,
    /// Places in the cell for empty, writable directories.
    pub(crate) writable: Vec<Vec<u8>>,
    /// Places for empty directories in memory, which list their files in the same order on every
    /// machine.
    pub(crate) memory: Vec<Vec<u8>>,
    /// Variables to set: names and values.
    pub(crate) variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether to leave out the environment from outside.
    pub(crate) clear_environment: bool,
    /// The directory in which the program starts.
    pub(crate) directory: Option<Vec<u8>>,
    /// Whether the cell has a network of its own, which is a loopback interface alone.
    pub(crate) no_network: bool,
    /// The program and its arguments.
    pub(crate) program: Vec<Vec<u8>>,
}

/// Reads a command line, which begins with the program's name.
///
/// # Errors
/// When it is malformed, or a file of arguments cannot be read.
pub(crate) fn parse(arguments: Vec<Vec<u8>>) -> Result<Command, Error> {
    let mut arguments = insert_files(arguments)?.into_iter().skip(1);
    match arguments.next().as_deref() {
        Some(b"unpack") => unpack(arguments).map(Command::Unpack),
        Some(b"cell") => cell(arguments).map(Command::Cell),
        Some(b"--help" | b"-h") => Ok(Command::Help),
        Some(b"--version") => Ok(Command::Version),
        Some(other) => Err(Error::Usage(format!("unknown command {}", shown(other)))),
        None => Err(Error::Usage("a command is missing".into())),
    }
}

/// Puts the lines of files in place of `--from-file FILE`. Arguments after `--` are the program's
/// and stay as they are.
fn insert_files(arguments: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
    let mut all = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == b"--" {
            all.push(argument);
            all.extend(arguments);
            break;
        }
        if argument != b"--from-file" {
            all.push(argument);
            continue;
        }
        let path = value(&mut arguments, "--from-file")?;
        let file = Mapped::open(&path)?;
        let lines = file.bytes().strip_suffix(b"\n").unwrap_or(file.bytes());
        if !lines.is_empty() {
            all.extend(lines.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
        }
    }
    Ok(all)
}

fn unpack(mut arguments: impl Iterator<Item = Vec<u8>>) -> Result<Unpack, Error> {
    let mut unpack = Unpack::default();
    while let Some(argument) = arguments.next() {
        match argument.as_slice() {
            b"--into" => unpack.into = value(&mut arguments, "--into")?,
            b"--exclude" => unpack.exclude.push(value(&mut arguments, "--exclude")?),
            b"--ca-certificates" => {
                unpack.ca_certificates = Some(value(&mut arguments, "--ca-certificates")?)
            }
            b"--mkdir" => {
                let path = value(&mut arguments, "--mkdir")?;
                unpack.additions.push(Addition::Directory { path });
            }
            b"--symlink" => {
                let (path, target) = pair(&mut arguments, "--symlink", "PATH=TARGET")?;
                unpack.additions.push(Addition::Symlink { path, target });
            }
            b"--text" => {
                let (path, content) = pair(&mut arguments, "--text", "PATH=CONTENT")?;
                unpack.additions.push(Addition::Text { path, content });
            }
            _ if argument.starts_with(b"-") => return Err(unknown("unpack", &argument)),
            _ => unpack.packages.push(argument),
        }
    }
    if unpack.into.is_empty() {
        return Err(Error::Usage("`seed unpack` needs `--into DIR`".into()));
    }
    Ok(unpack)
}

fn cell(mut arguments: impl Iterator<Item = Vec<u8>>) -> Result<Cell, Error> {
    let mut cell = Cell::default();
    while let Some(argument) = arguments.next() {
        match argument.as_slice() {
            b"--root" => cell.roots.push(value(&mut arguments, "--root")?),
            b"--bind" => cell
                .binds
                .push(pair(&mut arguments, "--bind", "SOURCE=PATH")?),
            b"--writable" => cell.writable.push(value(&mut arguments, "--writable")?),
            b"--memory" => cell.memory.push(value(&mut arguments, "--memory")?),
            b"--env" => cell
                .variables
                .push(pair(&mut arguments, "--env", "NAME=VALUE")?),
            b"--clear-env" => cell.clear_environment = true,
            b"--cwd" => cell.directory = Some(value(&mut arguments, "--cwd")?),
            b"--no-network" => cell.no_network = true,
            b"--" => {
                cell.program = arguments.collect();
                break;
            }
            _ => return Err(unknown("cell", &argument)),
        }
    }
    if cell.roots.is_empty() {
        return Err(Error::Usage("`seed cell` needs `--root DIR`".into()));
    }
    if cell.program.is_empty() {
        return Err(Error::Usage("`seed cell` needs `-- PROGRAM`".into()));
    }
    Ok(cell)
}

fn unknown(command: &str, argument: &[u8]) -> Error {
    Error::Usage(format!(
        "`seed {command}` does not know {}",
        shown(argument)
    ))
}

fn value(arguments: &mut impl Iterator<Item = Vec<u8>>, option: &str) -> Result<Vec<u8>, Error> {
    arguments
        .next()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Error::Usage(format!("`{option}` needs a value")))
}

/// Takes a value and cuts it in two at the first equals sign.
fn pair(
    arguments: &mut impl Iterator<Item = Vec<u8>>,
    option: &str,
    form: &str,
) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let value = value(arguments, option)?;
    match value.iter().position(|&byte| byte == b'=') {
        Some(equals) if equals > 0 => Ok((value[..equals].to_vec(), value[equals + 1..].to_vec())),
        _ => Err(Error::Usage(format!(
            "`{option}` needs {form}, not {}",
            shown(&value)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, Error> {
        let name = [&"seed"];
        parse(
            name.into_iter()
                .chain(arguments)
                .map(|argument| argument.as_bytes().to_vec())
                .collect(),
        )
    }

    #[test]
    fn values_are_cut_at_the_first_equals_sign() {
        let Ok(Command::Unpack(unpack)) =
            parsed(&["unpack", "--into", "d", "--text", "etc/x=a=b\n", "p.deb"])
        else {
            panic!("not understood");
        };
        assert_eq!(
            unpack.additions,
            [Addition::Text {
                path: b"etc/x".into(),
                content: b"a=b\n".into()
            }]
        );
        assert_eq!(unpack.packages, [b"p.deb"]);
    }

    #[test]
    fn what_follows_the_dashes_is_the_programs() {
        let Ok(Command::Cell(cell)) =
            parsed(&["cell", "--root", "r", "--", "cc", "--root", "--from-file"])
        else {
            panic!("not understood");
        };
        assert_eq!(cell.roots, [b"r"]);
        assert_eq!(cell.program, [&b"cc"[..], b"--root", b"--from-file"]);
    }

    #[test]
    fn mistakes_are_quoted() {
        for (arguments, quoted) in [
            (&["pack"][..], "`pack`"),
            (&["unpack", "p.deb"], "--into"),
            (&["unpack", "--into", "d", "--symlink", "x"], "`x`"),
            (&["cell", "--root", "r", "--bogus"], "`--bogus`"),
            (&["cell", "--root", "r"], "PROGRAM"),
        ] {
            let error = parsed(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 64);
            assert!(
                alloc::string::ToString::to_string(&error).contains(quoted),
                "{error}"
            );
        }
    }
}
