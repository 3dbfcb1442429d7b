//! Finds texts that must not be in a layer while the layer's files pass through.

use std::io::{self, Read};

use memchr::memmem::Finder;

use crate::{Error, Result};

/// The texts to look for.
pub(super) struct Forbidden<'a> {
    finders: Vec<Finder<'a>>,
    /// The length of the longest text.
    longest: usize,
}

impl<'a> Forbidden<'a> {
    pub(super) fn new(texts: &'a [String]) -> Result<Forbidden<'a>> {
        if let Some(number) = texts.iter().position(String::is_empty) {
            let at = format!("forbidden[{number}]");
            return Err(Error::spec(at, "an empty text is everywhere", "drop it"));
        }
        Ok(Forbidden {
            finders: texts.iter().map(Finder::new).collect(),
            longest: texts.iter().map(String::len).max().unwrap_or(0),
        })
    }

    /// Wraps the content of a file.
    pub(super) fn watch<'b>(&'b self, content: Box<dyn Read + 'b>) -> Watched<'b> {
        Watched {
            content,
            forbidden: self,
            before: Vec::new(),
            passed: 0,
            found: None,
        }
    }

    pub(super) fn check_link(&self, path: &str, target: &str) -> Result<()> {
        match self.find(target.as_bytes()) {
            Some((text, _)) => Err(found(
                path,
                &format!("points to {target}, which has {text:?}"),
            )),
            None => Ok(()),
        }
    }

    /// Fails if the content has a forbidden text. Call it after reading the content.
    pub(super) fn check_content(&self, path: &str, content: &Watched<'_>) -> Result<()> {
        match &content.found {
            Some((text, at)) => Err(found(path, &format!("holds {text:?} at byte {at}"))),
            None => Ok(()),
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<(String, usize)> {
        self.finders.iter().find_map(|finder| {
            let at = finder.find(bytes)?;
            Some((String::from_utf8_lossy(finder.needle()).into_owned(), at))
        })
    }
}

fn found(path: &str, problem: &str) -> Error {
    Error::spec(
        format!("/{path}"),
        problem,
        "build it so that it contains nothing of the machine, or remove the text from `forbidden`",
    )
}

/// The content of a file, searched while it is read.
pub(super) struct Watched<'a> {
    content: Box<dyn Read + 'a>,
    forbidden: &'a Forbidden<'a>,
    /// The last bytes of the previous piece, because a text may lie across two pieces.
    before: Vec<u8>,
    passed: u64,
    found: Option<(String, u64)>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        if self.forbidden.longest > 0 && self.found.is_none() {
            self.look_through(&buffer[..read]);
        }
        self.passed += read as u64;
        Ok(read)
    }
}

impl Watched<'_> {
    fn look_through(&mut self, piece: &[u8]) {
        let overlap = self.forbidden.longest - 1;
        let seam = self.before.len();
        let start = self.passed - seam as u64;
        let mut across = std::mem::take(&mut self.before);
        across.extend_from_slice(&piece[..piece.len().min(overlap)]);
        let in_piece = || {
            let (text, at) = self.forbidden.find(piece)?;
            Some((text, self.passed + at as u64))
        };
        self.found = match self.forbidden.find(&across) {
            Some((text, at)) => Some((text, start + at as u64)),
            None => in_piece(),
        };
        // Short pieces may have to be kept together with the bytes kept before them.
        if piece.len() < overlap {
            self.before = across;
        } else {
            self.before = piece.to_vec();
        }
        let superfluous = self.before.len().saturating_sub(overlap);
        self.before.drain(..superfluous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns its bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len()).min(self.0.len());
            let (piece, rest) = self.0.split_at(size);
            buffer[..size].copy_from_slice(piece);
            self.0 = rest;
            Ok(size)
        }
    }

    #[test]
    fn a_text_is_found_wherever_the_pieces_end() {
        let texts = ["/nix/store/".to_owned(), "secret".to_owned()];
        let forbidden = Forbidden::new(&texts).unwrap();
        for size in 1..40 {
            for (content, expected) in [
                ("a /nix/store/b", Some(2)),
                ("0123456789 and then the secret", Some(24)),
                ("/nix/stor /nix/store secre t /nix/stor", None),
                ("", None),
            ] {
                let mut watched = forbidden.watch(Box::new(Pieces(content.as_bytes(), size)));
                io::copy(&mut watched, &mut io::sink()).unwrap();
                let found = watched.found.map(|(_, at)| at);
                assert_eq!(found, expected, "{content} in pieces of {size}");
            }
        }
    }
}
