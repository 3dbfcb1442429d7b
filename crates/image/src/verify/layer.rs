//! Checks a layer: its compression, its diff id, and every entry of its tar stream.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::sync::Arc;

use crateyard_oci::{
    Budget, Descriptor, Digest, DigestAlgorithm,
    digest::HashingReader,
    media_type,
    tar::{self, Entry, Kind},
};

use super::documents::title;
use super::{Check, Severity};
use crate::files::Name;

/// The number of a layer's paths that are remembered, to find duplicates.
const MAX_PATHS: usize = 2_000_000;

impl Check<'_> {
    /// Checks a layer and returns the digest of its tar stream.
    pub(super) fn layer(&mut self, layer: &Descriptor) -> Option<Digest> {
        let subject = title(layer);
        let sound = self.blob(&subject, layer);
        if !media_type::is_layer(&layer.media_type) {
            let problem = format!("media type {:?} is not a layer's", layer.media_type);
            self.error(&subject, problem);
            return None;
        }
        if !sound {
            return None;
        }
        let key = (layer.digest.clone(), layer.media_type.clone());
        if let Some(known) = self.diff_ids.get(&key) {
            return known.clone();
        }
        let diff_id = self.read_layer(&subject, layer);
        self.diff_ids.insert(key, diff_id.clone());
        diff_id
    }

    fn read_layer(&mut self, subject: &str, layer: &Descriptor) -> Option<Digest> {
        let tar = match crateyard_unpack::layer::open(self.blobs, layer, |blob| blob) {
            Ok(tar) => tar,
            Err(error) => {
                self.error(subject, error.to_string());
                return None;
            }
        };
        let mut hashing = HashingReader::new(tar, DigestAlgorithm::Sha256);
        let mut entries = Entries {
            subject,
            paths: HashMap::new(),
            linked: HashSet::new(),
            state: RandomState::new(),
            findings: Vec::new(),
        };
        let count = entries.read(&mut hashing, self.blobs.budget());
        let rest = io::copy(&mut hashing, &mut io::sink());
        for (severity, subject, problem) in entries.findings {
            self.report.add(severity, &subject, problem);
        }
        self.report.entries += count;
        if let Err(error) = rest {
            self.error(subject, format!("it can't be uncompressed: {error}"));
            return None;
        }
        Some(hashing.finish().1)
    }
}

/// The entries of one layer so far.
struct Entries<'a> {
    subject: &'a str,
    /// A hash of each path, and the kind of its entry. The hash is keyed, so that nobody can make
    /// paths that collide.
    paths: HashMap<u64, Kind>,
    /// The hashes of the paths that hard links lead to.
    linked: HashSet<u64>,
    state: RandomState,
    findings: Vec<(Severity, String, String)>,
}

