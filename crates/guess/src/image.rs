//! An image to be.

use port::Port;

use crate::metadata::Package;

/// A program that is shipped, and why it is thought to be.
#[derive(Clone, Debug)]
pub struct Program<'m> {
    pub package: &'m Package,
    pub bin: &'m str,
    pub why: String,
}

/// An image to be.
#[derive(Clone, Debug)]
pub struct Image<'m> {
    pub name: String,
    pub package: &'m Package,
    pub bin: &'m str,
    pub why: String,
    pub ports: Vec<Port>,
    /// Directories of charts, relative to the workspace.
    pub charts: Vec<String>,
}

impl Image<'_> {
    /// Its program, as `images.toml` names it.
    pub fn binary(&self) -> String {
        let own = self.bin == self.package.name || self.package.binaries().count() == 1;
        match own {
            true => self.package.name.clone(),
            false => format!("{}/{}", self.package.name, self.bin),
        }
    }
}
