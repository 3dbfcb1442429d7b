//! Signatures by identities, made with stand-ins for sigstore's services. Each reason for a refusal
//! is tested alone.
#![allow(missing_docs)]

use crateyard_signing::{
    Bundle, Error, Identity, Keyless, Services, Simple, Token, TrustedRoot, Web, image_statement,
};
use crateyard_testing::sigstore::{Faults, ISSUER, REQUEST_TOKEN, Sigstore, token};
use serde_json::Value;

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
const WORKFLOW: &str = "team/shop/.github/workflows/release.yml@refs/tags/v1";

fn services(sigstore: &Sigstore) -> Services {
    Services {
        fulcio: sigstore.url(),
        rekor: sigstore.url(),
        web: Web::default(),
    }
}

fn root(sigstore: &Sigstore) -> TrustedRoot {
    parse(&sigstore.trusted_root())
}

fn parse(root: &Value) -> TrustedRoot {
    TrustedRoot::parse(root.to_string().as_bytes()).unwrap()
}

fn signer(sigstore: &Sigstore) -> Result<Keyless, Error> {
    Keyless::begin(&Token::parse(&token(WORKFLOW))?, &services(sigstore))
}

fn sign(sigstore: &Sigstore) -> Bundle {
    let signer = signer(sigstore).unwrap();
    signer.sign(&image_statement(DIGEST)).unwrap()
}

fn verify(bundle: &Bundle, root: &TrustedRoot) -> Result<Identity, String> {
    let read = Bundle::parse(&bundle.to_bytes()).unwrap();
    let verified = read.verify_identity(root, DIGEST);
    let (statement, identity) = verified.map_err(|error| error.to_string())?;
    assert_eq!(statement, image_statement(DIGEST));
    Ok(identity)
}

#[test]
fn a_workflow_signs_and_its_name_is_read() {
    let sigstore = Sigstore::start();
    let identity = verify(&sign(&sigstore), &root(&sigstore)).unwrap();
    assert_eq!(identity.subject, format!("https://github.com/{WORKFLOW}"));
    assert_eq!(identity.issuer, ISSUER);
    let claims = &identity.claims;
    assert_eq!(claims["source-repository"], "https://github.com/team/shop");
    assert_eq!(claims["source-ref"], "refs/tags/v1");
    let other = DIGEST.replace('1', "2");
    assert!(
        sign(&sigstore)
            .verify_identity(&root(&sigstore), &other)
            .is_err()
    );
}

#[test]
fn the_older_form_is_signed_and_read_too() {
    let sigstore = Sigstore::start();
    let document = Simple::document("registry.example/app", DIGEST);
    let signed = signer(&sigstore).unwrap().sign_simple(document).unwrap();
    let identity = signed.verify_identity(&root(&sigstore), DIGEST).unwrap();
    assert_eq!(identity.issuer, ISSUER);
    let other = DIGEST.replace('1', "2");
    assert!(signed.verify_identity(&root(&sigstore), &other).is_err());
    for name in signed.annotations.keys() {
        let mut changed = signed.clone();
        changed.annotations.remove(name);
        let verified = changed.verify_identity(&root(&sigstore), DIGEST);
        assert_eq!(verified.is_ok(), name.ends_with("/chain"), "without {name}");
    }
    let mut changed = signed.clone();
    changed.payload = Simple::document("registry.example/other", DIGEST);
    assert!(changed.verify_identity(&root(&sigstore), DIGEST).is_err());
}

#[test]
fn each_fault_of_the_services_is_refused_by_its_name() {
    let sigstore = Sigstore::start();
    let root = root(&sigstore);
    let fault = Faults::default();
    let faults = [
        (
            Faults {
                no_sct: true,
                ..fault
            },
            "it has no SCT",
        ),
        (
            Faults {
                strange_sct: true,
                ..fault
            },
            "no trusted log of certificates",
        ),
        (
            Faults {
                not_for_code: true,
                ..fault
            },
            "not for signing code",
        ),
        (
            Faults {
                no_issuer: true,
                ..fault
            },
            "names no issuer",
        ),
        (
            Faults {
                strange_set: true,
                ..fault
            },
            "has not signed its time (SET)",
        ),
        (
            Faults { late: 700, ..fault },
            "had expired when the log took",
        ),
        (
            Faults {
                late: -700,
                ..fault
            },
            "not yet valid when the log took",
        ),
        (
            Faults {
                strange_checkpoint: true,
                ..fault
            },
            "has not signed its checkpoint",
        ),
    ];
    for (fault, reason) in faults {
        sigstore.err(fault);
        let said = verify(&sign(&sigstore), &root).unwrap_err();
        assert!(said.contains(reason), "{fault:?}: {said}");
    }
    sigstore.err(Faults::default());
    verify(&sign(&sigstore), &root).unwrap();
}

