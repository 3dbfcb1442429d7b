//! Keys in AWS KMS. moto stands in for AWS, with botocore's check of each request's signature.

use crate::cache::parts::{Registry, free_port, moto};
use crate::checkout::{assemble, repository};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
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
