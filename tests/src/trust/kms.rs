//! Keys in the key management services of clouds. moto stands in for AWS, with botocore's check of
//! each request's signature. The stand-ins of `crateyard-testing` for Google Cloud KMS and Azure
//! Key Vault also have to serve the libraries of these clouds.

use crate::cache::parts::{Registry, free_port, moto};
use crate::checkout::{assemble, repository};
use crate::python;
use anyhow::{Context, Result, ensure};
use crateyard_testing::azure::{self, Azure};
use crateyard_testing::google::{self, Google};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The service.
struct Kms {
    server: Child,
    url: String,
    made: Value,
}

impl Kms {
    fn start() -> Result<Kms> {
        let port = free_port()?;
        let python = moto()?.with_file_name("python");
        let mut server = Command::new(python)
            .arg(repository().join("tests/trust/kms.py"))
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = server.stdout.take().context("it has an output")?;
        BufReader::new(output).read_line(&mut line)?;
        let url = format!("http://127.0.0.1:{port}");
        let made = serde_json::from_str(&line);
        let kms = Kms {
            server,
            url,
            made: made.unwrap_or_default(),
        };
        ensure!(kms.made.is_object(), "moto does not start: {line}");
        Ok(kms)
    }

    fn text(&self, name: &str) -> &str {
        self.made[name].as_str().unwrap_or_default()
    }

    /// Runs a command with the signer's credentials, and returns whether it succeeds, and both
    /// outputs.
    fn run(&self, arguments: &[&str], secret: &str) -> Result<(bool, String)> {
        let output = duct::cmd(assemble(), arguments)
            .env("AWS_ACCESS_KEY_ID", self.text("id"))
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ENDPOINT_URL_KMS", &self.url)
            .stderr_to_stdout()
            .stdout_capture()
            .unchecked()
            .run()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success(), said))
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Keys of each kind sign, and `verify` takes their public keys from the service.
pub fn keys_sign() -> Result<()> {
    let (kms, registry) = (Kms::start()?, Registry::start()?);
    let place = tempfile::tempdir()?;
    let target = pushed(place.path(), &registry)?;
    let secret = kms.text("secret");
    for key in ["alias/release", kms.text("p384"), kms.text("rsa")] {
        let key = format!("awskms:///{key}");
        let (done, said) = kms.run(&["sign", &target, "--sign-key", &key], secret)?;
        ensure!(done, "{key}: {said}");
        let (done, said) = kms.run(&["verify", &target, "--public-key", &key], secret)?;
        ensure!(done, "{key}: {said}");
    }
    let other = format!("awskms:///{}", kms.text("p521"));
    let wrong = [
        (
            "awskms:///alias/release",
            "not the secret",
            "SignatureDoesNotMatch",
        ),
        ("awskms:///alias/missing", secret, "NotFound"),
        (&other, secret, "its kind can't sign here"),
    ];
    for (key, secret, reason) in wrong {
        let (done, said) = kms.run(&["sign", &target, "--sign-key", key], secret)?;
        ensure!(!done && said.contains(reason), "{key}: {said}");
        ensure!(!said.contains(secret), "{said}");
    }
    Ok(())
}

/// Google's and Azure's own libraries sign by the stand-ins, with credentials and keys with which
/// `sign` and `verify` work, too.
pub fn clouds_sign() -> Result<()> {
    let (google, azure, registry) = (Google::start(), Azure::start(), Registry::start()?);
    let place = tempfile::tempdir()?;
    let target = pushed(place.path(), &registry)?;
    let file = place.path().join("pool.json");
    fs::write(&file, google.pool().to_string())?;
    let (key, url, login) = (google::KEY, google.url(), azure.login());
    let authority = azure.authority();
    let settings = json!({
        "google": {
            "url": &url, "file": &file, "key": format!("{key}/cryptoKeyVersions/10"),
            "public": google.public(10),
        },
        "azure": {
            "url": &login, "login": &login, "authority": &authority, "tenant": azure::TENANT,
            "client": azure::CLIENT, "secret": azure::SECRET,
            "public": azure.public(azure::VERSIONS[1]),
        },
    });
    duct::cmd!(libraries()?, repository().join("tests/trust/clouds.py"))
        .stdin_bytes(settings.to_string())
        .run()
        .context("the clouds' own libraries do not get along with the stand-ins")?;
    let google = [
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", &*url),
        ("GOOGLE_APPLICATION_CREDENTIALS", path(&file)?),
    ];
    sign_and_verify(&target, &format!("gcpkms://{key}"), &google)?;
    let key = format!("azurekms://{}/images", azure.host());
    let azure = [
        ("SSL_CERT_FILE", path(&authority)?),
        ("AZURE_AUTHORITY_HOST", &*login),
        ("AZURE_TENANT_ID", azure::TENANT),
        ("AZURE_CLIENT_ID", azure::CLIENT),
        ("AZURE_CLIENT_SECRET", azure::SECRET),
    ];
    sign_and_verify(&target, &key, &azure)
}

fn sign_and_verify(target: &str, key: &str, variables: &[(&str, &str)]) -> Result<()> {
    for (command, option) in [("sign", "--sign-key"), ("verify", "--public-key")] {
        let expression = duct::cmd!(assemble(), command, target, option, key).stdout_null();
        let expression = variables
            .iter()
            .fold(expression, |it, (name, value)| it.env(name, value));
        expression.run()?;
    }
    Ok(())
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().context("the path is not a text")
}

const CLOUDS: &str = "azure-identity==1.27.0
azure-keyvault-keys==4.11.3
google-cloud-kms==3.18.0
requests==2.34.2
";

/// Returns a Python that has the clouds' own libraries.
fn libraries() -> Result<PathBuf> {
    let programs = python::environment("clouds", CLOUDS)?;
    Ok(programs.join("python"))
}

/// Pushes an image without layers to the registry.
fn pushed(place: &Path, registry: &Registry) -> Result<String> {
    let layout = place.join("layout");
    duct::cmd!("umoci", "init", "--layout", &layout).run()?;
    let image = format!("{}:v1", layout.display());
    duct::cmd!("umoci", "new", "--image", image).run()?;
    let target = format!("{}/team/app:v1", registry.host);
    duct::cmd!(assemble(), "push", &layout, "--to", &target)
        .stdout_null()
        .run()?;
    Ok(target)
}
