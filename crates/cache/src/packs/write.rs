//! Writes packs. The same paths in the same order give the same bytes, so that an interrupted
//! upload can continue.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crateyard_image::compress::{Compression, CompressionAlgorithm, Compressor, default_threads};
use crateyard_oci::tar::{self, Header, Kind, Writer, entry_length};
use crateyard_oci::{Digest, Hasher};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::packs::index::{Entry, Pack};
use crateyard_nix::{Hash, NarInfo, Registered, SecretKey, Store, nar};

/// The size at which a pack is closed, in bytes. It keeps requests few, and the cost of a failed
/// upload small.
pub const PACK_SIZE: u64 = 64 << 20;
/// The level of zstd. For 344 paths with 1.3 GB, level 6 gives 527 MB and takes twice as long.
const LEVEL: u32 = 3;

/// Writes packs into a directory, each under its digest.
pub struct PackWriter {
    directory: PathBuf,
    enough: u64,
    open: Option<Open>,
    packs: Vec<Pack>,
}

/// A pack that is being written.
struct Open {
    tar: Writer<Hashing>,
    position: u64,
    entries: Vec<Entry>,
}

/// A file that is hashed while it is written.
struct Hashing {
    file: NamedTempFile,
    hasher: Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Counts and hashes the bytes that pass through.
struct Measure<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W> Measure<W> {
    fn new(inner: W) -> Self {
        Measure {
            inner,
            hasher: Sha256::new(),
            size: 0,
        }
    }
}

impl<W: Write> Write for Measure<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl PackWriter {
    /// Creates a writer into an existing directory. The writer closes a pack when it has `enough`
    /// bytes; see [`PACK_SIZE`].
    pub fn new(directory: &Path, enough: u64) -> PackWriter {
        PackWriter {
            directory: directory.to_owned(),
            enough,
            open: None,
            packs: Vec::new(),
        }
    }

    /// Adds a path of a store, signed with `key`.
    ///
    /// # Errors
    /// Fails if the files in the store differ from the hash that the store has registered, or if a
    /// file can't be read or written.
    pub fn add(&mut self, store: &Store, known: &Registered, key: &SecretKey) -> Result<()> {
        let place = store.physical(known.path.to_string());
        let (file, mut info) = self.compress(&place, known)?;
        info.sign(key);
        self.append(&info, &mut BufReader::new(file))
    }

    /// Adds a path from another pack: its narinfo and its compressed archive.
    ///
    /// # Errors
    /// Fails if the archive's length differs from the narinfo, or if a file can't be written.
    pub fn append(&mut self, info: &NarInfo, archive: &mut dyn Read) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.start()?,
        };
        let narinfo = info.to_string();
        let written = open.append(info, &narinfo, archive);
        written.map_err(Error::io("write a pack in", &self.directory))?;
        match open.position < self.enough {
            true => self.open = Some(open),
            false => self.close(open)?,
        }
        Ok(())
    }

    /// Closes the last pack and returns all packs.
    ///
    /// # Errors
    /// Fails if the disk is full.
    pub fn finish(mut self) -> Result<Vec<Pack>> {
        if let Some(open) = self.open.take() {
            self.close(open)?;
        }
        Ok(self.packs)
    }

    fn temporary(&self) -> Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(&self.directory)
            .map_err(Error::io("write in", &self.directory))
    }

    fn start(&self) -> Result<Open> {
        let hashing = Hashing {
            file: self.temporary()?,
            hasher: Digest::of(b"").hasher(),
        };
        Ok(Open {
            tar: Writer::new(hashing),
            position: 0,
            entries: Vec::new(),
        })
    }

    fn close(&mut self, open: Open) -> Result<()> {
        let failed = Error::io("write a pack in", &self.directory);
        let hashing = open.tar.finish().map_err(&failed)?;
        let digest = hashing.hasher.finish();
        let file = hashing.file;
        file.as_file().sync_all().map_err(&failed)?;
        let size = file.as_file().metadata().map_err(&failed)?.len();
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))
            .map_err(&failed)?;
        file.persist(self.directory.join(digest.hex()))
            .map_err(|error| failed(error.error))?;
        self.packs.push(Pack {
            digest,
            size,
            entries: open.entries,
        });
        Ok(())
    }

    /// Compresses the archive of a path. Returns the file, rewound, and the narinfo.
    fn compress(&self, place: &Path, known: &Registered) -> Result<(File, NarInfo)> {
        let failed = Error::io("archive", place);
        let file = self.temporary()?.into_file();
        let compression = Compression {
            algorithm: CompressionAlgorithm::Zstd,
            level: Some(LEVEL),
        };
        let compressor = Compressor::new(Measure::new(file), compression, default_threads());
        let mut archive = Measure::new(compressor.map_err(&failed)?);
        nar::dump(place, &mut archive).map_err(&failed)?;
        let nar_hash = Hash::from_hasher(archive.hasher);
        if nar_hash != known.nar_hash || archive.size != known.nar_size {
            let reason = format!(
                "has the hash {nar_hash}, but the store has registered {}; repair it with: \
                 nix-store --verify-path or --repair-path",
                known.nar_hash
            );
            return Err(Error::damaged(place.display().to_string(), reason));
        }
        let compressed = archive.inner.finish().map_err(&failed)?;
        let (file_hash, file_size) = (Hash::from_hasher(compressed.hasher), compressed.size);
        let mut file = compressed.inner;
        file.rewind().map_err(&failed)?;
        let info = NarInfo {
            path: known.path.clone(),
            url: format!("nar/{}.nar.zst", file_hash.base32()),
            compression: "zstd".to_owned(),
            file_hash: Some(file_hash),
            file_size: Some(file_size),
            nar_hash,
            nar_size: known.nar_size,
            references: known.references.clone(),
            deriver: known.deriver.as_ref().map(|path| path.base().to_owned()),
            ca: None,
            signatures: Vec::new(),
        };
        Ok((file, info))
    }
}

impl Open {
    fn append(&mut self, info: &NarInfo, text: &str, archive: &mut dyn Read) -> io::Result<()> {
        let name = format!("{}.narinfo", info.path.hash());
        self.file(&name, text.len() as u64, &mut text.as_bytes())?;
        let size = info.download_size();
        let end = self.file(&info.url, size, archive)?;
        self.entries.push(Entry {
            narinfo: text.to_owned(),
            offset: end - size.next_multiple_of(tar::BLOCK as u64),
        });
        Ok(())
    }

    /// Appends a file, and returns the offset after its padding.
    fn file(&mut self, path: &str, size: u64, content: &mut dyn Read) -> io::Result<u64> {
        let header = Header {
            path,
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            size,
            link: "",
            xattrs: &BTreeMap::new(),
        };
        self.tar.append(&header, content)?;
        self.position += entry_length(&header);
        Ok(self.position)
    }
}
