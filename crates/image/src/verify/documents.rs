//! Checks indexes, manifests and configurations.

use std::io::{self, Read};

use base64::Engine as _;
use crateyard_oci::{
    Descriptor, ImageConfig, Index, Manifest, Platform, digest::VerifyingReader, media_type,
    read_document,
};

use super::{Check, Severity};

impl Check<'_> {
    pub(super) fn index(&mut self, subject: &str, index: &Index, depth: usize) {
        if index.schema_version != 2 {
            let problem = format!("schemaVersion is {} and must be 2", index.schema_version);
            self.error(subject, problem);
        }
        if let Some(media_type) = &index.media_type {
            if !media_type::is_index(media_type) {
                self.error(
                    subject,
                    format!("mediaType {media_type:?} is not an index's"),
                );
            }
        }
        if index.manifests.is_empty() {
            self.warning(subject, "it names no manifests");
        }
        for descriptor in &index.manifests {
            self.named_by_index(subject, descriptor, depth);
        }
    }

    fn named_by_index(&mut self, subject: &str, descriptor: &Descriptor, depth: usize) {
        let own = title(descriptor);
        let index = media_type::is_index(&descriptor.media_type);
        let manifest = media_type::is_manifest(&descriptor.media_type);
        if !index && !manifest {
            let problem = format!(
                "it names {own} with media type {:?}, which is neither a manifest's nor an index's",
                descriptor.media_type
            );
            self.warning(subject, problem);
            self.blob(&own, descriptor);
            return;
        }
        let visit = (descriptor.digest.clone(), descriptor.is_attestation());
        if !self.blob(&own, descriptor) || !self.visited.insert(visit) {
            return;
        }
        if index {
            if let Err(error) = self.blobs.budget().depth(&own, depth + 1) {
                return self.error(&own, error.to_string());
            }
            match read_document::<Index>(self.blobs, descriptor) {
                Ok(nested) => self.index(&own, &nested, depth + 1),
                Err(error) => self.error(&own, error.to_string()),
            }
        } else {
            match read_document::<Manifest>(self.blobs, descriptor) {
                Ok(manifest) => self.manifest(&own, descriptor, &manifest),
                Err(error) => self.error(&own, error.to_string()),
            }
        }
    }

    fn manifest(&mut self, subject: &str, descriptor: &Descriptor, manifest: &Manifest) {
        if manifest.schema_version != 2 {
            let problem = format!("schemaVersion is {} and must be 2", manifest.schema_version);
            self.error(subject, problem);
        }
        if let Some(media_type) = &manifest.media_type {
            if *media_type != descriptor.media_type {
                let problem = format!(
                    "mediaType is {media_type:?}, its descriptor says {:?}",
                    descriptor.media_type
                );
                self.error(subject, problem);
            }
        }
        let config = title(&manifest.config);
        let sound = self.blob(&config, &manifest.config);
        if !is_image(descriptor, manifest) {
            // An artifact, whose blobs may be anything.
            for layer in &manifest.layers {
                self.blob(&title(layer), layer);
            }
            return;
        }
        self.report.images += 1;
        let diff_ids: Vec<_> = manifest
            .layers
            .iter()
            .map(|layer| self.layer(layer))
            .collect();
        if !sound {
            return;
        }
        match read_document::<ImageConfig>(self.blobs, &manifest.config) {
            Ok(document) => {
                self.config(&config, descriptor, &document);
                self.compare_diff_ids(&config, &document, manifest, &diff_ids);
            }
            Err(error) => self.error(&config, error.to_string()),
        }
    }

    fn config(&mut self, subject: &str, descriptor: &Descriptor, config: &ImageConfig) {
        if config.rootfs.kind != "layers" {
            let problem = format!(
                "rootfs.type is {:?} and must be \"layers\"",
                config.rootfs.kind
            );
            self.error(subject, problem);
        }
        let wanted = descriptor.platform.as_ref();
        if let Some(wanted) = wanted.filter(|wanted| !is_for(&config.platform, wanted)) {
            let problem = format!(
                "it is for {:?}, the index says {:?}",
                config.platform.to_string(),
                wanted.to_string()
            );
            self.error(subject, problem);
        }
        let with_layer = |step: &&crateyard_oci::History| step.empty_layer != Some(true);
        let steps = config.history.iter().filter(with_layer).count();
        let layers = config.rootfs.diff_ids.len();
        if !config.history.is_empty() && steps != layers {
            let problem = format!("its history has {steps} steps with a layer for {layers} layers");
            self.warning(subject, problem);
        }
        let Some(execution) = &config.config else {
            return;
        };
        for variable in execution.env.iter().flatten() {
            if !variable.contains('=') || variable.starts_with('=') {
                self.warning(subject, format!("{variable:?} in Env is not NAME=value"));
            }
        }
        let directory = execution.working_dir.as_deref().unwrap_or_default();
        if !directory.is_empty() && !directory.starts_with('/') {
            let problem = format!("WorkingDir {directory:?} is not an absolute path");
            self.report.add(Severity::Warning, subject, problem);
        }
    }

    fn compare_diff_ids(
        &mut self,
        subject: &str,
        config: &ImageConfig,
        manifest: &Manifest,
        diff_ids: &[Option<crateyard_oci::digest::Digest>],
    ) {
        let listed = &config.rootfs.diff_ids;
        if listed.len() != manifest.layers.len() {
            let problem = format!(
                "it lists {} diff ids for the manifest's {} layers",
                listed.len(),
                manifest.layers.len()
            );
            return self.error(subject, problem);
        }
        for ((listed, found), layer) in listed.iter().zip(diff_ids).zip(&manifest.layers) {
            if let Some(found) = found.as_ref().filter(|found| *found != listed) {
                let problem = format!(
                    "it gives {} the diff id {listed}; its content has {found}",
                    title(layer)
                );
                self.error(subject, problem);
            }
        }
    }

    /// Hashes a blob once. Returns whether it matches its descriptor.
    pub(super) fn blob(&mut self, subject: &str, descriptor: &Descriptor) -> bool {
        self.embedded_data(subject, descriptor);
        // The size is always checked, because a size that differs from an earlier descriptor's must
        // be found.
        let opened = self.blobs.open_blob(descriptor);
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) => {
                self.error(subject, error.to_string());
                return false;
            }
        };
        if let Some(&sound) = self.hashed.get(&descriptor.digest) {
            return sound;
        }
        let mut reader = VerifyingReader::new(reader, descriptor);
        let read = io::copy(&mut reader, &mut io::sink());
        drop(reader);
        let sound = read.is_ok();
        self.report.blobs += 1;
        match read {
            Ok(bytes) => self.report.bytes += bytes,
            Err(error) => self.error(subject, error.to_string()),
        }
        self.hashed.insert(descriptor.digest.clone(), sound);
        sound
    }

    fn embedded_data(&mut self, subject: &str, descriptor: &Descriptor) {
        let Some(data) = &descriptor.data else {
            return;
        };
        let mut embedded = Vec::new();
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(data)
            .map_err(io::Error::other)
            .and_then(|bytes| {
                VerifyingReader::new(&bytes[..], descriptor).read_to_end(&mut embedded)
            });
        if let Err(error) = decoded {
            self.error(subject, format!("the data in its descriptor: {error}"));
        }
    }
}

/// Returns the name that findings use for a descriptor's content.
pub(super) fn title(descriptor: &Descriptor) -> String {
    let what = match descriptor.media_type.as_str() {
        media_type if media_type::is_index(media_type) => "index",
        media_type if media_type::is_manifest(media_type) => "manifest",
        media_type if media_type::is_config(media_type) => "config",
        media_type if media_type::is_layer(media_type) => "layer",
        _ => "blob",
    };
    format!("{what} {}", descriptor.digest)
}

/// Whether an engine may run the manifest. A descriptor can call an image a statement, but engines
/// unpack its layers all the same.
fn is_image(descriptor: &Descriptor, manifest: &Manifest) -> bool {
    let mut layers = manifest.layers.iter();
    media_type::is_config(&manifest.config.media_type)
        && (!descriptor.is_attestation()
            || layers.any(|layer| media_type::is_layer(&layer.media_type)))
}

/// Whether an image for `own` may be announced as one for `announced`.
fn is_for(own: &Platform, announced: &Platform) -> bool {
    own.agrees_with(announced) || own.satisfies(announced)
}
