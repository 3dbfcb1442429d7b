//! Whether an image in a registry is signed.

use signing::{BUNDLE_TYPE, Bundle, IMAGE_PREDICATE, PublicKey};

use crate::remote::Remote;

/// What a search for a signature came to.
pub struct Search {
    /// Whether the key signed the image's digest.
    pub is_signed: bool,
    /// Referrers that call themselves signatures and can't be read, each with the reason. Anybody who may write to the
    /// repository can add such; they neither help nor harm.
    pub unusable: Vec<String>,
}

/// Looks for a signature of the image by `key`. Other referrers of the image, however many and whatever they are, are
/// passed over.
///
/// # Errors
/// When the registry refuses to list referrers, or none of those that it sent is the signature and it can't be
/// reached for the others.
pub fn search(remote: &Remote, key: &PublicKey) -> Result<Search, registry::Error> {
    let digest = remote.root().digest;
    let mut search = Search {
        is_signed: false,
        unusable: Vec::new(),
    };
    remote.search_documents(&digest, BUNDLE_TYPE, |name, document| {
        match document.and_then(|bytes| Bundle::parse(&bytes).map_err(|it| it.to_string())) {
            Ok(bundle) => search.is_signed = signs(&bundle, key, &digest.to_string()),
            Err(reason) => search.unusable.push(format!("{name}: {reason}")),
        }
        search.is_signed
    })?;
    Ok(search)
}

fn signs(bundle: &Bundle, key: &PublicKey, digest: &str) -> bool {
    let statement = bundle.verify(key, digest);
    statement.is_ok_and(|statement| statement["predicateType"] == IMAGE_PREDICATE)
}
