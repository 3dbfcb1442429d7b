//! Reads `.deb` files as streams. Each is an `ar` archive of `debian-binary`, `control.tar` and
//! `data.tar`.
//!
//! Format: <https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::path::{Path, PathBuf};

use crateyard_debian::control::Stanza;
use crateyard_oci::compression::CompressionFormat;

use crate::decompress;

/// The size limit of a control part, in bytes. Real ones are small; a damaged one must not fill the
/// memory.
const MAX_CONTROL: u64 = 64 << 20;

/// The error for a file that cannot be read as a package.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DebError {
    #[error("{path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("damaged package: {0}")]
    Damaged(String),
    #[error("damaged package: {member}: {source}")]
    Member { member: String, source: io::Error },
}

/// A package whose control part has been read. Its data part comes next.
pub struct DebReader<'a> {
    control_files: BTreeMap<String, Vec<u8>>,
    data: Data<'a>,
}

impl DebReader<'static> {
    /// Opens a package file and reads its control part.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        let file = File::open(path).map_err(|source| DebError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::new(BufReader::with_capacity(1 << 17, file))
    }
}

impl<'a> DebReader<'a> {
    /// Reads a package's control part from a stream.
    pub fn new(mut reader: impl Read + Send + 'a) -> Result<Self, DebError> {
        read_magic(&mut reader)?;
        let version = next_member(&mut reader)?;
        check_version(&version, &mut reader)?;
        let control = next_known_member(&mut reader, "control.tar")?;
        let control_files = read_control(&control, &mut reader)?;
        let data = next_known_member(&mut reader, "data.tar")?;
        Ok(DebReader {
            control_files,
            data: Data::new(data, reader)?,
        })
    }

    /// Returns the control part's files by name: `control`, `md5sums`, `conffiles`, `postinst` ...
    pub fn control_files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.control_files
    }

    /// Returns the text of the file `control`: one stanza. Read it with [`Stanza::whole`].
    pub fn control(&self) -> Result<&str, DebError> {
        let bytes = self.control_files.get("control").ok_or_else(|| {
            DebError::Damaged("its control part has no file `control`".to_owned())
        })?;
        std::str::from_utf8(bytes)
            .map_err(|_| DebError::Damaged("its file `control` is not UTF-8".to_owned()))
    }

    /// Returns a field of the file `control`, such as `Package`. Fails if the file lacks it.
    pub fn required_field(&self, name: &str) -> Result<&str, DebError> {
        Stanza::whole(self.control()?)
            .get(name)
            .ok_or_else(|| DebError::Damaged(format!("its file `control` has no field `{name}`")))
    }

    /// Returns the data part: a tar archive, decompressed while it is read. Read it to its end,
    /// because damage may show only there.
    pub fn into_data(self) -> Data<'a> {
        self.data
    }
}

/// The uncompressed data part of a package.
pub struct Data<'a> {
    decoder: Box<dyn Read + Send + 'a>,
    name: String,
}

impl<'a> Data<'a> {
    fn new(member: Member, reader: impl Read + Send + 'a) -> Result<Self, DebError> {
        Ok(Data {
            decoder: member.decompressed(Whole(reader.take(member.size)))?,
            name: member.name,
        })
    }

    /// Returns the name of the part in the package, which shows its compression: `data.tar.xz`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

/// Reads exactly the bytes of one member. If the file ends before the member does, that is an
/// error.
struct Whole<R>(Take<R>);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        if count == 0 && !buffer.is_empty() && self.0.limit() > 0 {
            let missing = self.0.limit();
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the file ends {missing} bytes too early"),
            ));
        }
        Ok(count)
    }
}

/// A member's header.
struct Member {
    name: String,
    size: u64,
}

impl Member {
    /// Returns a reader of the member's content, decompressed as the end of its name says.
    fn decompressed<'a>(
        &self,
        content: impl Read + Send + 'a,
    ) -> Result<Box<dyn Read + Send + 'a>, DebError> {
        let format = match self.name.rsplit('.').next() {
            Some("tar") => CompressionFormat::None,
            Some("gz") => CompressionFormat::Gzip,
            Some("xz") => CompressionFormat::Xz,
            Some("zst") => CompressionFormat::Zstd,
            _ => {
                return Err(DebError::Damaged(format!(
                    "the compression of `{}` is none of .gz, .xz, .zst",
                    self.name
                )));
            }
        };
        decompress(format, content).map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> DebError {
        DebError::Member {
            member: self.name.clone(),
            source,
        }
    }
}

