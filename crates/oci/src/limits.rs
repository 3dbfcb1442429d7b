//! Limits for everything that is read.
//!
//! Every reader of an image draws from a [`Budget`]: documents, entries, bytes read and bytes kept.
//! All images that a command opens share one budget, even with many readers, so a hostile image
//! ends a command early, with an error that names the exceeded limit.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::json::values;
use crate::{Descriptor, Digest, Error, Result};

/// The most memory that an xz stream may ask for, in KiB, as in crates/seed. Debian's packages need
/// 65 MiB, archives of Rust's releases 129 MiB.
pub const MAX_XZ_MEMORY: u32 = 160 << 10;

/// Limits of reading one image. All sizes are in bytes.
///
/// ```
/// use crateyard_oci::{Budget, Limits};
///
/// let budget = Budget::new(Limits { entries: 2, ..Limits::default() });
/// assert!(budget.entries("layer sha256:…", 2).is_ok());
/// assert!(budget.entries("layer sha256:…", 1).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of one document (index, manifest, configuration): the size that the distribution
    /// specification obliges registries to accept.
    pub document: u64,
    /// The JSON values of one document.
    pub values: u64,
    /// The number of documents.
    pub documents: u64,
    /// The nesting depth of indexes.
    pub depth: usize,
    /// The number of entries in indexes, manifests, archives and layers together.
    pub entries: u64,
    /// The uncompressed bytes that all layers together may have, independent of the layers' size.
    pub read: u64,
    /// The uncompressed bytes that each byte of a layer adds to `read`. gzip reaches 1,032; zstd
    /// has no bound.
    pub growth: u64,
    /// The memory for documents, paths, attributes and kept content.
    pub kept: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            document: 4 << 20,
            values: 200_000,
            documents: 10_000,
            depth: 8,
            entries: 4_000_000,
            read: 1 << 30,
            growth: 2_000,
            kept: 144 << 20,
        }
    }
}

/// The longest path or link target, in bytes: the longest that Linux can open (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// The largest extended attribute that Linux can hold, in bytes (`XATTR_SIZE_MAX`).
pub const MAX_XATTR: usize = 64 << 10;
/// The size limit for the extended headers (PAX records, GNU long names) of one tar entry, in
/// bytes.
pub const MAX_EXTENDED_HEADER: u64 = 1 << 20;
/// The size of the largest document beside an image, such as a bill of materials, in bytes.
pub const MAX_ATTACHED: u64 = 16 << 20;
/// The JSON values of a document beside an image. A bill of materials has about 40 for each
/// component.
const MAX_ATTACHED_VALUES: u64 = 500_000;
/// The smallest size at which a file with almost no data on the disk counts as a hole and not as an
/// image.
const SPARSE: u64 = 16 << 30;
/// The memory that a parsed document takes for each of its bytes.
const DOCUMENT_COST: u64 = 4;
/// The memory that each of its JSON values takes besides, even an empty text.
const VALUE_COST: u64 = 64;

/// The remainder of [`Limits`]. Readers share it, also across threads.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    documents: AtomicU64,
    entries: AtomicU64,
    read: AtomicU64,
    kept: AtomicU64,
    layers: Mutex<BTreeSet<Digest>>,
}

impl Default for Budget {
    fn default() -> Budget {
        let limits = Limits::default();
        Budget {
            documents: AtomicU64::new(limits.documents),
            entries: AtomicU64::new(limits.entries),
            read: AtomicU64::new(limits.read),
            kept: AtomicU64::new(limits.kept),
            layers: Mutex::default(),
            limits,
        }
    }
}

impl Budget {
    /// Makes a budget for one image, or for several that are read together.
    pub fn new(limits: Limits) -> Arc<Budget> {
        Arc::new(Budget {
            documents: AtomicU64::new(limits.documents),
            entries: AtomicU64::new(limits.entries),
            read: AtomicU64::new(limits.read),
            kept: AtomicU64::new(limits.kept),
            limits,
            ..Budget::default()
        })
    }

    /// Returns the limits that the budget began with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Pays for a document before it is parsed: `size` bytes with `values` JSON values.
    ///
    /// # Errors
    /// When the document is too large, or there were too many.
    pub fn document(&self, what: &str, size: u64, values: u64) -> Result<()> {
        self.document_size(what, size)?;
        if values > self.limits.values {
            let problem = format!("it has more than {} values", self.limits.values);
            return Err(too_much(what, problem));
        }
        take(&self.documents, 1).ok_or_else(|| {
            let most = self.limits.documents;
            too_much(what, format!("the image has more than {most} documents"))
        })?;
        self.pay_for(what, values)?;
        self.keep(what, size.saturating_mul(DOCUMENT_COST))
    }

    /// Pays for the JSON values of a document that was paid for before it was fetched.
    ///
    /// # Errors
    /// When there were too many.
    pub fn values(&self, what: &str, document: &[u8]) -> Result<()> {
        self.pay_for(what, values(document))
    }

    fn pay_for(&self, what: &str, values: u64) -> Result<()> {
        self.entries(what, values)?;
        self.keep(what, values.saturating_mul(VALUE_COST))
    }

    /// Refuses a document by its size, before it is fetched.
    ///
    /// # Errors
    /// When the document is too large.
    pub fn document_size(&self, what: &str, size: u64) -> Result<()> {
        if size <= self.limits.document {
            return Ok(());
        }
        let most = self.limits.document;
        let problem = format!("it has {size} bytes, more than the {most} of a document");
        Err(too_much(what, problem))
    }

