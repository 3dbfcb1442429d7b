//! A guessed image.

use crateyard_spec::Port;

use crate::metadata::Package;

/// A program that the workspace ships, with the reason for that guess.
#[derive(Clone, Debug)]
pub(crate) struct Program<'m> {
    pub package: &'m Package,
    pub bin: &'m str,
    pub why: String,
}

/// A guessed image.
#[derive(Clone, Debug)]
pub(crate) struct Image<'m> {
    pub name: String,
    pub package: &'m Package,
    pub bin: &'m str,
    pub why: String,
    pub ports: Vec<Port>,
    /// Directories of charts, relative to the workspace.
    pub charts: Vec<String>,
    /// The program's capabilities.
    pub capabilities: Vec<String>,
    /// The vendor, if the package's manifest names no supplier.
    pub vendor: Option<String>,
}

impl Image<'_> {
    /// Returns the program's target for `images.toml`, if the package's name does not imply it.
    pub(crate) fn target(&self) -> Option<&str> {
        let own = self.bin == self.package.name || self.package.binaries().count() == 1;
        (!own).then_some(self.bin)
    }
}
