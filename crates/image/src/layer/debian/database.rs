//! dpkg's database of the packages in a layer: `status`, and the files in `info`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use crateyard_oci::tar;

use super::checksum::Md5Reader;
use super::{Chosen, package_path};
use crate::deb::{Deb, field};
use crate::layer::plain::file_node;
use crate::layer::tree::{Content, Tree};
use crate::packages::STATUS;
use crate::spec::DebianPackage;
use crate::{Error, Result};

const INFO: &str = "var/lib/dpkg/info";

/// The facts about one package that the database needs.
#[derive(Default)]
pub(super) struct Summary {
    /// The package's paths in their original form, for `NAME.list`.
    pub(super) list: Vec<String>,
    /// The MD5 digests of the configuration files.
    pub(super) digests: BTreeMap<String, String>,
    /// The content of `NAME.md5sums` if the package has none. dpkg makes it then, too.
    pub(super) md5sums: Option<String>,
}

/// Adds the list of the installed packages, from the paragraph of each.
pub(super) fn add_status(
    tree: &mut Tree,
    paragraphs: &BTreeMap<DebianPackage, String>,
) -> Result<()> {
    let text = paragraphs
        .values()
        .fold(String::new(), |all, one| all + one + "\n");
    data_base_file(tree, STATUS, text.into_bytes(), "dpkg's status")?;
    // The presence of this file tells dpkg that files of its database may have an architecture in
    // their name.
    data_base_file(
        tree,
        &format!("{INFO}/format"),
        b"1\n".to_vec(),
        "dpkg's format marker",
    )
}

/// Adds a file of this layer's database that replaces a lower layer's.
fn data_base_file(tree: &mut Tree, path: &str, bytes: Vec<u8>, origin: &str) -> Result<()> {
    let mut node = file_node(Content::Bytes(bytes), 0o644, 0, 0, origin);
    node.supersedes = true;
    tree.insert(path.to_owned(), node)
}

/// Adds the package's files in `/var/lib/dpkg/info`: the list of its paths and its control files.
pub(super) fn add_info(tree: &mut Tree, chosen: &Chosen, summary: &Summary) -> Result<()> {
    let info = chosen.deb.info_name();
    let mut put = |extension: &str, bytes: Vec<u8>, mode| {
        let path = format!("{INFO}/{info}.{extension}");
        if chosen.filter.excludes(&path) {
            return Ok(());
        }
        let node = file_node(Content::Bytes(bytes), mode, 0, 0, &chosen.origin);
        tree.insert(path, node)
    };
    let lines = summary.list.iter().flat_map(|path| [path, "\n"]);
    put("list", lines.collect::<String>().into_bytes(), 0o644)?;
    if let Some(md5sums) = &summary.md5sums {
        put("md5sums", md5sums.clone().into_bytes(), 0o644)?;
    }
    for (name, bytes) in chosen.deb.control_files() {
        let script = matches!(
            name.as_str(),
            "preinst" | "postinst" | "prerm" | "postrm" | "config"
        );
        if name != "control" {
            put(name, bytes.clone(), if script { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// Writes the package's paragraph in dpkg's status file.
pub(super) fn status_paragraph(deb: &Deb, digests: &BTreeMap<String, String>) -> String {
    let mut paragraph = String::new();
    for line in deb.control().trim_end().lines() {
        paragraph.push_str(line);
        paragraph.push('\n');
        if field(line, "Package").is_some() && !line.starts_with([' ', '\t']) {
            paragraph.push_str("Status: install ok installed\n");
        }
    }
    if !digests.is_empty() {
        paragraph.push_str("Conffiles:\n");
        for (path, digest) in digests {
            // Writing to a string can't fail.
            let _ = writeln!(paragraph, " /{path} {digest}");
        }
    }
    paragraph
}

/// Returns the configuration files that the package names, without leading slash.
pub(super) fn conffiles(deb: &Deb) -> BTreeSet<String> {
    let file = deb.control_file("conffiles").unwrap_or_default();
    String::from_utf8_lossy(file)
        .lines()
        .filter_map(|line| line.trim().strip_prefix('/').map(str::to_owned))
        .collect()
}

/// Returns the MD5 digests of the configuration files of a package whose files are not needed.
pub(super) fn conffile_digests(deb: &Deb) -> Result<BTreeMap<String, String>> {
    let conffiles = conffiles(deb);
    let mut digests = BTreeMap::new();
    if conffiles.is_empty() {
        return Ok(digests);
    }
    let damaged = |problem: String| Error::damaged(deb.path().display().to_string(), problem);
    let mut data = deb.data()?;
    while let Some(entry) = data
        .next_entry()
        .map_err(|error| damaged(error.to_string()))?
    {
        let path = package_path(&entry.path).map_err(damaged)?;
        if entry.kind == tar::Kind::File && conffiles.contains(&path) {
            let mut md5 = Md5Reader::new(&mut data, true);
            io::copy(&mut md5, &mut io::sink()).map_err(|error| damaged(error.to_string()))?;
            digests.insert(path, md5.finish());
        }
    }
    Ok(digests)
}
