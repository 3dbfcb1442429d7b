//! The signer: a key, or the identity that a CI system gives to a job.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_oci::Descriptor;
use crateyard_registry::Artifact;
use crateyard_signing::{BUNDLE_TYPE, Bundle, Keyless, SecretKey, Services, Simple, Token, Web};
use crateyard_terminal::note;
use serde_json::Value;

/// A key in an environment variable, in cosign's notation.
const IN_ENVIRONMENT: &str = "env://";
/// References to keys that cosign supports and Crateyard doesn't.
const ELSEWHERE: [(&str, &str); 3] = [
    ("k8s://", "Kubernetes secrets"),
    ("gitlab://", "GitLab variables"),
    ("github://", "GitHub secrets"),
];

/// Options for the signer.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Signatures")]
pub struct SignerArgs {
    /// Sign with this key: a PEM file, env://VARIABLE, or a reference to a token or a service
    ///
    /// A PEM file has a key of cosign's, opened by COSIGN_PASSWORD, or an unencrypted ECDSA P-256
    /// key. References, as for cosign: pkcs11:token=…;object=…?module-path=… with the PIN in
    /// COSIGN_PKCS11_PIN, hashivault://KEY, openbao://KEY, awskms:///KEY, gcpkms://KEY,
    /// azurekms://VAULT/KEY (docs/trust.md).
    #[arg(long, value_name = "KEY", conflicts_with = "keyless")]
    sign_key: Option<String>,

    /// Sign as the identity of this CI job, without a stored key
    ///
    /// Takes the token of GitHub Actions (permission id-token: write), or SIGSTORE_ID_TOKEN, as
    /// GitLab's id_tokens set it. A certificate authority and a public log take part.
    #[arg(long)]
    keyless: bool,

    /// Take the identity token from this file
    #[arg(long, value_name = "FILE", requires = "keyless")]
    identity_token: Option<PathBuf>,

    /// The certificate authority
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://fulcio.sigstore.dev"
    )]
    fulcio_url: String,

    /// The transparency log
    #[arg(long, value_name = "URL", default_value = "https://rekor.sigstore.dev")]
    rekor_url: String,

    /// The form of the images' signatures
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    sign_as: Form,
}

/// The form of an image's signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A bundle that refers to the image, as cosign 3 makes it
    #[default]
    Bundle,
    /// A tag sha256-….sig, as cosign before version 3 makes it
    Tag,
    /// Both
    Both,
}

/// The signer, and the form of its signatures.
pub struct Signer {
    author: Author,
    form: Form,
}

enum Author {
    Key(SecretKey),
    Identity(Box<Keyless>),
}

impl SignerArgs {
    /// Returns the signer, if the options name one. `authorities` are files of certificates to
    /// trust.
    ///
    /// # Errors
    /// When the key can't be read, or no token or certificate is available.
    pub fn signer(&self, authorities: &[PathBuf]) -> Result<Option<Signer>> {
        let author = match &self.sign_key {
            Some(key) => Author::Key(secret_key(key, authorities)?),
            None if self.keyless => Author::Identity(Box::new(self.begin(authorities)?)),
            None => return Ok(None),
        };
        let form = self.sign_as;
        Ok(Some(Signer { author, form }))
    }

    fn begin(&self, authorities: &[PathBuf]) -> Result<Keyless> {
        let services = Services {
            fulcio: self.fulcio_url.clone(),
            rekor: self.rekor_url.clone(),
            web: web(authorities),
        };
        let token = match &self.identity_token {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                Token::parse(&text).with_context(|| path.display().to_string())?
            }
            None => Token::of_environment(variable, &services.web)?,
        };
        let keyless = Keyless::begin(&token, &services)?;
        let identity = keyless.identity()?;
        note!("signing as {} ({})", identity.subject, identity.issuer);
        Ok(keyless)
    }
}

impl Signer {
    /// Whether the signer leaves no trace elsewhere: no log records the signature, and no token or
    /// service makes it.
    pub fn is_local(&self) -> bool {
        matches!(&self.author, Author::Key(key) if key.is_here())
    }

    /// Whether images get a signature in a bundle.
    pub fn makes_bundles(&self) -> bool {
        self.form != Form::Tag
    }

    /// Whether images get a signature under a tag.
    pub fn makes_tags(&self) -> bool {
        self.form != Form::Bundle
    }

    /// Signs an image.
    ///
    /// # Errors
    /// When the log or the keeper of the key refuses or can't be reached.
    pub fn image(&self, subject: &Descriptor) -> Result<Artifact> {
        let statement = crateyard_signing::image_statement(subject.digest.as_str());
        self.statement(subject, &statement)
    }

    /// Signs a statement about an image.
    ///
    /// # Errors
    /// When the log or the keeper of the key refuses or can't be reached.
    pub fn statement(&self, subject: &Descriptor, statement: &Value) -> Result<Artifact> {
        let bundle = match &self.author {
            Author::Key(key) => Bundle::sign(statement, key)?,
            Author::Identity(keyless) => keyless.sign(statement)?,
        };
        let predicate = statement["predicateType"].as_str().unwrap_or_default();
        // cosign looks for these annotations in lists of referrers.
        let annotations = [
            ("dev.sigstore.bundle.content", "dsse-envelope"),
            ("dev.sigstore.bundle.predicateType", predicate),
        ];
        Ok(Artifact {
            subject: subject.clone(),
            artifact_type: BUNDLE_TYPE.to_owned(),
            media_type: BUNDLE_TYPE.to_owned(),
            document: bundle.to_bytes().into(),
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        })
    }

    /// Signs a document in the older form.
    ///
    /// # Errors
    /// When the log or the keeper of the key refuses or can't be reached.
    pub fn simple(&self, document: Vec<u8>) -> Result<Simple> {
        Ok(match &self.author {
            Author::Key(key) => Simple::sign(document, key)?,
            Author::Identity(keyless) => keyless.sign_simple(document)?,
        })
    }
}

/// Returns the client for services that take part in signing.
fn web(authorities: &[PathBuf]) -> Web {
    Web {
        ca_files: authorities.to_vec(),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the key that a token or a service keeps, or `None` if the text is not a reference to
/// one. `authorities` are files of certificates to trust.
///
/// # Errors
/// When there is no such key, or its keeper can't be reached or refuses.
pub fn kept_key(reference: &str, authorities: &[PathBuf]) -> Result<Option<SecretKey>> {
    if !SecretKey::is_kept(reference) {
        return Ok(None);
    }
    let key = SecretKey::kept(reference, variable, &web(authorities))?;
    Ok(Some(key))
}

/// Reads a signing key, or finds it in a token or a service.
fn secret_key(reference: &str, authorities: &[PathBuf]) -> Result<SecretKey> {
    if let Some(key) = kept_key(reference, authorities)? {
        return Ok(key);
    }
    if let Some((_, what)) = ELSEWHERE.iter().find(|(own, _)| reference.starts_with(own)) {
        bail!(
            "--sign-key {reference}: keys in {what} are not supported\n  try: cosign sign --key \
             {reference}, which `assemble verify` reads; a key in a file; or --keyless"
        );
    }
    let pem = match reference.strip_prefix(IN_ENVIRONMENT) {
        Some(name) => std::env::var(name).with_context(|| format!("the variable {name}"))?,
        None => {
            let pem = std::fs::read_to_string(Path::new(reference));
            pem.with_context(|| format!("cannot read the key {reference}"))?
        }
    };
    let password = variable("COSIGN_PASSWORD");
    SecretKey::from_pem(&pem, password.as_deref()).with_context(|| reference.to_owned())
}