    /// Refuses indexes that are nested too deeply. `depth` is 0 for the entries of the outermost
    /// index.
    ///
    /// # Errors
    /// When the depth exceeds the limit.
    pub fn depth(&self, what: &str, depth: usize) -> Result<()> {
        if depth <= self.limits.depth {
            return Ok(());
        }
        let most = self.limits.depth;
        Err(too_much(
            what,
            format!("indexes are nested more than {most} deep"),
        ))
    }

    /// Pays for entries: descriptors of an index, files of an archive or a layer.
    ///
    /// # Errors
    /// When there were too many.
    pub fn entries(&self, what: &str, count: u64) -> Result<()> {
        take(&self.entries, count).ok_or_else(|| {
            let most = self.limits.entries;
            too_much(what, format!("the image has more than {most} entries"))
        })
    }

    /// Pays for memory that is kept until the command ends.
    ///
    /// # Errors
    /// When too much is kept.
    pub fn keep(&self, what: &str, bytes: u64) -> Result<()> {
        take(&self.kept, bytes).ok_or_else(|| {
            let most = self.limits.kept >> 20;
            let problem =
                format!("documents and lists of files need more than {most} MiB of memory");
            too_much(what, problem)
        })
    }

    /// Whether the budget has memory for `bytes` more.
    pub fn can_keep(&self, bytes: u64) -> bool {
        self.kept.load(Ordering::Relaxed) >= bytes
    }

    /// Limits the output of a layer's decompressor. A layer adds to the allowance once, even if it
    /// is listed several times.
    pub fn layer<R: Read>(self: &Arc<Budget>, layer: &Descriptor, uncompressed: R) -> Bounded<R> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if layers.insert(layer.digest.clone()) {
            let more = layer.size.saturating_mul(self.limits.growth);
            let add = |left: u64| Some(left.saturating_add(more));
            // The closure never refuses.
            let _ = self
                .read
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
        Bounded {
            inner: uncompressed,
            budget: Arc::clone(self),
        }
    }
}

/// Refuses a document beside an image, such as a bill of materials or a signature, that would take
/// too much memory. Who may write to a repository can attach any.
///
/// # Errors
/// When the document is too large, or has too many values.
pub fn attached(what: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > MAX_ATTACHED {
        return Err(too_much(
            what,
            format!("it has more than {MAX_ATTACHED} bytes"),
        ));
    }
    match values(bytes) > MAX_ATTACHED_VALUES {
        true => Err(too_much(
            what,
            format!("it has more than {MAX_ATTACHED_VALUES} values"),
        )),
        false => Ok(()),
    }
}

/// Refuses a file that claims to be large and has almost no data on the disk: reading it would take
/// hours, and no image looks like that.
///
/// # Errors
/// When the file is one of those.
pub(crate) fn refuse_hole(what: &str, metadata: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let (size, stored) = (metadata.len(), metadata.blocks().saturating_mul(512));
    if size < SPARSE || stored >= size / 64 {
        return Ok(());
    }
    let problem = format!(
        "it is a sparse file of {size} bytes with {stored} on the disk, which can't be an \
                 image"
    );
    Err(too_much(what, problem))
}

fn take(left: &AtomicU64, amount: u64) -> Option<()> {
    let subtract = |left: u64| left.checked_sub(amount);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract)
        .ok()
        .map(drop)
}

fn too_much(what: &str, problem: String) -> Error {
    Error::Limit {
        what: what.to_owned(),
        problem,
    }
}

/// A reader that passes uncompressed bytes on until the budget is used up.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    budget: Arc<Budget>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if take(&self.budget.read, read as u64).is_some() {
            return Ok(read);
        }
        let Limits { growth, read, .. } = self.budget.limits;
        let problem = format!(
            "it grows too much when uncompressed: layers may have {growth} times their size and \
             {read} bytes"
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_adds_to_what_may_be_read_once() {
        let limits = Limits {
            read: 10,
            growth: 2,
            ..Limits::default()
        };
        let budget = Budget::new(limits);
        let layer = Descriptor::of("x", b"12345");
        let zeros = || io::repeat(0).take(20);
        assert!(io::copy(&mut budget.layer(&layer, zeros()), &mut io::sink()).is_ok());
        let again = io::copy(&mut budget.layer(&layer, zeros()), &mut io::sink());
        assert!(again.unwrap_err().to_string().contains("2 times"));
    }

    #[test]
    fn each_kind_is_counted_for_itself() {
        let budget = Budget::new(Limits {
            documents: 1,
            kept: 292,
            ..Limits::default()
        });
        assert!(budget.document("a", 10, 3).is_ok());
        let second = budget.document("b", 10, 3).unwrap_err().to_string();
        assert_eq!(second, "b: the image has more than 1 documents");
        assert!(budget.can_keep(60) && budget.keep("c", 61).is_err());
        assert!(budget.document_size("d", (4 << 20) + 1).is_err());
        assert!(budget.depth("e", 9).is_err());
    }

    #[test]
    fn documents_beside_an_image_have_few_values() {
        let document = |values| format!("[{}0]", "0,".repeat(values)).into_bytes();
        assert!(attached("a", &document(400_000)).is_ok());
        let said = attached("a", &document(600_000)).unwrap_err().to_string();
        assert_eq!(said, "a: it has more than 500000 values");
        let long = vec![b'0'; (16 << 20) + 1];
        assert!(
            attached("a", &long)
                .unwrap_err()
                .to_string()
                .contains("bytes")
        );
    }
}
