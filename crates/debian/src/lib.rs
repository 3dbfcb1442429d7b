//! Debian packages: signed indexes, resolution, debian.lock, .deb files.
