//! Debian packages as layers need them, see `deb(5)`; the archive itself is read by the crate
//! `debian`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crateyard_debian::deb::DebError;
use crateyard_oci::tar;

use crate::spec::DebianPackage;
use crate::{Error, Result};

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
        let explain = |error| explain(path, error);
        let opened = crateyard_debian::deb::Deb::open(path).map_err(explain)?;
        let control = opened.control().map_err(explain)?;
        let field = |name: &str| opened.required_field(name).map(str::to_owned);
        let package = DebianPackage {
            name: field("Package").map_err(explain)?,
            version: field("Version").map_err(explain)?,
            arch: field("Architecture").map_err(explain)?,
        };
        if !is_package_name(&package.name) {
            let problem = format!("{:?} is not the name of a package", package.name);
            return Err(Error::damaged(path.display().to_string(), problem));
        }
        let misplaced = opened
            .control_files()
            .keys()
            .find(|name| name.contains('/'));
        if let Some(name) = misplaced {
            let problem = format!("{name:?} has no place in a control archive");
            return Err(Error::damaged(path.display().to_string(), problem));
        }
        Ok(Deb {
            path: path.to_owned(),
            package,
            multi_arch_same: field("Multi-Arch").is_ok_and(|value| value == "same"),
            control: control.to_owned(),
            control_files: opened.control_files().clone(),
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
        let opened = crateyard_debian::deb::Deb::open(&self.path)
            .map_err(|error| explain(&self.path, error))?;
        Ok(tar::Reader::new(Box::new(opened.into_data())))
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

/// The crate's own error for what `debian` says of a file.
fn explain(path: &Path, error: DebError) -> Error {
    match error {
        DebError::Open { source, .. } => Error::io("cannot open", path)(source),
        DebError::Damaged(problem) => Error::damaged(path.display().to_string(), problem),
        DebError::Member { member, source } => {
            let problem = format!("{member}: {source}");
            Error::damaged(path.display().to_string(), problem)
        }
    }
}
