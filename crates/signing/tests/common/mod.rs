//! Checks of keys that a token or a service keeps.

use crateyard_signing::{Bundle, Error, PublicKey, SecretKey, Web, image_statement};

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// Opens a key with these environment variables. `CA_FILE` names a certificate authority to trust.
pub(crate) fn open(reference: &str, variables: &[(&str, &str)]) -> Result<SecretKey, Error> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let ca_files = variable("CA_FILE").into_iter().map(Into::into).collect();
    SecretKey::kept(reference, variable, &Web { ca_files })
}

/// Returns the text of the error of opening a key.
pub(crate) fn refusal(reference: &str, variables: &[(&str, &str)]) -> String {
    match open(reference, variables) {
        Err(error) => format!("{error} {error:?}"),
        Ok(_) => panic!("{reference} is opened"),
    }
}

/// Signs with a key, and verifies the signature with its public key alone.
#[track_caller]
pub(crate) fn signs(key: &SecretKey, public: &PublicKey) {
    assert_eq!(&key.public(), public);
    assert!(!key.is_here());
    let bundle = Bundle::sign(&image_statement(DIGEST), key).unwrap();
    bundle.verify(public, DIGEST).unwrap();
    assert!(
        bundle
            .verify(&SecretKey::generate().public(), DIGEST)
            .is_err()
    );
}
