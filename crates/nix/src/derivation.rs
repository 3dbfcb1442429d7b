//! `.drv` files: derivations as Nix writes them, in ATerm syntax.
//! <https://nix.dev/manual/nix/latest/protocols/derivation-aterm>

use std::collections::BTreeMap;

/// A derivation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derivation {
    /// Its outputs by name.
    pub outputs: BTreeMap<String, Output>,
    /// The outputs of other derivations that it uses: `.drv` path to the names of the outputs.
    pub input_derivations: BTreeMap<String, Vec<String>>,
    /// Store paths that it uses as they are.
    pub input_sources: Vec<String>,
    /// The system that runs the builder, such as `x86_64-linux`; `builtin` for Nix itself.
    pub system: String,
    /// The program that builds.
    pub builder: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment. Bytes that are not valid UTF-8 are replaced.
    pub env: BTreeMap<String, String>,
}

/// An output of a derivation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its store path; empty if it is known only after the build.
    pub path: String,
    /// The algorithm that hashes its content; empty unless the content is known beforehand.
    pub hash_algorithm: String,
    /// The hash of its content; empty unless known beforehand.
    pub hash: String,
}

impl Derivation {
    /// Whether Nix itself downloads a file with a known hash. A derivation that builds something
    /// with a known hash, such as a component of a compiler, is not a download.
    pub fn is_download(&self) -> bool {
        self.system == "builtin" && self.outputs.values().any(|output| !output.hash.is_empty())
    }
}

/// The parser's expectation, and the position in bytes where it failed.
pub type Malformed = (&'static str, usize);

/// Reads the text of a `.drv` file.
///
/// # Errors
/// Fails if the text is not a derivation, or is of a kind that only unstable versions of Nix make.
pub fn parse(text: &[u8]) -> Result<Derivation, Malformed> {
    let mut reader = Reader { text, position: 0 };
    reader.expect(b"Derive(", "\"Derive(\" was expected")?;
    let outputs = reader.list(Reader::output)?.into_iter().collect();
    reader.comma()?;
    let input_derivations = reader.list(Reader::input)?.into_iter().collect();
    reader.comma()?;
    let input_sources = reader.list(Reader::string)?;
    reader.comma()?;
    let system = reader.string()?;
    reader.comma()?;
    let builder = reader.string()?;
    reader.comma()?;
    let args = reader.list(Reader::string)?;
    reader.comma()?;
    let env = reader.list(Reader::pair)?.into_iter().collect();
    reader.expect(b")", "the end was expected")?;
    Ok(Derivation {
        outputs,
        input_derivations,
        input_sources,
        system,
        builder,
        args,
        env,
    })
}

struct Reader<'a> {
    text: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn expect(&mut self, wanted: &[u8], message: &'static str) -> Result<(), Malformed> {
        if !self.text[self.position..].starts_with(wanted) {
            return Err((message, self.position));
        }
        self.position += wanted.len();
        Ok(())
    }

    fn comma(&mut self) -> Result<(), Malformed> {
        self.expect(b",", "a comma was expected")
    }

    fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.text.get(self.position).copied();
        self.position += 1;
        byte.ok_or(("the file ends too early", self.position - 1))
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.expect(b"[", "a list was expected")?;
        let mut items = Vec::new();
        if self.text.get(self.position) == Some(&b']') {
            self.position += 1;
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            match self.next()? {
                b',' => {}
                b']' => return Ok(items),
                _ => return Err(("a comma or the list's end was expected", self.position - 1)),
            }
        }
    }

    fn output(&mut self) -> Result<(String, Output), Malformed> {
        self.expect(b"(", "an output was expected")?;
        let name = self.string()?;
        self.comma()?;
        let path = self.string()?;
        self.comma()?;
        let hash_algorithm = self.string()?;
        self.comma()?;
        let hash = self.string()?;
        self.expect(b")", "the output's end was expected")?;
        let output = Output {
            path,
            hash_algorithm,
            hash,
        };
        Ok((name, output))
    }

    fn input(&mut self) -> Result<(String, Vec<String>), Malformed> {
        self.expect(b"(", "an input was expected")?;
        let path = self.string()?;
        self.comma()?;
        let outputs = self.list(Self::string)?;
        self.expect(b")", "the input's end was expected")?;
        Ok((path, outputs))
    }

    fn pair(&mut self) -> Result<(String, String), Malformed> {
        self.expect(b"(", "a variable was expected")?;
        let name = self.string()?;
        self.comma()?;
        let value = self.string()?;
        self.expect(b")", "the variable's end was expected")?;
        Ok((name, value))
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.expect(b"\"", "a string was expected")?;
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Ok(into_text(bytes)),
                b'\\' => bytes.push(match self.next()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                }),
                byte => bytes.push(byte),
            }
        }
    }
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        r#"Derive([("dev","/nix/store/b-x-dev","",""),("out","/nix/store/a-x","sha256","00")],"#,
        r#"[("/nix/store/c-y.drv",["out","dev"])],["/nix/store/d-source"],"#,
        r#""x86_64-linux","/bin/sh",["-c","echo \"$a\"\n\t\\"],"#,
        r#"[("a",""),("out","/nix/store/a-x")])"#
    );

    #[test]
    fn a_derivation_is_read_with_all_its_parts() {
        let derivation = parse(TEXT.as_bytes()).unwrap();
        assert_eq!(derivation.outputs["dev"].path, "/nix/store/b-x-dev");
        assert!(!derivation.is_download());
        let by_nix = TEXT.replace("x86_64-linux", "builtin");
        assert!(parse(by_nix.as_bytes()).unwrap().is_download());
        assert_eq!(
            derivation.input_derivations["/nix/store/c-y.drv"],
            ["out", "dev"]
        );
        assert_eq!(derivation.input_sources, ["/nix/store/d-source"]);
        assert_eq!(derivation.args, ["-c", "echo \"$a\"\n\t\\"]);
        assert_eq!(derivation.env["a"], "");
    }

    #[test]
    fn every_cut_is_an_error_with_its_place() {
        for end in 0..TEXT.len() {
            let (_, position) = parse(&TEXT.as_bytes()[..end]).unwrap_err();
            assert!(position <= end, "cut at {end}, error at {position}");
        }
        assert!(parse(br#"DrvWithVersion("xp-dyn-drv",[])"#).is_err());
    }
}