fn read_magic(reader: &mut impl Read) -> Result<(), DebError> {
    let mut magic = [0; 8];
    let read = reader.read_exact(&mut magic);
    match (read, &magic) {
        (Ok(()), b"!<arch>\n") => Ok(()),
        _ => Err(DebError::Damaged(
            "it does not begin with `!<arch>`".to_owned(),
        )),
    }
}

/// Reads a member's header, 60 bytes of text: name, three unused numbers, mode, size and end mark.
fn next_member(reader: &mut impl Read) -> Result<Member, DebError> {
    let mut header = [0; 60];
    reader.read_exact(&mut header).map_err(|_| {
        DebError::Damaged("it ends where the header of a part was expected".to_owned())
    })?;
    let text =
        |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map(str::trim_end);
    match (text(0..16), text(48..58).map(str::parse), &header[58..]) {
        (Ok(name), Ok(Ok(size)), b"`\n") => Ok(Member {
            name: name.trim_end_matches('/').to_owned(),
            size,
        }),
        _ => Err(DebError::Damaged(
            "the header of a part is malformed".to_owned(),
        )),
    }
}

/// Reads the header of the next member. Its name must be `name` and the suffix of a compression.
/// Skips members whose name begins with `_`, as the format demands.
fn next_known_member(reader: &mut impl Read, name: &str) -> Result<Member, DebError> {
    loop {
        let member = next_member(reader)?;
        if member.name.starts_with('_') {
            let mut rest = reader.by_ref().take(member.size + member.size % 2);
            io::copy(&mut rest, &mut io::sink()).map_err(|source| member.error(source))?;
            continue;
        }
        let fits = member
            .name
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        return match fits {
            true => Ok(member),
            false => Err(DebError::Damaged(format!(
                "found `{}`, expected `{name}`",
                member.name
            ))),
        };
    }
}

fn check_version(member: &Member, reader: &mut impl Read) -> Result<(), DebError> {
    let damaged = |reason: String| Err(DebError::Damaged(reason));
    if member.name != "debian-binary" || member.size > 1024 {
        return damaged(format!(
            "its first part is `{}`, not `debian-binary`",
            member.name
        ));
    }
    let content = read_whole(member, reader)?;
    match content.starts_with(b"2.") {
        true => Ok(()),
        false => damaged(format!(
            "format version `{}`, not 2",
            String::from_utf8_lossy(&content).trim()
        )),
    }
}

/// Reads a member's bytes, and the padding byte after an odd size.
fn read_whole(member: &Member, reader: &mut impl Read) -> Result<Vec<u8>, DebError> {
    if member.size > MAX_CONTROL {
        return Err(DebError::Damaged(format!(
            "`{}` has {} bytes",
            member.name, member.size
        )));
    }
    let mut content = Vec::new();
    Whole(reader.by_ref().take(member.size))
        .read_to_end(&mut content)
        .map_err(|source| member.error(source))?;
    if member.size % 2 == 1 {
        reader
            .read_exact(&mut [0])
            .map_err(|source| member.error(source))?;
    }
    Ok(content)
}

fn read_control(
    member: &Member,
    reader: &mut impl Read,
) -> Result<BTreeMap<String, Vec<u8>>, DebError> {
    let content = read_whole(member, reader)?;
    let whole = Whole(content.as_slice().take(content.len() as u64));
    let unpacked = member.decompressed(whole)?.take(MAX_CONTROL);
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(unpacked);
    let entries = archive.entries().map_err(|source| member.error(source))?;
    for entry in entries {
        let mut entry = entry.map_err(|source| member.error(source))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes())
            .trim_start_matches("./")
            .to_owned();
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|source| member.error(source))?;
        files.insert(name, bytes);
    }
    Ok(files)
}
