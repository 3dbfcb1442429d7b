//! The contents of all files of an image, in one pass over its layers.

use std::collections::BTreeMap;
use std::io::Read;

use crateyard_oci::{Blobs, Manifest};

use super::{File, FileKind, LayerStream, Listing};
use crate::Result;

/// A function that takes the content of a file, with the paths and the entries that have it.
pub(crate) type TakeContent<'a> = dyn FnMut(&[(&str, &File)], &mut dyn Read) -> Result<()> + 'a;

impl Listing {
    /// Hands over the content of each regular file, in the order of the layers, with the paths that
    /// have it. Hard links to one file are several paths.
    ///
    /// # Errors
    /// When a layer is damaged, or `take` fails.
    pub(crate) fn for_each_content(
        &self,
        blobs: &dyn Blobs,
        manifest: &Manifest,
        take: &mut TakeContent<'_>,
    ) -> Result<()> {
        let mut wanted: BTreeMap<(usize, usize), Vec<(&str, &File)>> = BTreeMap::new();
        for (path, file) in self.files() {
            if matches!(file.kind, FileKind::File | FileKind::HardLink) {
                wanted.entry(file.content).or_default().push((path, file));
            }
        }
        for (number, layer) in manifest.layers.iter().enumerate() {
            let mut stream = LayerStream::open(blobs, layer)?;
            let mut ordinal = 0;
            while stream.next_entry()?.is_some() {
                if let Some(paths) = wanted.get(&(number, ordinal)) {
                    take(paths, &mut stream.reader)?;
                }
                ordinal += 1;
            }
            stream.finish()?;
        }
        Ok(())
    }
}
