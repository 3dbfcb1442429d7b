//! The copyright file of a Debian package that is being added to a layer. It is read even if the
//! layer does not keep it.

use std::io::{self, Read};

use crate::deb::Deb;
use crate::license::License;
use crate::spec::{DebianPackage, PackageDetails};

const DIRECTORY: &str = "usr/share/doc";
/// The most bytes that are read of a copyright file: Debian's largest have 2 MB.
const MAX_COPYRIGHT: u64 = 8 << 20;

/// The documents in a package about itself.
pub(super) struct Documents {
    /// `usr/share/doc/NAME`.
    directory: String,
    copyright: Option<Vec<u8>>,
    link: Option<String>,
}

impl Documents {
    pub(super) fn new(package: &DebianPackage) -> Documents {
        Documents {
            directory: format!("{DIRECTORY}/{}", package.name),
            copyright: None,
            link: None,
        }
    }

    /// Notes a symbolic link: the directory or the file in it may belong to another package.
    pub(super) fn link(&mut self, path: &str, target: &[u8]) {
        let is_copyright = path.strip_suffix("/copyright") == Some(&self.directory);
        if path != self.directory && !is_copyright {
            return;
        }
        let target = String::from_utf8_lossy(target);
        let target = target.trim_end_matches("/copyright");
        let name = target.rsplit('/').next().unwrap_or(target);
        self.link = Some(name.to_owned());
    }

    /// Returns the content unchanged. Keeps a copy if it is the copyright file's.
    pub(super) fn watch<'a>(
        &mut self,
        path: &str,
        content: &'a mut dyn Read,
    ) -> io::Result<Box<dyn Read + 'a>> {
        if path.strip_suffix("/copyright") != Some(&self.directory) {
            return Ok(Box::new(content));
        }
        let mut text = Vec::new();
        content.take(MAX_COPYRIGHT).read_to_end(&mut text)?;
        self.copyright = Some(text.clone());
        Ok(Box::new(io::Cursor::new(text).chain(content)))
    }

    /// Returns the package's details.
    pub(super) fn details(self, deb: &Deb) -> PackageDetails {
        let package = deb.package();
        let text = self.copyright.as_deref().map(String::from_utf8_lossy);
        PackageDetails {
            license: text.map(|text| License::of_debian(&package.name, &text)),
            license_of: self.link,
            ..PackageDetails::new(package.clone(), deb.control())
        }
    }
}
