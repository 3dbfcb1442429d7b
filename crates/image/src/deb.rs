//! Debian packages in the form that layers need (see `deb(5)`). The crate `debian` reads the
//! archive itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crateyard_oci::tar;
use crateyard_unpack::deb::DebError;

use crate::spec::DebianPackage;
use crate::{Error, Result};

/// An opened package. Its control files are in memory, and [`Deb::data`] reads its data.
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
        let opened = crateyard_unpack::deb::DebReader::open(path).map_err(explain)?;
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

    /// Returns the path of the package's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the package's name, version and architecture.
    pub fn package(&self) -> &DebianPackage {
        &self.package
    }

    /// Returns the package's name and version, for messages.
    pub fn title(&self) -> String {
        format!(
            "Debian package {} {}",
            self.package.name, self.package.version
        )
    }

    /// Returns the control file, which has the fields of the package.
    pub fn control(&self) -> &str {
        &self.control
    }

    /// Returns one file of the control archive, such as `md5sums` or `postinst`.
    pub fn control_file(&self, name: &str) -> Option<&[u8]> {
        self.control_files.get(name).map(Vec::as_slice)
    }

    /// Returns all files of the control archive, by name.
    pub fn control_files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.control_files
    }

    /// Returns the part before the dot in the names of the package's files in `/var/lib/dpkg/info`.
    /// Packages that can be installed for several architectures at once have their architecture in
    /// it.
    pub(crate) fn info_name(&self) -> String {
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
        let opened = crateyard_unpack::deb::DebReader::open(&self.path)
            .map_err(|error| explain(&self.path, error))?;
        Ok(tar::Reader::new(Box::new(opened.into_data())))
    }
}

/// Returns the first line of a field's value in a control paragraph.
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

/// Turns an error of `debian` about a file into the crate's own.
fn explain(path: &Path, error: DebError) -> Error {
    match error {
        DebError::Open { source, .. } => Error::io("open", path)(source),
        DebError::Damaged(problem) => Error::damaged(path.display().to_string(), problem),
        DebError::Member { member, source } => {
            let problem = format!("{member}: {source}");
            Error::damaged(path.display().to_string(), problem)
        }
    }
}
