//! `assemble rebuild`: builds an image in a registry again from its provenance, compares the
//! results, and can sign a statement about the outcome.

mod checkout;
mod difference;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use crateyard_attestation::provenance::Statement;
use crateyard_build::image_build::{Compiler, build_again};
use crateyard_nix::Store;
use crateyard_oci::{Descriptor, Digest, Layout, Platform, Reference};
use crateyard_terminal::{clean, print, print_json};
use serde::Serialize;
use serde_json::{Value, json};

use self::checkout::Checkout;
use crate::attach;
use crate::connection::ConnectionArgs;
use crate::image_argument::{Opened, Place, Selected};
use crate::inputs;
use crate::signer::{Signer, SignerArgs};
use crate::trust::REBUILD_PREDICATE;

const EXAMPLES: &str = "\
Examples:
  assemble rebuild registry.example/team/gateway:v1
  assemble rebuild registry.example/team/gateway:v1 \\
      --store /var/empty-store --sign-key witness.key
  assemble verify registry.example/team/gateway:v1 --public-key cosign.pub \\
      --witnesses 2 --witness-key ann.pub --witness-key bob.pub

Exit codes: 0 if the rebuilt image is the same, 1 if it differs or can't be built; as `assemble \
push` for errors of a registry.";

/// Build an image again from its provenance alone, compare, and sign the result as a witness
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The image: REGISTRY/REPOSITORY@DIGEST, or by :TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Fetch the commit from here instead of from the address in the provenance
    ///
    /// The commit's hash determines the sources, wherever they come from.
    #[arg(long, value_name = "URL")]
    repository: Option<String>,

    /// The commit, if the provenance names none because no CI system pushed the image
    #[arg(long, value_name = "HASH", requires = "repository")]
    commit: Option<String>,

    /// The path of the workspace in the repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// The compiler
    #[arg(long, value_enum, default_value_t)]
    compiler: Compiler,

    /// The store to build in; start with an empty one to use nothing that was built before
    ///
    /// Nix asks no binary cache, for any store.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    signer: SignerArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The result for one image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    name: String,
    platform: Platform,
    digest: Digest,
    rebuilt: Digest,
    same: bool,
    /// The differences, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    /// The digest of the witness statement in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<Digest>,
}

