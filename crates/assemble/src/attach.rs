//! Collects the documents and signatures that a push attaches to an image.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_attestation::provenance::{self, Invocation};
use crateyard_attestation::{PROVENANCE, SBOM, SBOM_CYCLONEDX};
use crateyard_audit::vex;
use crateyard_build::build_times;
use crateyard_build::invocation;
use crateyard_image::attestation::{cyclonedx, spdx};
use crateyard_oci::{Descriptor, Layout, Reference, limits::MAX_ATTACHED, media_type};
use crateyard_registry::{Artifact, Client, Source, push};
use crateyard_signing::IN_TOTO_TYPE;

use crate::signer::{Signer, SignerArgs};

/// The predicate type of a bill of materials.
const SPDX_PREDICATE: &str = "https://spdx.dev/Document";
const CYCLONEDX_PREDICATE: &str = "https://cyclonedx.org/bom";
/// The suffix of an OpenVEX document's name.
pub const VEX_SUFFIX: &str = ".openvex.json";

/// Options for attachments.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Attachments")]
pub struct AttachArgs {
    /// Attach the image's bill of materials (SPDX and CycloneDX) and its provenance (SLSA)
    ///
    /// In GitHub Actions and GitLab CI the provenance names workflow, run and commit.
    #[arg(long)]
    pub attest: bool,

    /// Attach the OpenVEX documents of `assemble audit --vex` that are about the image
    ///
    /// A directory stands for its files *.openvex.json; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub vex: Vec<PathBuf>,

    /// Sign the image, and with --attest all documents.
    #[command(flatten)]
    pub signer: SignerArgs,
}

/// Collects the artifacts to attach to the images of the layout at `path`. `workspace` is the
/// workspace that the images were built in, if this run built them.
///
/// # Errors
/// When a requested document is missing or can't be read.
pub fn artifacts(
    workspace: &Path,
    path: &Path,
    args: &AttachArgs,
    signer: Option<&Signer>,
) -> Result<Vec<Artifact>> {
    let layout = Layout::open(path)?;
    let mut artifacts = Vec::new();
    if args.attest {
        artifacts = documents(workspace, &layout, signer)?;
        if artifacts.is_empty() {
            bail!(
                "{} has no {SBOM} and no {PROVENANCE} beside its index\n  \
                 try: an image that `assemble build` made, as a directory; or leave --attest out",
                path.display()
            );
        }
    }
    artifacts.extend(vex_documents(&layout, &args.vex, signer)?);
    if let Some(signer) = signer.filter(|signer| signer.makes_bundles()) {
        for top in distinct(&layout) {
            artifacts.push(signer.image(&top)?);
        }
    }
    Ok(artifacts)
}

/// Sends an artifact to the repository of the image that it refers to.
///
/// # Errors
/// When the registry refuses or can't be reached.
pub async fn upload(
    client: &Client,
    reference: &Reference,
    artifact: &Artifact,
) -> Result<push::Report, crateyard_registry::Error> {
    let target = reference.with_digest(&artifact.digest());
    let source = Source::artifact(artifact);
    push::push(client, source, &target, &push::Options::default()).await
}

/// Collects the bills of materials and the provenance of each image of a layout.
fn documents(workspace: &Path, layout: &Layout, signer: Option<&Signer>) -> Result<Vec<Artifact>> {
    let invocation = invocation::here();
    let mut artifacts = Vec::new();
    for image in layout
        .images()?
        .iter()
        .filter(|image| !image.is_attestation())
    {
        let manifest = layout.manifest(&image.descriptor)?;
        // An artifact that is not an image has no platform to identify it by.
        if !media_type::is_config(&manifest.config.media_type) {
            continue;
        }
        let config = layout.config(&manifest)?;
        let subject = image.descriptor.plain();
        let read = |name: &str| crateyard_attestation::read(layout, &config.platform, name);
        artifacts.extend(bills(&subject, &read, signer)?);
        if let Some(bytes) = read(PROVENANCE)? {
            let invocation = invocation.as_ref();
            artifacts.extend(made_by(workspace, &subject, &bytes, invocation, signer)?);
        }
    }
    Ok(artifacts)
}

/// Returns the bills of materials in both formats, if they are about the image.
fn bills(
    subject: &Descriptor,
    read: &dyn Fn(&str) -> crateyard_oci::Result<Option<Vec<u8>>>,
    signer: Option<&Signer>,
) -> Result<Vec<Artifact>> {
    let bill = read(SBOM)?;
    let document = bill
        .as_deref()
        .map(serde_json::from_slice::<spdx::Document>);
    let document = document.transpose().context(SBOM)?;
    // The document in the other format is about the same image, because both are written at once.
    if !document.is_some_and(|it| it.is_about(&subject.digest)) {
        return Ok(Vec::new());
    }
    let forms = [
        (spdx::MEDIA_TYPE, SPDX_PREDICATE, bill),
        (
            cyclonedx::MEDIA_TYPE,
            CYCLONEDX_PREDICATE,
            read(SBOM_CYCLONEDX)?,
        ),
    ];
    let mut artifacts = Vec::new();
    for (media_type, predicate_type, bytes) in forms {
        let Some(bytes) = bytes else { continue };
        let predicate = serde_json::from_slice(&bytes).context(media_type)?;
        let digest = subject.digest.as_str();
        let statement = crateyard_signing::statement(digest, predicate_type, predicate);
        artifacts.push(plain(subject, media_type, None, bytes));
        if let Some(signer) = signer {
            artifacts.push(signer.statement(subject, &statement)?);
        }
    }
    Ok(artifacts)
}

