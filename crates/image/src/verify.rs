//! Checks an image to the last byte: every digest, size, diff id, media type and path.
//!
//! The module is written for hostile input: memory is bounded, nothing is unpacked, no path of the
//! input is opened, and every problem becomes a [`Finding`].

mod documents;
mod layer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crateyard_oci::{Blobs, Descriptor, Digest, ImageName, Index, Layout};
use crateyard_text::shortened;
use serde::Serialize;

use crate::Result;

/// The most findings that are kept.
const MAX_FINDINGS: usize = 1_000;

/// The longest message of a finding, in characters.
const MAX_MESSAGE: usize = 1_000;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A fact worth knowing. Nothing is wrong.
    Note,
    /// Allowed, but some tools will stumble over it.
    Warning,
    /// The image is damaged, hostile or against the specification.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// A single finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The document, blob or entry of a layer with the problem.
    pub subject: String,
    /// The problem. Names from the input are quoted and escaped.
    pub problem: String,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The findings, in the order of the check.
    pub findings: Vec<Finding>,
    /// The number of images that were checked.
    pub images: usize,
    /// The number of blobs that were hashed.
    pub blobs: usize,
    /// The size of those blobs in bytes.
    pub bytes: u64,
    /// The number of entries in the images' layers.
    pub entries: u64,
}

impl Report {
    /// Whether there is no [`Severity::Error`].
    pub fn is_sound(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// Returns the number of findings of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let as_bad = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(as_bad).count()
    }

    fn add(&mut self, severity: Severity, subject: &str, problem: impl Into<String>) {
        if self.findings.len() == MAX_FINDINGS {
            self.findings.push(Finding {
                severity: Severity::Error,
                subject: "the check".to_owned(),
                problem: format!(
                    "there are more than {MAX_FINDINGS} findings; the rest is left out"
                ),
            });
        }
        if self.findings.len() > MAX_FINDINGS {
            return;
        }
        self.findings.push(Finding {
            severity,
            subject: shortened(subject, MAX_MESSAGE).into_owned(),
            problem: shortened(&problem.into(), MAX_MESSAGE).into_owned(),
        });
    }
}

/// Checks a layout directory, OCI archive or docker archive.
///
/// # Errors
/// When the path can't be opened at all. All other problems are findings.
pub fn verify(path: &Path) -> Result<Report> {
    match Layout::open(path) {
        Ok(layout) => Ok(verify_layout(&layout)),
        Err(error @ crateyard_oci::Error::Io { .. }) if !path.exists() => Err(error.into()),
        Err(error) => {
            let mut report = Report::default();
            report.add(
                Severity::Error,
                &path.display().to_string(),
                error.to_string(),
            );
            Ok(report)
        }
    }
}

/// Checks an opened layout: everything that its index leads to, and its unreferenced blobs.
pub fn verify_layout(layout: &Layout) -> Report {
    let mut check = Check::new(layout);
    check.index("index.json", layout.index(), 0);
    check.docker_entries(layout);
    check.unreferenced_blobs(layout);
    check.report
}

/// Checks everything that one descriptor leads to, for instance in a registry.
pub fn verify_blobs(blobs: &dyn Blobs, root: &Descriptor) -> Report {
    let mut check = Check::new(blobs);
    check.index(&blobs.title(), &Index::new(vec![root.clone()]), 0);
    check.report
}

/// A running check.
struct Check<'a> {
    blobs: &'a dyn Blobs,
    report: Report,
    /// Blobs that were hashed, and whether they match their digest.
    hashed: BTreeMap<Digest, bool>,
    /// Manifests and indexes that were read, and whether a descriptor called them statements.
    visited: BTreeSet<(Digest, bool)>,
    /// The diff ids of layers by digest and media type, or `None` for a layer that can't be read.
    diff_ids: BTreeMap<(Digest, String), Option<Digest>>,
}

impl<'a> Check<'a> {
    fn new(blobs: &'a dyn Blobs) -> Check<'a> {
        Check {
            blobs,
            report: Report::default(),
            hashed: BTreeMap::new(),
            visited: BTreeSet::new(),
            diff_ids: BTreeMap::new(),
        }
    }

    fn error(&mut self, subject: &str, problem: impl Into<String>) {
        self.report.add(Severity::Error, subject, problem);
    }

    fn warning(&mut self, subject: &str, problem: impl Into<String>) {
        self.report.add(Severity::Warning, subject, problem);
    }

    /// Compares `manifest.json` with the index: an engine that reads the other one must get the
    /// same images under the same names.
    fn docker_entries(&mut self, layout: &Layout) {
        const SUBJECT: &str = "manifest.json";
        match unlike_index(layout) {
            Ok(problems) => {
                for problem in problems {
                    self.error(SUBJECT, problem);
                }
            }
            Err(error) => self.error(SUBJECT, error.to_string()),
        }
    }

    fn unreferenced_blobs(&mut self, layout: &Layout) {
        let paths = match layout.blob_paths() {
            Ok(paths) => paths,
            Err(error) => return self.error("blobs", error.to_string()),
        };
        let mut unreferenced = 0;
        for path in paths {
            match Digest::of_blob_path(&path) {
                None => self.warning(&format!("{path:?}"), "its name is not that of a blob"),
                Some(digest) if !self.hashed.contains_key(&digest) => unreferenced += 1,
                Some(_) => {}
            }
        }
        if unreferenced > 0 {
            let problem = format!("the index leads to all but {unreferenced} of them");
            self.report.add(Severity::Note, "blobs", problem);
        }
    }
}

/// Returns what `manifest.json` of an archive says otherwise than its index.
fn unlike_index(layout: &Layout) -> Result<Vec<String>> {
    let entries = layout.docker_entries()?;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut indexed = Vec::new();
    for image in layout.images()? {
        let manifest = layout.manifest(&image.descriptor)?;
        let layers = manifest.layers.into_iter().map(|layer| layer.digest);
        let blobs = (manifest.config.digest, layers.collect::<Vec<_>>());
        let names = image.names.iter().filter_map(|name| name.parse().ok());
        indexed.push((blobs, names.collect::<Vec<ImageName>>()));
    }
    let mut problems = Vec::new();
    for entry in entries {
        let blobs = (entry.config, entry.layers);
        if !indexed.iter().any(|(own, _)| *own == blobs) {
            let config = &blobs.0;
            problems.push(format!(
                "it names an image with the configuration {config}, which the index does not"
            ));
        }
        for name in &entry.names {
            let is_other =
                |(own, names): &(_, Vec<ImageName>)| *own != blobs && names.contains(name);
            if indexed.iter().any(is_other) {
                problems.push(format!("it gives {name} to another image than the index"));
            }
        }
    }
    Ok(problems)
}