/// Runs the command.
///
/// # Errors
/// When the image has no provenance, its sources can't be fetched, or it can't be built.
pub fn run(args: Args) -> Result<ExitCode> {
    let reference: Reference = args.reference.parse()?;
    let signer = args.signer.signer(args.connection.authorities())?;
    let opened = Place::Registry(reference.clone()).open(&args.connection)?;
    let mut outcomes = Vec::new();
    for selected in opened.select_all()? {
        let outcome = rebuild(&args, &reference, &opened, &selected, signer.as_ref())?;
        if !args.json {
            print(&describe(&outcome))?;
        }
        outcomes.push(outcome);
    }
    if args.json {
        print_json(&outcomes)?;
    }
    Ok(match outcomes.iter().all(|outcome| outcome.same) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn rebuild(
    args: &Args,
    reference: &Reference,
    opened: &Opened,
    selected: &Selected,
    signer: Option<&Signer>,
) -> Result<Outcome> {
    let platform = selected.config.platform.clone();
    let is_wanted = |it: &Statement| {
        let named = inputs::commit(it).map(|(_, commit)| commit);
        named.is_some() && args.commit.as_deref().is_none_or(|own| named == Some(own))
    };
    let bytes = opened.provenance_with(selected, is_wanted)?;
    let bytes = bytes.with_context(|| {
        format!(
            "{reference} has no provenance for {platform}\n  try: an image that was pushed with \
             --attest"
        )
    })?;
    let provenance = Statement::parse(&bytes).map_err(anyhow::Error::msg)?;
    let parameters = &provenance.predicate.build_definition.external_parameters;
    let name = parameters.image["name"].as_str();
    let name = name
        .context("the provenance does not name the image")?
        .to_owned();
    let checkout = Checkout::fetch(
        &provenance,
        args.repository.as_deref(),
        args.commit.as_deref(),
        &args.directory,
    )?;
    let mut differences = checkout.compare(&provenance)?;
    let store = args.store.as_deref();
    let is_fresh = store.is_some_and(is_empty);
    let path = build_again(checkout.workspace(), &name, args.compiler, store)?;
    let place = Store::new(store.map(str::to_owned)).physical(&path);
    let built = Opened::Layout(Layout::open(&place)?);
    let own = built.select(None, Some(&platform))?;
    let digest = selected.image.descriptor.digest.clone();
    let rebuilt = own.image.descriptor.digest.clone();
    let same = digest == rebuilt;
    if !same {
        differences.extend(difference::describe((opened, selected), (&built, &own))?);
    }
    let mut outcome = Outcome {
        name,
        platform,
        digest,
        rebuilt,
        same,
        differences,
        signed: None,
    };
    if let Some(signer) = signer {
        let predicate = predicate(&outcome, &bytes, &checkout, is_fresh);
        let subject = selected.image.descriptor.plain();
        outcome.signed = Some(sign(args, reference, &subject, predicate, signer)?);
    }
    Ok(outcome)
}

/// Makes the statement of a witness, see docs/trust.md.
fn predicate(outcome: &Outcome, provenance: &[u8], checkout: &Checkout, is_fresh: bool) -> Value {
    let digest = |digest: &Digest| json!({digest.algorithm().name(): digest.hex()});
    json!({
        "result": if outcome.same { "same" } else { "different" },
        "rebuilt": {"digest": digest(&outcome.rebuilt)},
        "platform": outcome.platform.to_string(),
        "provenance": {"digest": digest(&Digest::of(provenance))},
        "source": {"uri": checkout.address(), "digest": {"gitCommit": checkout.commit()}},
        "emptyStore": is_fresh,
        "differences": outcome.differences,
        "builder": {
            "id": "https://github.com/crateyard/crateyard",
            "version": {"crateyard": env!("CARGO_PKG_VERSION")},
        },
    })
}

fn sign(
    args: &Args,
    reference: &Reference,
    subject: &Descriptor,
    predicate: Value,
    signer: &Signer,
) -> Result<Digest> {
    let statement =
        crateyard_signing::statement(subject.digest.as_str(), REBUILD_PREDICATE, predicate);
    let artifact = signer.statement(subject, &statement)?;
    let (client, _) = args.connection.client()?;
    attach::send(&client, reference, &artifact)?;
    Ok(artifact.digest())
}

/// Whether a store is a directory with nothing in it yet.
///
/// A store with settings after a `?` may lie elsewhere, and a directory that can't be read may have
/// content. Both count as not empty.
fn is_empty(store: &str) -> bool {
    let is_directory = store.starts_with('/') && !store.contains('?');
    is_directory
        && match std::fs::read_dir(Path::new(store).join("nix/store")) {
            Ok(mut paths) => paths.next().is_none(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
}

fn describe(outcome: &Outcome) -> String {
    let verdict = if outcome.same { "same" } else { "DIFFERENT" };
    let Outcome {
        name,
        platform,
        digest,
        rebuilt,
        ..
    } = outcome;
    let mut text = format!("{}  {platform}  {verdict}  {digest}\n", clean(name));
    if !outcome.same {
        text += &format!("  built again: {rebuilt}\n");
    }
    for line in &outcome.differences {
        text += &format!("  {}\n", clean(line));
    }
    if let Some(signed) = &outcome.signed {
        text += &format!("  signed: {signed}\n");
    }
    text
}

/// Returns the repository's address in a provenance, without the branch or tag.
fn without_reference(uri: &str) -> Result<&str> {
    let address = uri.strip_prefix("git+").unwrap_or(uri);
    let address = address
        .rsplit_once('@')
        .map_or(address, |(address, _)| address);
    if !address.starts_with("https://") {
        bail!(
            "the provenance names the repository {address:?}, but only https:// addresses are \
             fetched\n  try: --repository with an address that you trust"
        );
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_empty_only_where_that_can_be_seen() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        assert!(is_empty(root));
        assert!(is_empty(&format!("{root}/none")));
        for odd in [format!("{root}?x=y"), "/?x=y".to_owned(), "none".to_owned()] {
            assert!(!is_empty(&odd), "{odd}");
        }
        // A file instead of a directory, so that it can't be read.
        std::fs::write(directory.path().join("nix"), "").unwrap();
        assert!(!is_empty(root));
        std::fs::remove_file(directory.path().join("nix")).unwrap();
        std::fs::create_dir_all(directory.path().join("nix/store/a")).unwrap();
        assert!(!is_empty(root));
    }

    #[test]
    fn only_safe_addresses_of_a_provenance_are_fetched_from() {
        let own = without_reference("git+https://github.com/team/shop@refs/tags/v1").unwrap();
        assert_eq!(own, "https://github.com/team/shop");
        for uri in [
            "git+file:///etc@main",
            "ext::sh -c true",
            "--upload-pack=x",
            "git+ssh://a/b@c",
        ] {
            let said = without_reference(uri).unwrap_err().to_string();
            assert!(said.contains("only https://"), "{uri}: {said}");
        }
    }
}
