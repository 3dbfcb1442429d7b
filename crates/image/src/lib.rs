//! OCI images as data: layers, config, manifest, index, layout.
