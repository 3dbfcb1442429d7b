//! The layers below a step, as one image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use crateyard_oci::{
    Blobs, Budget, Descriptor, Digest, Layout, Limits, Manifest, Platform, media_type,
};

use crate::Result;
use crate::files::{Listing, Options, TakeContent};
use crate::layer::{BLOB, RECORD};
use crate::spec::{self, LayerRecord, StepSource};

/// The image of the layers below.
pub(super) struct Below {
    blobs: LowerBlobs,
    manifest: Manifest,
    pub(super) listing: Listing,
}

impl Below {
    pub(super) fn open(source: &StepSource) -> Result<Below> {
        let base = source.base.as_deref().map(Layout::open).transpose()?;
        let mut layers = match &base {
            None => Vec::new(),
            Some(base) => {
                let image = base.image(None, Some(&Platform::of_machine()))?;
                base.manifest(&image.descriptor)?.layers
            }
        };
        let mut files = BTreeMap::new();
        for directory in &source.below {
            let record: LayerRecord = spec::read(&directory.join(RECORD))?;
            let descriptor =
                Descriptor::new(&record.media_type, record.digest.clone(), record.size);
            files.insert(record.digest, directory.join(BLOB));
            layers.push(descriptor);
        }
        let config = Descriptor::new(media_type::CONFIG, Digest::of(b"{}"), 2);
        let manifest = Manifest::new(config, layers);
        // An image with steps may have any size: the person who builds it described its contents.
        let limits = Limits {
            read: u64::MAX,
            kept: 4 << 30,
            ..Limits::default()
        };
        let blobs = LowerBlobs {
            base,
            files,
            budget: Budget::new(limits),
        };
        let options = Options {
            hash: true,
            ..Options::default()
        };
        let listing = Listing::read(&blobs, &manifest, &options)?;
        Ok(Below {
            blobs,
            manifest,
            listing,
        })
    }

    /// Calls [`Listing::for_each_content`].
    pub(super) fn for_each_content(&self, take: &mut TakeContent<'_>) -> Result<()> {
        self.listing
            .for_each_content(&self.blobs, &self.manifest, take)
    }
}

/// The blobs of layers in directories of their own, and of a layout.
struct LowerBlobs {
    base: Option<Layout>,
    files: BTreeMap<Digest, PathBuf>,
    budget: Arc<Budget>,
}

impl Blobs for LowerBlobs {
    fn open_blob(
        &self,
        descriptor: &Descriptor,
    ) -> crateyard_oci::Result<Box<dyn Read + Send + '_>> {
        match (self.files.get(&descriptor.digest), &self.base) {
            (Some(path), _) => {
                let file = File::open(path);
                let file = file.map_err(crateyard_oci::Error::io("open", path))?;
                Ok(Box::new(file))
            }
            (None, Some(base)) => base.open_blob(descriptor),
            (None, None) => Err(crateyard_oci::Error::NotFound {
                what: descriptor.digest.to_string(),
                place: self.title(),
                hint: String::new(),
            }),
        }
    }

    fn title(&self) -> String {
        "the layers below".to_owned()
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}
