//! The log of signatures.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Answer, Faults, Key, answer, now};

type Hash = [u8; 32];

pub(super) struct Log {
    pub key: Key,
    stranger: Key,
    leaves: Mutex<Vec<Hash>>,
}

impl Log {
    pub(super) fn new() -> Log {
        // Other entries, so that proofs are not empty.
        let leaves = (0_u8..5).map(|it| node(0, &[&[it]])).collect();
        Log {
            key: Key::new(),
            stranger: Key::new(),
            leaves: Mutex::new(leaves),
        }
    }

    /// Takes an entry, and returns the log's answer.
    pub(super) fn answer(&self, proposed: &Value, faults: &Faults) -> Answer {
        let Some(body) = canonical(proposed) else {
            return answer(
                400,
                &json!({"code": 400, "message": "this is not an entry"}),
            );
        };
        let body = body.to_string();
        let mut leaves = self.leaves.lock().unwrap();
        let index = leaves.len();
        leaves.push(node(0, &[body.as_bytes()]));
        let (root, proof) = tree(&leaves, index);
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect::<String>()
        };
        let (id, time) = (hex(&self.key.id()), now() + faults.late);
        let encoded = STANDARD.encode(&body);
        let promised = format!(
            r#"{{"body":"{encoded}","integratedTime":{},"logID":"{id}","logIndex":{index}}}"#,
            time + i64::from(faults.strange_set)
        );
        let head = format!(
            "rekor.test - 1\n{}\n{}\n",
            leaves.len(),
            STANDARD.encode(root)
        );
        let signer = if faults.strange_checkpoint {
            &self.stranger
        } else {
            &self.key
        };
        let signed = [&self.key.id()[..4], &signer.sign(head.as_bytes())].concat();
        let checkpoint = format!("{head}\n— rekor.test {}\n", STANDARD.encode(signed));
        let hashes: Vec<String> = proof.iter().map(|hash| hex(hash)).collect();
        let entry = json!({
            "body": encoded, "integratedTime": time, "logID": id, "logIndex": index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": checkpoint, "hashes": hashes, "logIndex": index,
                    "rootHash": hex(&root), "treeSize": leaves.len(),
                },
                "signedEntryTimestamp": STANDARD.encode(self.key.sign(promised.as_bytes())),
            },
        });
        let name = hex(&leaves[index]);
        // cosign finds the entry by this header.
        answer(201, &json!({name.clone(): entry})).header("etag", name)
    }
}

/// Returns the part of a proposed entry that the log keeps.
fn canonical(proposed: &Value) -> Option<Value> {
    let sha256 = |bytes: &[u8]| {
        json!({"algorithm": "sha256",
            "value": format!("{:x}", Sha256::digest(bytes))})
    };
    let spec = &proposed["spec"];
    let spec = match proposed["kind"].as_str()? {
        "dsse" => {
            let content = &spec["proposedContent"];
            let text = content["envelope"].as_str()?;
            let envelope: Value = serde_json::from_str(text).ok()?;
            let payload = STANDARD.decode(envelope["payload"].as_str()?).ok()?;
            json!({
                "envelopeHash": sha256(text.as_bytes()),
                "payloadHash": sha256(&payload),
                "signatures": [{
                    "signature": envelope["signatures"][0]["sig"],
                    "verifier": content["verifiers"][0],
                }],
            })
        }
        "hashedrekord" => json!({"data": spec["data"], "signature": spec["signature"]}),
        _ => return None,
    };
    Some(json!({"apiVersion": proposed["apiVersion"], "kind": proposed["kind"], "spec": spec}))
}

/// Returns the root of a tree (RFC 6962, section 2.1), and the hashes beside the path from one leaf
/// to it.
fn tree(leaves: &[Hash], index: usize) -> (Hash, Vec<Hash>) {
    if let [only] = leaves {
        return (*only, Vec::new());
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let is_left = index < left.len();
    let (one, other) = match is_left {
        true => (tree(left, index), tree(right, 0)),
        false => (tree(left, 0), tree(right, index - left.len())),
    };
    let root = node(1, &[&one.0, &other.0]);
    let (mut proof, beside) = match is_left {
        true => (one.1, other.0),
        false => (other.1, one.0),
    };
    proof.push(beside);
    (root, proof)
}

fn node(prefix: u8, parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([prefix]);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
