//! Proofs that an entry is in a log's tree.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{decode, log_error};
use crate::Error;
use crate::root::Log;

type Hash = [u8; 32];

/// The proof that a body is in a log's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proof {
    #[serde(default, with = "super::number")]
    pub(super) log_index: i64,
    pub(super) root_hash: String,
    #[serde(with = "super::number")]
    pub(super) tree_size: i64,
    #[serde(default)]
    pub(super) hashes: Vec<String>,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// A root of the tree that the log signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) envelope: String,
}

impl Proof {
    /// Checks that this body is in the tree whose root the log signed.
    pub(super) fn check(&self, log: &Log, body: &[u8]) -> Result<(), Error> {
        let hash = |text: &str| -> Result<Hash, Error> {
            let wrong = |_| log_error("a hash of the proof has the wrong length");
            decode(text)?.try_into().map_err(wrong)
        };
        let root = hash(&self.root_hash)?;
        let hashes: Vec<Hash> = self
            .hashes
            .iter()
            .map(|it| hash(it))
            .collect::<Result<_, _>>()?;
        let leaf = node(0, &[body]);
        if tree_root(leaf, self.log_index, self.tree_size, &hashes) != Some(root) {
            return Err(log_error("the proof does not lead to the root of the tree"));
        }
        let checkpoint = self.checkpoint.as_ref();
        let checkpoint = checkpoint.ok_or_else(|| log_error("the proof has no checkpoint"))?;
        checkpoint.check(log, self.tree_size, &root)
    }
}

impl Checkpoint {
    /// Checks that the log signed this root for its tree of this size.
    fn check(&self, log: &Log, size: i64, root: &Hash) -> Result<(), Error> {
        let damaged = || log_error("its checkpoint is damaged");
        let (text, signatures) = self.envelope.split_once("\n\n").ok_or_else(damaged)?;
        let mut lines = text.lines().skip(1);
        let own_size: i64 = lines
            .next()
            .and_then(|it| it.parse().ok())
            .ok_or_else(damaged)?;
        let own_root = decode(lines.next().ok_or_else(damaged)?)?;
        if own_size != size || own_root != root {
            return Err(log_error("its checkpoint is of another tree"));
        }
        let message = format!("{text}\n");
        let is_signed = signatures.lines().any(|line| {
            let encoded = line.strip_prefix("— ").and_then(|it| it.rsplit_once(' '));
            let bytes = encoded.and_then(|(_, encoded)| decode(encoded).ok());
            bytes.is_some_and(|bytes| {
                bytes.len() > 4
                    && &bytes[..4] == log.hint()
                    && log.verifies(message.as_bytes(), &bytes[4..])
            })
        });
        match is_signed {
            true => Ok(()),
            false => Err(log_error("the log has not signed its checkpoint")),
        }
    }
}

/// Computes the root of a tree of `size` leaves from the leaf at `index` and its audit path.
fn tree_root(leaf: Hash, index: i64, size: i64, hashes: &[Hash]) -> Option<Hash> {
    let (mut index, mut last) = (
        u64::try_from(index).ok()?,
        u64::try_from(size).ok()?.checked_sub(1)?,
    );
    if index > last {
        return None;
    }
    let mut root = leaf;
    for hash in hashes {
        if last == 0 {
            return None;
        }
        if index & 1 == 1 || index == last {
            root = node(1, &[hash, &root]);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            root = node(1, &[&root, hash]);
        }
        index >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

fn node(prefix: u8, parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([prefix]);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes the root of a tree by the definition, and the proof of one leaf.
    fn tree(leaves: &[Hash], index: usize) -> (Hash, Vec<Hash>) {
        if let [only] = leaves {
            return (*only, Vec::new());
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        let (own, other) = match index < split {
            true => (tree(left, index), tree(right, 0).0),
            false => (tree(right, index - split), tree(left, 0).0),
        };
        let root = match index < split {
            true => node(1, &[&own.0, &other]),
            false => node(1, &[&other, &own.0]),
        };
        (root, [own.1, vec![other]].concat())
    }

    #[test]
    fn proofs_lead_to_the_root_of_trees_of_every_size() {
        let leaves: Vec<Hash> = (0_u8..20).map(|it| node(0, &[&[it]])).collect();
        for size in 1..=leaves.len() {
            for index in 0..size {
                let (root, proof) = tree(&leaves[..size], index);
                let found = |leaf, index: usize, size: usize, proof: &[Hash]| {
                    tree_root(leaf, index as i64, size as i64, proof)
                };
                assert_eq!(found(leaves[index], index, size, &proof), Some(root));
                let other = node(0, &[b"other"]);
                assert_ne!(found(other, index, size, &proof), Some(root));
                let longer = [&proof[..], &[other]].concat();
                assert_ne!(found(leaves[index], index, size, &longer), Some(root));
                if !proof.is_empty() {
                    let shorter = &proof[1..];
                    assert_ne!(found(leaves[index], index, size, shorter), Some(root));
                }
            }
        }
        assert_eq!(tree_root(leaves[0], -1, 1, &[]), None);
        assert_eq!(tree_root(leaves[0], 0, 0, &[]), None);
    }
}
