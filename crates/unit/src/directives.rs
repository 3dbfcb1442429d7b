//! The directives on a build script's standard output.
//! <https://doc.rust-lang.org/cargo/reference/build-scripts.html#outputs-of-the-build-script>

use crate::{Target, TargetKind};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The directives of one build script, in the order in which it printed them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Directives {
    /// `-L`: native search paths, which may have a `KIND=` before the path.
    pub link_search: Vec<String>,
    /// `-l`: native libraries.
    pub link_libs: Vec<String>,
    /// `-C link-arg`, and the targets that it is for.
    pub link_args: Vec<LinkArg>,
    /// `--cfg`.
    pub cfgs: Vec<String>,
    /// `--check-cfg`.
    pub check_cfgs: Vec<String>,
    /// Environment variables for the package's other units.
    pub env: Vec<(String, String)>,
    /// Keys and values for the `DEP_*` variables of build scripts of packages that depend on this
    /// one.
    pub metadata: Vec<(String, String)>,
    /// Warnings for people.
    pub warnings: Vec<String>,
}

/// An argument for the linker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkArg {
    /// The targets that it is for.
    pub scope: Scope,
    /// The argument.
    pub arg: String,
}

/// The targets that an argument for the linker is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Everything that is linked.
    All,
    /// C dynamic libraries.
    Cdylib,
    /// All binaries.
    Bins,
    /// The binary of this name.
    Bin(String),
    /// Tests.
    Tests,
    /// Benchmarks.
    Benches,
    /// Examples.
    Examples,
}

impl Scope {
    /// Whether an argument of this scope is for `target`.
    pub fn applies_to(&self, target: &Target) -> bool {
        match self {
            Self::All => true,
            Self::Cdylib => target.kind == TargetKind::Cdylib,
            Self::Bins => target.kind == TargetKind::Bin,
            Self::Bin(name) => target.kind == TargetKind::Bin && *name == target.name,
            Self::Tests => target.kind == TargetKind::Test,
            Self::Benches => target.kind == TargetKind::Bench,
            Self::Examples => target.kind == TargetKind::Example,
        }
    }
}

impl Directives {
    /// Reads a build script's standard output.
    ///
    /// # Errors
    /// When a directive is malformed, or the script reports an error by `cargo::error`.
    pub fn parse(stdout: &str) -> Result<Self> {
        let mut directives = Self::default();
        let mut errors = Vec::new();
        for line in stdout.lines() {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("cargo::") {
                let (key, value) = split(rest, line)?;
                match key {
                    "error" => errors.push(value.to_owned()),
                    "metadata" => {
                        let (key, value) = split(value, line)?;
                        directives.push_metadata(key, value);
                    }
                    _ if !directives.push(key, value, line)? => {
                        bail!("the build script printed {line:?}, which Cargo does not know")
                    }
                    _ => {}
                }
            } else if let Some(rest) = line.strip_prefix("cargo:") {
                let (key, value) = split(rest, line)?;
                if !directives.push(key, value, line)? {
                    directives.push_metadata(key, value);
                }
            }
        }
        if !errors.is_empty() {
            bail!("the build script reports: {}", errors.join("; "));
        }
        Ok(directives)
    }

    fn push_metadata(&mut self, key: &str, value: &str) {
        self.metadata.push((key.to_owned(), value.to_owned()));
    }

    /// Takes one directive. Returns `false` if Cargo does not know the key.
    fn push(&mut self, key: &str, value: &str, line: &str) -> Result<bool> {
        let owned = value.to_owned();
        match key {
            "rustc-link-search" => self.link_search.push(owned),
            "rustc-link-lib" => self.link_libs.push(owned),
            "rustc-flags" => self.push_flags(value, line)?,
            "rustc-link-arg" => self.push_link_arg(Scope::All, value),
            "rustc-link-arg-bins" => self.push_link_arg(Scope::Bins, value),
            "rustc-link-arg-tests" => self.push_link_arg(Scope::Tests, value),
            "rustc-link-arg-benches" => self.push_link_arg(Scope::Benches, value),
            "rustc-link-arg-examples" => self.push_link_arg(Scope::Examples, value),
            "rustc-link-arg-cdylib" | "rustc-cdylib-link-arg" => {
                self.push_link_arg(Scope::Cdylib, value);
            }
            "rustc-link-arg-bin" => {
                let (bin, arg) = split(value, line)?;
                self.push_link_arg(Scope::Bin(bin.to_owned()), arg);
            }
            "rustc-cfg" => self.cfgs.push(owned),
            "rustc-check-cfg" => self.check_cfgs.push(owned),
            "rustc-env" => {
                let (name, value) = split(value, line)?;
                self.env.push((name.to_owned(), value.to_owned()));
            }
            "warning" => self.warnings.push(owned),
            "rerun-if-changed" | "rerun-if-env-changed" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn push_link_arg(&mut self, scope: Scope, arg: &str) {
        let arg = arg.to_owned();
        self.link_args.push(LinkArg { scope, arg });
    }

    /// Takes `rustc-flags`, which may hold only `-l` and `-L`, joined to their value or not.
    fn push_flags(&mut self, flags: &str, line: &str) -> Result<()> {
        let mut words = flags.split_whitespace();
        while let Some(word) = words.next() {
            let Some((flag, joined)) = word.split_at_checked(2) else {
                bail!("{line:?}: only -l and -L flags are allowed");
            };
            let value = if joined.is_empty() {
                words.next().unwrap_or_default()
            } else {
                joined
            };
            match flag {
                "-l" => self.link_libs.push(value.to_owned()),
                "-L" => self.link_search.push(value.to_owned()),
                _ => bail!("{line:?}: only -l and -L flags are allowed, not {word:?}"),
            }
        }
        Ok(())
    }
}

fn split<'a>(text: &'a str, line: &str) -> Result<(&'a str, &'a str)> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key, value.trim_end())),
        None => bail!("the build script printed {line:?}, which has no `KEY=VALUE`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_syntaxes_are_read() {
        let parsed = Directives::parse(
            "noise\ncargo:rustc-cfg=a\ncargo::rustc-cfg=b=\"c\"\ncargo:include=/x\n\
             cargo::metadata=k=v=w\ncargo:rustc-flags=-l z -L/lib\ncargo:rerun-if-changed=x\n",
        )
        .unwrap();
        assert_eq!(parsed.cfgs, ["a", "b=\"c\""]);
        assert_eq!(parsed.link_libs, ["z"]);
        assert_eq!(parsed.link_search, ["/lib"]);
        let metadata = [("include", "/x"), ("k", "v=w")].map(|(k, v)| (k.into(), v.into()));
        assert_eq!(parsed.metadata, metadata);
    }

    #[test]
    fn what_cargo_refuses_is_refused() {
        assert!(Directives::parse("cargo::no-such-thing=1").is_err());
        assert!(Directives::parse("cargo:rustc-flags=-O").is_err());
        let error = Directives::parse("cargo::error=no zlib here").unwrap_err();
        assert!(error.to_string().contains("no zlib here"));
    }

    #[test]
    fn link_arguments_reach_their_targets_only() {
        let bin = |name: &str| Target {
            kind: TargetKind::Bin,
            name: name.into(),
            test: false,
        };
        assert!(Scope::Bin("a".into()).applies_to(&bin("a")));
        assert!(!Scope::Bin("a".into()).applies_to(&bin("b")));
        assert!(Scope::Bins.applies_to(&bin("b")));
        assert!(!Scope::Cdylib.applies_to(&bin("b")));
        assert!(Scope::All.applies_to(&bin("b")));
    }
}