impl Entries<'_> {
    fn read(&mut self, stream: &mut dyn Read, budget: &Arc<Budget>) -> u64 {
        let mut reader = tar::Reader::within(stream, budget);
        let mut count = 0;
        loop {
            match reader.next_entry() {
                Ok(None) => {
                    if !reader.has_end_mark() {
                        let problem = "its tar stream has no end mark".to_owned();
                        self.find(Severity::Warning, self.subject.to_owned(), problem);
                    }
                    return count;
                }
                Ok(Some(entry)) => {
                    count += 1;
                    self.entry(&entry);
                }
                Err(error) => {
                    let subject = self.subject.to_owned();
                    self.find(Severity::Error, subject, error.to_string());
                    return count;
                }
            }
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let subject = self.entry_title(&entry.path);
        let find = |entries: &mut Self, severity, problem: &str| {
            entries.find(severity, subject.clone(), problem.to_owned());
        };
        if entry.path.starts_with(b"/") {
            find(self, Severity::Warning, "its path is absolute");
        }
        if entry.sparse {
            find(
                self,
                Severity::Error,
                "it is a sparse file, which layers can't have",
            );
        }
        match entry.kind {
            Kind::CharacterDevice | Kind::BlockDevice => {
                find(
                    self,
                    Severity::Warning,
                    "it is a device, which only root can unpack",
                );
            }
            Kind::Other(byte) => {
                let problem = format!("its type {byte} is unknown");
                find(self, Severity::Warning, &problem);
            }
            _ => {}
        }
        match Name::of(&entry.path) {
            Ok(Name::Path(path)) => self.path(&path, entry, &subject),
            Ok(Name::Leftover) => {
                let problem = "a storage driver (aufs) left it; no engine unpacks it";
                find(self, Severity::Note, problem);
            }
            Ok(_) => {}
            Err(problem) => find(self, Severity::Error, &problem),
        }
    }

    fn path(&mut self, path: &str, entry: &Entry, subject: &str) {
        let key = self.check_parents(path, subject);
        if entry.kind == Kind::HardLink {
            self.hard_link(entry, subject);
        }
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&key) {
            return;
        }
        let previous = self.paths.insert(key, entry.kind);
        if self.paths.len() == MAX_PATHS {
            let problem = format!("it has more than {MAX_PATHS} paths; the rest is not compared");
            self.find(Severity::Warning, self.subject.to_owned(), problem);
        }
        match previous {
            Some(Kind::Directory) if entry.kind == Kind::Directory => {}
            Some(_) if self.linked.contains(&key) => {
                let problem = "the layer has it twice, and a hard link leads to its first content";
                self.find(Severity::Error, subject.to_owned(), problem.to_owned());
            }
            Some(_) => {
                let problem = "the layer has it twice".to_owned();
                self.find(Severity::Warning, subject.to_owned(), problem);
            }
            None => {}
        }
    }

    fn hard_link(&mut self, entry: &Entry, subject: &str) {
        let Ok(Name::Path(target)) = Name::of(&entry.link) else {
            let problem = format!("it is a hard link to {:?}", shown(&entry.link));
            return self.find(Severity::Error, subject.to_owned(), problem);
        };
        let key = self.key(&target);
        if self.linked.len() < MAX_PATHS {
            self.linked.insert(key);
        }
        match self.paths.get(&key) {
            Some(Kind::File | Kind::HardLink) => {}
            Some(Kind::Symlink) => {
                // tar allows it, but some tools would link to the link's target.
                let problem = format!("it is a hard link to the symbolic link {target:?}");
                self.find(Severity::Warning, subject.to_owned(), problem);
            }
            _ => {
                let problem = format!(
                    "it is a hard link to {:?}, which is not an earlier file of the layer",
                    shown(target.as_bytes())
                );
                self.find(Severity::Warning, subject.to_owned(), problem);
            }
        }
    }

    /// Looks for a parent that is not a directory, and returns the key of the path itself.
    fn check_parents(&mut self, path: &str, subject: &str) -> u64 {
        let mut hasher = self.state.build_hasher();
        let (mut end, mut is_sound) = (0, true);
        for part in path.split('/') {
            if end > 0 {
                let parent = self.paths.get(&hasher.clone().finish());
                if is_sound && parent.is_some_and(|kind| *kind != Kind::Directory) {
                    is_sound = false;
                    let problem = format!(
                        "it lies below {:?}, which the same layer makes no directory",
                        shown(&path.as_bytes()[..end - 1])
                    );
                    self.find(Severity::Error, subject.to_owned(), problem);
                }
            }
            end += part.len() + 1;
            add_part(&mut hasher, part);
        }
        hasher.finish()
    }

    fn key(&self, path: &str) -> u64 {
        let mut hasher = self.state.build_hasher();
        path.split('/').for_each(|part| add_part(&mut hasher, part));
        hasher.finish()
    }

    fn entry_title(&self, path: &[u8]) -> String {
        format!("{}, entry {:?}", self.subject, shown(path))
    }

    fn find(&mut self, severity: Severity, subject: String, problem: String) {
        if self.findings.len() <= super::MAX_FINDINGS {
            self.findings.push((severity, subject, problem));
        }
    }
}

/// Returns a name from the input, cut to a length that fits a message.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(300)]).into_owned()
}

/// Adds a part of a path to its hash, so that all parents of a path are hashed in one go.
fn add_part(hasher: &mut impl Hasher, part: &str) {
    hasher.write(part.as_bytes());
    hasher.write_u8(b'/');
}
