//! Keys in Google Cloud KMS sign like keys in memory, with credentials of each kind, and secrets
//! stay secret.
#![allow(missing_docs)]

mod common;

use common::{open, refusal, signs};
use crateyard_signing::{PublicKey, SecretKey};
use crateyard_testing::google::{self, Google, KEY};
use crateyard_testing::kms::Fault;
use serde_json::{Value, json};

const ENDPOINT: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS";
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const TOKEN: &str = "CLOUDSDK_AUTH_ACCESS_TOKEN";
const METADATA: &str = "GCE_METADATA_HOST";

/// Files of credentials for the services.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    /// Writes a file, and returns its path.
    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn with(mut file: Value, name: &str, value: &str) -> Value {
    file[name] = value.into();
    file
}

#[test]
fn credentials_of_each_kind_sign() {
    let (google, files) = (Google::start(), Files::new());
    let (url, host) = (google.url(), google.host());
    let account = files.write("account.json", &google.account().to_string());
    let job = files.write("job.json", &google.pool().to_string());
    // The token in a file, as Kubernetes gives it, and no service account to act as.
    let token = files.write("token", &format!("{}\n", google::JOB_TOKEN));
    let mut pool = google.pool();
    pool["credential_source"] = json!({"file": token});
    let fields = pool.as_object_mut().unwrap();
    fields.remove("service_account_impersonation_url");
    let pool = files.write("pool.json", &pool.to_string());
    let user = google.user().to_string();
    files.write(".config/gcloud/application_default_credentials.json", &user);
    let home = files.0.path().to_str().unwrap();
    for (variable, value, token) in [
        (TOKEN, google::OTHER_TOKEN, google::OTHER_TOKEN),
        (FILE, &account, google::ACCOUNT_TOKEN),
        (FILE, &job, google::IMPERSONATED_TOKEN),
        (FILE, &pool, google::POOL_TOKEN),
        ("HOME", home, google::USER_TOKEN),
        (METADATA, &host, google::MACHINE_TOKEN),
    ] {
        let variables = [(ENDPOINT, &*url), (variable, value)];
        let key = open(&format!("gcpkms://{KEY}"), &variables).unwrap();
        signs(&key, &PublicKey::from_pem(&google.public(10)).unwrap());
        let used = google.seen().pop().and_then(|it| it.authorization);
        assert_eq!(used, Some(format!("Bearer {token}")), "{variable}");
    }
    // A token serves until it ends.
    let asked = google
        .seen()
        .iter()
        .filter(|it| it.is("POST", "/token"))
        .count();
    assert_eq!(asked, 4, "account, job, pool, user");
}

/// Opens a key with a token.
fn opened(google: &Google, rest: &str) -> SecretKey {
    let (reference, url) = (format!("gcpkms://{KEY}{rest}"), google.url());
    open(
        &reference,
        &[(ENDPOINT, &url), (TOKEN, google::OTHER_TOKEN)],
    )
    .unwrap()
}

#[test]
fn the_version_is_the_named_one_or_the_newest_that_is_enabled() {
    let google = Google::start();
    for (rest, version) in [("", 10), ("/cryptoKeyVersions/2", 2), ("/versions/2", 2)] {
        let public = PublicKey::from_pem(&google.public(version)).unwrap();
        signs(&opened(&google, rest), &public);
    }
}

#[test]
fn a_signature_of_something_else_is_refused() {
    let google = Google::start();
    let key = opened(&google, "");
    for (fault, said) in [
        (Fault::OtherKey, "does not fit its public key"),
        (Fault::OtherDigest, "does not fit its checksum"),
        (Fault::OtherVersion, "is about another version"),
        (Fault::Damaged, "the signature does not fit its checksum"),
    ] {
        google.err(fault);
        let error = key.sign(b"message").unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains(KEY),
            "{fault:?}: {error}"
        );
    }
    google.err(Fault::None);
    key.sign(b"message").unwrap();
}

#[test]
fn keys_that_can_not_sign_are_refused() {
    let google = Google::start();
    let url = google.url();
    let token = [(ENDPOINT, &*url), (TOKEN, google::OTHER_TOKEN)];
    let ring = KEY.trim_end_matches("images");
    let at = |rest: &str| format!("gcpkms://{ring}{rest}");
    for (reference, said) in [
        (
            at("images/cryptoKeyVersions/11"),
            "current state is: DISABLED",
        ),
        (at("disabled"), "none of its versions is enabled"),
        (at("denied/cryptoKeyVersions/1"), "viewPublicKey' denied"),
        (at("missing"), "answers 404"),
        (
            at("decrypts/cryptoKeyVersions/1"),
            "\"RSA_DECRYPT_OAEP_2048_SHA256\" can't sign here",
        ),
        (at("images/cryptoKeyVersions/newest"), "it names no key"),
        ("gcpkms://images".to_owned(), "gcpkms://projects/PROJECT/"),
    ] {
        let error = refusal(&reference, &token);
        assert!(error.contains(said), "{reference}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn credentials_that_do_not_serve_are_refused_and_not_shown() {
    let (google, files) = (Google::start(), Files::new());
    let url = google.url();
    let executable = json!({"executable": {"command": "cat s3cret"}});
    let mut program = google.pool();
    program["credential_source"] = executable;
    let impersonated = json!({"type": "impersonated_service_account", "source": "s3cret"});
    for (content, said) in [
        (
            with(google.account(), "private_key_id", "1"),
            "Invalid JWT Signature: …",
        ),
        (
            with(google.account(), "private_key", "s3cret"),
            "damaged private_key",
        ),
        (
            with(google.account(), "token_uri", "https://a.example"),
            "not an address of Google's",
        ),
        (
            with(google.account(), "universe_domain", "a.example"),
            "are for \"a.example\"",
        ),
        (
            with(google.account(), "client_email", ""),
            "have no client_email",
        ),
        (
            with(google.user(), "refresh_token", "s3cret"),
            "invalid_grant: …",
        ),
        (
            with(google.user(), "token_uri", "http://a.example"),
            "not an address of Google's",
        ),
        (with(google.pool(), "audience", "a"), "Invalid value for"),
        (
            with(google.pool(), "token_url", "https://a.example"),
            "not an address of Google's",
        ),
        (program, "from \"executable\", which is not supported"),
        (
            impersonated,
            "of the type \"impersonated_service_account\", which is not supported",
        ),
        (json!("s3cret"), "have no type"),
    ] {
        let file = files.write("credentials.json", &content.to_string());
        let error = refusal(
            &format!("gcpkms://{KEY}"),
            &[(ENDPOINT, &url), (FILE, &file)],
        );
        assert!(error.contains(said), "{said}: {error}");
        assert!(
            !error.contains("s3cret") && !error.contains("eyJ"),
            "{error}"
        );
    }
    let damaged = files.write("damaged.json", "{\"private_key\": s3cret");
    let missing = files.0.path().join("missing");
    for (variable, value, said) in [
        (FILE, damaged.as_str(), "are no JSON"),
        (FILE, missing.to_str().unwrap(), "can't be read"),
        (TOKEN, "s3cret", "invalid authentication credentials: …"),
        (METADATA, "127.0.0.1:1", "no credentials are set"),
        (METADATA, "metadata.example", "must be https://"),
    ] {
        let error = refusal(
            &format!("gcpkms://{KEY}"),
            &[(ENDPOINT, &url), (variable, value)],
        );
        assert!(
            error.contains(said) && error.contains("try: "),
            "{said}: {error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}
