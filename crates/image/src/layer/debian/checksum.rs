//! MD5 digests, the only ones that dpkg's database has.

use std::io::{self, Read};

use crateyard_oci::digest::hex;
use md5::Digest as _;

/// A reader that computes the MD5 digest of its bytes, if the digest is wanted.
pub(super) struct Md5Reader<'a> {
    inner: &'a mut dyn Read,
    state: Option<md5::Md5>,
}

impl<'a> Md5Reader<'a> {
    pub(super) fn new(inner: &'a mut dyn Read, wanted: bool) -> Md5Reader<'a> {
        Md5Reader {
            inner,
            state: wanted.then(md5::Md5::new),
        }
    }

    pub(super) fn finish(self) -> String {
        self.state
            .map_or(String::new(), |state| hex(&state.finalize()))
    }
}

impl Read for Md5Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(state) = &mut self.state {
            state.update(&buffer[..read]);
        }
        Ok(read)
    }
}
