//! The media types that this crate writes or understands.

/// An image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The empty descriptor's content, `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A layer that is not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer compressed with gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer compressed with zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The types to ask for when fetching a manifest or an index: all types that this crate reads.
pub const MANIFESTS: [&str; 4] = [INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
/// Docker's equivalent of an index.
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's equivalent of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's equivalent of a configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer that is not compressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's layer compressed with gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer compressed with zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// The type of an in-toto statement (its `_type`), such as a provenance or a signature.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// Whether the type is an index's, in either dialect.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, INDEX | DOCKER_INDEX)
}

/// Whether the type is a manifest's, in either dialect.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, MANIFEST | DOCKER_MANIFEST)
}

/// Whether the type is a manifest's or an index's, in either dialect.
pub fn is_manifest_or_index(media_type: &str) -> bool {
    MANIFESTS.contains(&media_type)
}

/// Whether the type is that of a container image's configuration, in either dialect.
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, CONFIG | DOCKER_CONFIG)
}

/// Whether the type is a file system layer's, in any dialect, distributable or not.
pub fn is_layer(media_type: &str) -> bool {
    const FOREIGN: [&str; 4] = [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ];
    matches!(
        media_type,
        LAYER | LAYER_GZIP | LAYER_ZSTD | DOCKER_LAYER | DOCKER_LAYER_GZIP | DOCKER_LAYER_ZSTD
    ) || FOREIGN.contains(&media_type)
}
/// Whether the type is that of a layer that registries need not hold, such as those of Windows.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}