#[test]
fn a_root_that_lacks_one_of_the_services_trusts_nobody() {
    let (sigstore, other) = (Sigstore::start(), Sigstore::start());
    let bundle = sign(&sigstore);
    for (part, reason) in [
        ("tlogs", "no log of the trusted root"),
        ("certificateAuthorities", "no certificate authority"),
        ("ctlogs", "no trusted log of certificates"),
    ] {
        let mut root = sigstore.trusted_root();
        root[part] = other.trusted_root()[part].clone();
        let said = verify(&bundle, &parse(&root)).unwrap_err();
        assert!(said.contains(reason), "{part}: {said}");
        root[part] = serde_json::json!([]);
        verify(&bundle, &parse(&root)).unwrap_err();
    }
    let mut root = sigstore.trusted_root();
    let over = serde_json::json!({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"});
    root["tlogs"][0]["publicKey"]["validFor"] = over.clone();
    verify(&bundle, &parse(&root)).unwrap_err();
    root = sigstore.trusted_root();
    root["certificateAuthorities"][0]["validFor"] = over;
    let said = verify(&bundle, &parse(&root)).unwrap_err();
    assert!(said.contains("for that time"), "{said}");
}

/// Changes every text and number of a bundle in turn. This list names the unsigned ones.
#[test]
fn what_was_changed_after_signing_is_refused() {
    let unsigned = ["/mediaType", "/kindVersion/kind", "/kindVersion/version"];
    let sigstore = Sigstore::start();
    let root = root(&sigstore);
    let whole: Value = serde_json::from_slice(&sign(&sigstore).to_bytes()).unwrap();
    let mut paths = Vec::new();
    leaves(&whole, String::new(), &mut paths);
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        let mut changed = whole.clone();
        let leaf = changed.pointer_mut(&path).unwrap();
        let text = leaf.as_str().unwrap();
        let middle = text.len() / 2;
        let other = if &text[middle..=middle] == "1" {
            "2"
        } else {
            "1"
        };
        *leaf = format!("{}{other}{}", &text[..middle], &text[middle + 1..]).into();
        let parsed = Bundle::parse(changed.to_string().as_bytes());
        let verified = parsed.and_then(|bundle| bundle.verify_identity(&root, DIGEST));
        let is_unsigned = unsigned.iter().any(|end| path.ends_with(end));
        assert_eq!(verified.is_ok(), is_unsigned, "{path}: {verified:?}");
    }
    for part in ["inclusionProof", "inclusionPromise"] {
        let mut changed = whole.clone();
        let entry = &mut changed["verificationMaterial"]["tlogEntries"][0];
        entry.as_object_mut().unwrap().remove(part);
        let bundle = Bundle::parse(changed.to_string().as_bytes()).unwrap();
        assert!(bundle.verify_identity(&root, DIGEST).is_err(), "{part}");
    }
}

fn leaves(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, format!("{path}/{index}"), found);
            }
        }
        _ => found.push(path),
    }
}

#[test]
fn an_entry_about_another_signature_is_refused() {
    let sigstore = Sigstore::start();
    let json = || serde_json::from_slice::<Value>(&sign(&sigstore).to_bytes()).unwrap();
    let (mut one, other) = (json(), json());
    let entries = "/verificationMaterial/tlogEntries";
    *one.pointer_mut(entries).unwrap() = other.pointer(entries).unwrap().clone();
    let bundle = Bundle::parse(one.to_string().as_bytes()).unwrap();
    let said = bundle
        .verify_identity(&root(&sigstore), DIGEST)
        .unwrap_err();
    assert!(said.to_string().contains("another signature"), "{said}");
}

#[test]
fn tokens_come_from_the_environment_of_the_job() {
    let sigstore = Sigstore::start();
    let github = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", sigstore.token_url()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN.to_owned()),
    ];
    let gitlab = [("SIGSTORE_ID_TOKEN", token(WORKFLOW))];
    for variables in [&github[..], &gitlab] {
        let variable = |name: &str| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| value.clone())
        };
        let token = Token::of_environment(variable, &Web::default()).unwrap();
        Keyless::begin(&token, &services(&sigstore)).unwrap();
    }
    let said = Token::of_environment(|_| None, &Web::default()).unwrap_err();
    assert!(said.to_string().contains("id-token: write"), "{said}");
}

#[test]
fn services_are_asked_again_and_their_refusals_are_quoted() {
    let sigstore = Sigstore::start();
    sigstore.err(Faults {
        outages: 2,
        ..Faults::default()
    });
    signer(&sigstore).unwrap();
    sigstore.err(Faults {
        refuses: true,
        ..Faults::default()
    });
    let said = signer(&sigstore).map(drop).unwrap_err().to_string();
    assert!(
        said.contains("401") && said.contains("not good enough"),
        "{said}"
    );
    let mut elsewhere = services(&sigstore);
    elsewhere.fulcio = "http://fulcio.example".to_owned();
    let token = Token::parse(&token(WORKFLOW)).unwrap();
    let said = Keyless::begin(&token, &elsewhere).map(drop).unwrap_err();
    assert!(said.to_string().contains("must be https://"), "{said}");
}
