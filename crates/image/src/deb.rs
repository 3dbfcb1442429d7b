//! Reading Debian packages: an `ar` archive of `control.tar` and `data.tar`, see `deb(5)`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Take};
use std::path::{Path, PathBuf};

use crate::decompress::Format;
use crate::spec::DebianPackage;
use crate::tar;
use crate::{Error, Result};

/// The most that one file of the control archive may hold.
const CONTROL_LIMIT: u64 = 16 << 20;

/// An opened package: its control files are read, its data is read by [`Deb::data`].
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    package: DebianPackage,
    multi_arch_same: bool,
    control: String,
    control_files: BTreeMap<String, Vec<u8>>,
}

impl Deb {
    /// Opens a package and reads its control files.
    ///
    /// # Errors
    /// When the file can't be read or is not a sound package.
    pub fn open(path: &Path) -> Result<Deb> {
        let files = read_control_files(path)?;
        let damaged = |problem: &str| Error::damaged(path.display().to_string(), problem);
        let control = files
            .get("control")
            .ok_or_else(|| damaged("its control archive has no file named control"))?;
        let control = String::from_utf8(control.clone())
            .map_err(|_| damaged("its control file is not UTF-8"))?;
        let field = |name: &str| {
            field(&control, name)
                .map(str::to_owned)
                .ok_or_else(|| damaged(&format!("its control file has no field {name}")))
        };
        let package = DebianPackage {
            name: field("Package")?,
            version: field("Version")?,
            arch: field("Architecture")?,
        };
        if !is_package_name(&package.name) {
            return Err(damaged(&format!(
                "{:?} is not the name of a package",
                package.name
            )));
        }
        Ok(Deb {
            path: path.to_owned(),
            package,
            multi_arch_same: field("Multi-Arch").is_ok_and(|value| value == "same"),
            control,
            control_files: files,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name, version and architecture.
    pub fn package(&self) -> &DebianPackage {
        &self.package
    }

    /// Name and version, for messages.
    pub fn title(&self) -> String {
        format!(
            "Debian package {} {}",
            self.package.name, self.package.version
        )
    }

    /// The control file: the fields of the package.
    pub fn control(&self) -> &str {
        &self.control
    }

    /// One file of the control archive, such as `md5sums` or `postinst`.
    pub fn control_file(&self, name: &str) -> Option<&[u8]> {
        self.control_files.get(name).map(Vec::as_slice)
    }

    /// All files of the control archive, by name.
    pub fn control_files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.control_files
    }

    /// What the package's files in `/var/lib/dpkg/info` are called before the dot: packages that
    /// can be installed for several architectures at once carry theirs.
    pub fn info_name(&self) -> String {
        if self.multi_arch_same {
            format!("{}:{}", self.package.name, self.package.arch)
        } else {
            self.package.name.clone()
        }
    }

    /// Reads the package's files.
    ///
    /// # Errors
    /// When the file can't be read or has no data archive.
    pub fn data(&self) -> Result<tar::Reader<Box<dyn Read + Send>>> {
        member_tar(&self.path, "data.tar")
    }
}

/// The value of a field in a control paragraph, first line only.
pub(crate) fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_package_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    name.len() > 1 && name.bytes().all(allowed) && !name.starts_with('.')
}

fn read_control_files(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let damaged = |problem: String| Error::damaged(path.display().to_string(), problem);
    let mut reader = member_tar(path, "control.tar")?;
    let mut files = BTreeMap::new();
    while let Some(entry) = reader
        .next_entry()
        .map_err(|error| damaged(format!("control archive: {error}")))?
    {
        if entry.kind != tar::Kind::File {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let name = name.trim_start_matches("./").to_owned();
        if entry.size > CONTROL_LIMIT || name.contains('/') || files.len() > 1000 {
            return Err(damaged(format!(
                "{name:?} has no place in a control archive"
            )));
        }
        let mut content = Vec::new();
        reader
            .read_to_end(&mut content)
            .map_err(|error| damaged(format!("{name}: {error}")))?;
        files.insert(name, content);
    }
    Ok(files)
}

/// Opens the member of the package whose name starts so, whatever its compression.
fn member_tar(path: &Path, prefix: &str) -> Result<tar::Reader<Box<dyn Read + Send>>> {
    let file = File::open(path).map_err(Error::io("cannot open", path))?;
    let damaged = |problem: String| Error::damaged(path.display().to_string(), problem);
    let (name, member) = find_member(BufReader::new(file), prefix).map_err(damaged)?;
    let format = match name.strip_prefix(prefix) {
        Some("") => Format::None,
        Some(".gz") => Format::Gzip,
        Some(".xz") => Format::Xz,
        Some(".zst") => Format::Zstd,
        _ => return Err(damaged(format!("the compression of {name} is not known"))),
    };
    let reader = format
        .reader(member)
        .map_err(|error| damaged(format!("{name}: {error}")))?;
    Ok(tar::Reader::new(reader))
}

/// Walks the `ar` archive to the member whose name starts so.
fn find_member(
    mut file: BufReader<File>,
    prefix: &str,
) -> Result<(String, Take<BufReader<File>>), String> {
    let mut magic = [0; 8];
    let short = |_| "it ends in the middle of a member".to_owned();
    file.read_exact(&mut magic).map_err(short)?;
    if &magic != b"!<arch>\n" {
        return Err("it is not a Debian package".to_owned());
    }
    loop {
        let mut header = [0; 60];
        let read = read_some(&mut file, &mut header).map_err(|error| error.to_string())?;
        if read == 0 {
            return Err(format!("it has no member {prefix}"));
        }
        if read < header.len() || &header[58..] != b"`\n" {
            return Err("a member's header is malformed".to_owned());
        }
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&header[range])
                .trim_end()
                .to_owned()
        };
        let name = text(0..16).trim_end_matches('/').to_owned();
        let size: u64 = text(48..58)
            .parse()
            .map_err(|_| format!("the size of member {name:?} is not a number"))?;
        if name == prefix || name.starts_with(&format!("{prefix}.")) {
            return Ok((name, file.take(size)));
        }
        let skip = size + size % 2;
        let skipped = std::io::copy(&mut file.by_ref().take(skip), &mut std::io::sink());
        if skipped.map_err(|error| error.to_string())? < skip {
            return Err("it ends in the middle of a member".to_owned());
        }
    }
}

fn read_some(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
