//! Keys in AWS KMS sign like keys in memory, and secrets stay secret. moto checks the signatures of
//! requests in the end-to-end tests.
#![allow(missing_docs)]

mod common;

use common::{open, refusal, signs};
use crateyard_signing::PublicKey;
use crateyard_testing::aws::{Aws, KEY};
use crateyard_testing::kms::Fault;

const SESSION: &str = "s3cret-session";

fn variables(url: &str) -> [(&str, &str); 5] {
    [
        ("AWS_ENDPOINT_URL_KMS", url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
        ("AWS_SESSION_TOKEN", SESSION),
    ]
}

#[test]
fn a_key_signs_by_requests_that_name_the_service_and_the_session() {
    let aws = Aws::start();
    let url = aws.url();
    let key = open(&format!("awskms:///{KEY}"), &variables(&url)).unwrap();
    signs(&key, &PublicKey::from_der(&aws.public()).unwrap());
    let seen = aws.seen();
    let actions: Vec<&str> = seen.iter().map(|it| &*it.headers["x-amz-target"]).collect();
    assert_eq!(actions, ["TrentService.GetPublicKey", "TrentService.Sign"]);
    for request in seen {
        let signed = &request.headers["authorization"];
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
                && signed.contains("/eu-central-1/kms/aws4_request")
                && signed.contains("x-amz-security-token"),
            "{signed}"
        );
        assert_eq!(request.headers["x-amz-security-token"], SESSION);
    }
}

#[test]
fn a_signature_of_something_else_is_refused() {
    let aws = Aws::start();
    let url = aws.url();
    let key = open(&format!("awskms:///{KEY}"), &variables(&url)).unwrap();
    for fault in [Fault::OtherKey, Fault::OtherDigest, Fault::Damaged] {
        aws.err(fault);
        let error = key.sign(b"message").unwrap_err().to_string();
        assert!(
            error.contains("does not fit its public key") && error.contains(KEY),
            "{fault:?}: {error}"
        );
    }
    aws.err(Fault::None);
    key.sign(b"message").unwrap();
}

#[test]
fn keys_that_can_not_sign_are_refused() {
    let aws = Aws::start();
    let url = aws.url();
    let all = variables(&url);
    let [_, region, id, secret, _] = all;
    for (reference, variables, said) in [
        (
            "awskms:///agrees",
            &all[..],
            "its usage is \"KEY_AGREEMENT\"",
        ),
        ("awskms:///alias/missing", &all, "NotFoundException"),
        ("awskms:///", &all, "it names no key"),
        (
            "awskms:///agrees",
            &[all[0], id, secret],
            "the region is not set",
        ),
        (
            "awskms:///agrees",
            &[all[0], region, secret],
            "AWS_ACCESS_KEY_ID",
        ),
    ] {
        let error = refusal(reference, variables);
        assert!(error.contains(said), "{reference}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
