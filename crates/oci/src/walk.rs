//! Walks through everything that a descriptor leads to.

use std::collections::BTreeSet;

use crate::{Blobs, Descriptor, Digest, Index, Manifest, Result, media_type, read_document};

/// Calls `visit` once with each thing that `root` leads to: a manifest's blobs, then the manifest;
/// an index's manifests, then the index. So nothing is visited before the things that it points to.
///
/// # Errors
/// When `visit` fails, or a document is missing, damaged, nested too deeply, or leads to too much.
pub fn walk<E: From<crate::Error>>(
    blobs: &dyn Blobs,
    root: &Descriptor,
    visit: &mut dyn FnMut(&Descriptor) -> Result<(), E>,
) -> Result<(), E> {
    let mut walk = Walk {
        blobs,
        seen: BTreeSet::new(),
        visit,
    };
    walk.go(root, 0)
}

struct Walk<'a, E> {
    blobs: &'a dyn Blobs,
    seen: BTreeSet<Digest>,
    visit: &'a mut dyn FnMut(&Descriptor) -> Result<(), E>,
}

impl<E: From<crate::Error>> Walk<'_, E> {
    fn go(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), E> {
        if !self.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        let (title, budget) = (self.blobs.title(), self.blobs.budget());
        budget.keep(&title, 1000)?;
        if media_type::is_index(&descriptor.media_type) {
            budget.depth(&title, depth + 1)?;
            let index: Index = read_document(self.blobs, descriptor)?;
            for below in &index.manifests {
                self.go(below, depth + 1)?;
            }
        } else if media_type::is_manifest(&descriptor.media_type) {
            let manifest: Manifest = read_document(self.blobs, descriptor)?;
            for blob in manifest.blobs() {
                if self.seen.insert(blob.digest.clone()) {
                    budget.keep(&title, 1000)?;
                    (self.visit)(blob)?;
                }
            }
        }
        (self.visit)(descriptor)
    }
}