/// Returns the provenance with the invocation, if it is about the image.
fn made_by(
    workspace: &Path,
    subject: &Descriptor,
    bytes: &[u8],
    invocation: Option<&Invocation>,
    signer: Option<&Signer>,
) -> Result<Vec<Artifact>> {
    let statement = provenance::Statement::parse(bytes).map_err(anyhow::Error::msg);
    let mut statement = statement.context(PROVENANCE)?;
    if !statement.is_about(&subject.digest) {
        return Ok(Vec::new());
    }
    if let Some(invocation) = invocation {
        let run = invocation.run.as_deref();
        let times = run
            .map(|run| build_times::find(workspace, &subject.digest, run))
            .transpose()?;
        statement.invoked_by(invocation, times.flatten());
    }
    let bytes = serde_json::to_vec(&statement)?;
    let predicate = Some(("in-toto.io/predicate-type", provenance::PREDICATE_TYPE));
    let mut artifacts = vec![plain(subject, IN_TOTO_TYPE, predicate, bytes)];
    if let Some(signer) = signer {
        artifacts.push(signer.statement(subject, &serde_json::to_value(&statement)?)?);
    }
    Ok(artifacts)
}

/// Finds the OpenVEX documents in `paths` that are about images of a layout.
fn vex_documents(
    layout: &Layout,
    paths: &[PathBuf],
    signer: Option<&Signer>,
) -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    if paths.is_empty() {
        return Ok(artifacts);
    }
    let images = layout.images()?;
    for file in vex_files(paths)? {
        let cannot = || format!("cannot read {}", file.display());
        let bytes = read_within(&file, MAX_ATTACHED).with_context(cannot)?;
        let document: vex::Document = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not an OpenVEX document", file.display()))?;
        let is_about = |image: &&crateyard_oci::Image| document.is_about(&image.descriptor.digest);
        for image in images.iter().filter(is_about) {
            let subject = image.descriptor.plain();
            let predicate = serde_json::to_value(&document)?;
            let statement = crateyard_signing::statement(
                subject.digest.as_str(),
                vex::PREDICATE_TYPE,
                predicate,
            );
            artifacts.push(vex(&subject, bytes.clone()));
            if let Some(signer) = signer {
                artifacts.push(signer.statement(&subject, &statement)?);
            }
        }
    }
    if artifacts.is_empty() {
        let names: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
        bail!(
            "no OpenVEX document of {} is about this image\n  \
             try: assemble audit IMAGE --vex DIR, which writes one for the image as it is now",
            names.join(", ")
        );
    }
    Ok(artifacts)
}

/// Lists the files that the paths name, sorted.
fn vex_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path);
        let entries = entries.with_context(|| format!("cannot list {}", path.display()))?;
        for entry in entries {
            let file = entry?.path();
            if file.to_string_lossy().ends_with(VEX_SUFFIX) {
                files.push(file);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read_within(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(std::io::Error::other(format!(
            "it has more than {limit} bytes"
        ))),
        false => Ok(bytes),
    }
}

/// Makes an artifact of an OpenVEX document about an image.
pub fn vex(subject: &Descriptor, document: Vec<u8>) -> Artifact {
    plain(subject, vex::MEDIA_TYPE, None, document)
}

/// Sends an artifact about an image in a registry, unless the registry already has it.
///
/// # Errors
/// When the registry refuses it or can't be reached.
pub fn send(client: &Client, reference: &Reference, artifact: &Artifact) -> Result<()> {
    crateyard_registry::run(upload(client, reference, artifact))
        .with_context(|| format!("cannot attach a document to {reference}"))?;
    Ok(())
}

/// Lists the images and indexes that a layout's index names, each once.
fn distinct(layout: &Layout) -> Vec<Descriptor> {
    let mut found: Vec<Descriptor> = Vec::new();
    let all = layout
        .index()
        .manifests
        .iter()
        .filter(|it| !it.is_attestation());
    for descriptor in all.map(Descriptor::plain) {
        if !found.iter().any(|known| known.digest == descriptor.digest) {
            found.push(descriptor);
        }
    }
    found
}

fn plain(
    subject: &Descriptor,
    media_type: &str,
    annotation: Option<(&str, &str)>,
    bytes: Vec<u8>,
) -> Artifact {
    let annotation = annotation.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Artifact {
        subject: subject.clone(),
        artifact_type: media_type.to_owned(),
        media_type: media_type.to_owned(),
        document: bytes.into(),
        annotations: annotation.into_iter().collect(),
    }
}
