//! Signatures by keys that a token or a service keeps.

use std::os::unix::fs::PermissionsExt;

use crateyard_testing::azure::{self, Azure};
use crateyard_testing::google::{self, Google};
use crateyard_testing::need;
use crateyard_testing::softhsm::{self, SoftHsm};
use crateyard_testing::vault::{self, Vault};
use serde_json::json;

use super::place::has;
use super::{ASSEMBLE, World};

impl World {
    /// Signs with a key that a token or a service keeps. `verify` and cosign verify the signature
    /// with the public key alone, and `verify` by the key's reference.
    #[track_caller]
    fn signs_with(&self, name: &str, key: &str, variables: &[(&str, &str)], public: &str) {
        let target = self.registry.reference(&format!("{name}:v1")).to_string();
        let mut push = vec!["push", &self.image, "--to", &target, "--attest"];
        push.extend(["--sign-as", "both", "--sign-key", key]);
        // A dry run uses no key.
        let dry = [&push[..], &["--dry-run"]].concat();
        for arguments in [dry, push] {
            let (code, said) = self.place.run_with(ASSEMBLE, &arguments, variables);
            assert_eq!(code, 0, "{said}");
        }
        self.accepts(&target, &["--public-key", public]);
        let verify = ["verify", &target, "--public-key", key];
        let (code, said) = self.place.run_with(ASSEMBLE, &verify, variables);
        assert_eq!(code, 0, "{said}");
        self.refuses(&target, &["--public-key", "other.pub"], "NOT SIGNED");
        if !has("cosign") {
            return;
        }
        let flags = [
            "--insecure-ignore-tlog=true",
            "--allow-insecure-registry",
            &target,
        ];
        let verify = [&["verify", "--key", public][..], &flags].concat();
        let (code, said) = self.place.run("cosign", &verify);
        assert_eq!(code, 0, "{said}");
    }

    /// Writes an `az` that somebody has logged in with, and returns the PATH that finds it.
    fn stand_in_for_az(&self) -> String {
        let answer = json!({"accessToken": azure::PERSON_TOKEN, "expires_on": 4102444800u32});
        let wanted = "account get-access-token --output json --resource https://vault.azure.net";
        let script = format!("#!/bin/sh\ntest \"$*\" = '{wanted}' && echo '{answer}'\n");
        let bin = self.place.path("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::write(bin.join("az"), script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bin.join("az"), mode).unwrap();
        format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
    }
}

#[test]
fn keys_in_tokens_and_services_sign_and_cosign_verifies() {
    need!("kept keys", "docker-registry", "softhsm2-util", "openssl");
    let world = World::new();
    let token = SoftHsm::new().unwrap();
    token.import("release", "01", &world.place.path("key"));
    let settings = token.settings();
    let settings = ("SOFTHSM2_CONF", settings.to_str().unwrap());
    let engine = Vault::start();
    let address = engine.url();
    std::fs::write(world.place.path("vault.pub"), engine.public()).unwrap();
    let (in_token, in_vault) = (
        token.reference("release"),
        "hashivault://release-key".to_owned(),
    );
    let pin = [settings, ("COSIGN_PKCS11_PIN", softhsm::PIN)];
    let vault = [
        ("VAULT_ADDR", &*address),
        ("VAULT_TOKEN", vault::TOKEN),
        ("VAULT_NAMESPACE", vault::NAMESPACE),
    ];
    world.signs_with("token", &in_token, &pin, "key.pub");
    world.signs_with("vault", &in_vault, &vault, "vault.pub");
    for (key, variables) in [
        (format!("{in_token}&pin-value=4711%200816"), &[settings][..]),
        (in_vault, &[vault[0], ("VAULT_TOKEN", "4711"), vault[2]]),
    ] {
        let sign = ["sign", "127.0.0.1:1/a:v1", "--sign-key", &key];
        let (code, said) = world.place.run_with(ASSEMBLE, &sign, variables);
        assert_ne!(code, 0, "{said}");
        assert!(
            said.contains("refuses the PIN") || said.contains("permission denied"),
            "{said}"
        );
        assert!(!said.contains("4711"), "{said}");
    }
}

#[test]
fn keys_in_google_cloud_kms_sign_and_cosign_verifies() {
    need!("keys of Google's", "docker-registry");
    let (world, google) = (World::new(), Google::start());
    let key = format!("gcpkms://{}", google::KEY);
    let url = google.url();
    std::fs::write(world.place.path("google.pub"), google.public(10)).unwrap();
    let file = google.account().to_string();
    std::fs::write(world.place.path("account.json"), file).unwrap();
    let variables = [
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", &*url),
        ("GOOGLE_APPLICATION_CREDENTIALS", "account.json"),
    ];
    world.signs_with("google", &key, &variables, "google.pub");
    let sign = ["sign", "127.0.0.1:1/a:v1", "--sign-key", &key];
    for (variable, value, reason) in [
        ("GCE_METADATA_HOST", "127.0.0.1:1", "no credentials are set"),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN", "4711", "answers 401"),
    ] {
        let variables = [variables[0], (variable, value)];
        let (code, said) = world.place.run_with(ASSEMBLE, &sign, &variables);
        assert!(code != 0 && said.contains(reason), "{said}");
        assert!(!said.contains("4711"), "{said}");
    }
}

#[test]
fn keys_in_azure_key_vault_sign_and_cosign_verifies() {
    need!("keys of Azure's", "docker-registry");
    let (world, azure) = (World::new(), Azure::start());
    let key = format!("azurekms://{}/images", azure.host());
    let (login, authority) = (azure.login(), azure.authority());
    let trust = ("SSL_CERT_FILE", authority.to_str().unwrap());
    let public = azure.public(azure::VERSIONS[1]);
    std::fs::write(world.place.path("azure.pub"), public).unwrap();
    let application = [
        trust,
        ("AZURE_AUTHORITY_HOST", &*login),
        ("AZURE_TENANT_ID", azure::TENANT),
        ("AZURE_CLIENT_ID", azure::CLIENT),
        ("AZURE_CLIENT_SECRET", azure::SECRET),
    ];
    world.signs_with("azure", &key, &application, "azure.pub");
    let path = world.stand_in_for_az();
    let person = [trust, ("AZURE_AUTH_METHOD", "cli"), ("PATH", &*path)];
    world.signs_with("person", &key, &person, "azure.pub");
    let mut stranger = application;
    stranger[4] = ("AZURE_CLIENT_SECRET", "4711");
    let nobody = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")];
    let sign = ["sign", "127.0.0.1:1/a:v1", "--sign-key", &key];
    for (variables, reason) in [
        (&stranger[..], "invalid_client"),
        (&nobody, "no credentials are set"),
    ] {
        let (code, said) = world.place.run_with(ASSEMBLE, &sign, variables);
        assert!(code != 0 && said.contains(reason), "{said}");
        assert!(!said.contains("4711"), "{said}");
    }
}
