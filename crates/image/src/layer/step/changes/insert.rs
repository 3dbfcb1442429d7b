//! Puts the changes of a step into its layer.

use std::collections::BTreeMap;

use super::super::below::Below;
use super::super::owned::Owned;
use super::{Change, Changes, Kind, ancestors};
use crate::Result;
use crate::files::{File, FileKind};
use crate::layer::tree::{Body, Content, Node, Tree, WHITEOUT};

impl Changes {
    /// Puts all changes into the layer, with their parent directories unchanged.
    pub(in crate::layer::step) fn insert(
        &self,
        tree: &mut Tree,
        below: &Below,
        origin: &str,
    ) -> Result<()> {
        let mut nodes = BTreeMap::new();
        for (path, change) in &self.all {
            for above in ancestors(path).filter(|above| !self.all.contains_key(*above)) {
                let node = || Owned::of(below.listing.get(above)).node(Body::Directory, origin);
                nodes.entry(above.to_owned()).or_insert_with(node);
            }
            let (path, node) = self.node(path, change, below, origin);
            nodes.insert(path, node);
        }
        nodes
            .into_iter()
            .try_for_each(|(path, node)| tree.insert(path, node))
    }

    fn node(&self, path: &str, change: &Change, below: &Below, origin: &str) -> (String, Node) {
        let body = match &change.kind {
            Kind::Removed => {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                let slash = if parent.is_empty() { "" } else { "/" };
                let path = format!("{parent}{slash}{WHITEOUT}{name}");
                let owned = Owned::after(None, change.mode, false, false);
                return (path, owned.node(Body::Whiteout, origin));
            }
            Kind::Directory => Body::Directory,
            Kind::Symlink(target) => Body::Symlink(target.clone()),
            Kind::HardLink(first) => Body::HardLink(first.clone()),
            Kind::File { length, .. } => Body::File(Content::File {
                path: self.root.join(path),
                length: *length,
            }),
        };
        let owned = self.owned(path, change, below);
        (path.to_owned(), owned.node(body, origin))
    }

    fn owned(&self, path: &str, change: &Change, below: &Below) -> Owned {
        // All names of a file have its attributes.
        let (path, change) = match &change.kind {
            Kind::HardLink(first) => (first.as_str(), self.all.get(first).unwrap_or(change)),
            _ => (path, change),
        };
        let lower = below.listing.get(change.like.as_deref().unwrap_or(path));
        let is_the_same = lower.is_some_and(|lower| change.kind.is_of(lower));
        Owned::after(lower, change.mode, is_the_same, change.loses_set_id)
    }
}

impl Kind {
    /// Whether a file below has this kind and content. No command alters a link: one with another
    /// target is another file.
    fn is_of(&self, file: &File) -> bool {
        match self {
            Kind::Removed | Kind::HardLink(_) | Kind::Symlink(_) => false,
            Kind::Directory => file.kind == FileKind::Directory,
            Kind::File { digest, .. } => {
                let is_regular = matches!(file.kind, FileKind::File | FileKind::HardLink);
                is_regular && file.digest.as_ref() == Some(digest)
            }
        }
    }
}
