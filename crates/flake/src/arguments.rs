//! The arguments for `nix build` that the driver can honour too.

use std::ffi::OsString;

/// The parsed arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Settings: name and value.
    pub options: Vec<(String, String)>,
    /// `--keep-going`.
    pub keep_going: bool,
    /// `--keep-failed`.
    pub keep_failed: bool,
}

impl Arguments {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Returns the first argument that only `nix build` itself understands.
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut rest = arguments.iter().map(|text| text.to_string_lossy());
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(argument.to_string());
            match argument.as_ref() {
                "--option" => {
                    let name = value()?.into_owned();
                    parsed.options.push((name, value()?.into_owned()));
                }
                "--cores" => parsed.set("cores", &value()?),
                "-j" | "--max-jobs" => parsed.set("max-jobs", &value()?),
                "--offline" | "--no-substitute" => parsed.set("substitute", "false"),
                "-k" | "--keep-going" => parsed.keep_going = true,
                "-K" | "--keep-failed" => parsed.keep_failed = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.options.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the settings as arguments for any program of Nix.
    pub(crate) fn for_nix(&self) -> Vec<String> {
        let options = self.options.iter();
        options
            .flat_map(|(name, value)| ["--option".to_owned(), name.clone(), value.clone()])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Arguments::parse(&arguments)
    }

    #[test]
    fn what_the_driver_knows_is_told_from_what_it_does_not() {
        let known = parse(&["-k", "--option", "a", "b c", "--cores", "4"]).unwrap();
        assert!(known.keep_going);
        let expected = ["--option", "a", "b c", "--option", "cores", "4"];
        assert_eq!(known.for_nix(), expected);
        assert_eq!(parse(&["-k", "--rebuild"]).unwrap_err(), "--rebuild");
        assert_eq!(parse(&["--option", "a"]).unwrap_err(), "--option");
    }
}
