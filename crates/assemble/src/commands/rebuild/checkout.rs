//! Fetches the sources that a provenance names: a commit by its hash, and files by theirs.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use crateyard_attestation::provenance::Statement;
use crateyard_nix::sha256_of;
use crateyard_workspace::git;
use tempfile::TempDir;

use super::without_reference;
use crate::inputs;

/// The number of differing files that are named.
const NAMED: usize = 20;

/// A commit, checked out in a temporary directory.
pub struct Checkout {
    directory: TempDir,
    workspace: PathBuf,
    address: String,
    commit: String,
}

impl Checkout {
    /// Fetches the commit that the provenance names, from the address there or from another one.
    ///
    /// # Errors
    /// When neither the provenance nor `commit` names a commit, or it can't be fetched.
    pub fn fetch(
        provenance: &Statement,
        repository: Option<&str>,
        commit: Option<&str>,
        directory: &Path,
    ) -> Result<Checkout> {
        let named = inputs::commit(provenance);
        let (address, commit) = match (repository, commit, named) {
            (Some(address), Some(commit), _) => (address, commit),
            (Some(address), None, Some((_, commit))) => (address, commit),
            (None, _, Some((uri, commit))) => (without_reference(uri)?, commit),
            (_, _, None) => bail!(
                "the provenance names no commit, as no CI system pushed the image\n  try: \
                 --repository URL --commit HASH"
            ),
        };
        let is_hash =
            matches!(commit.len(), 40 | 64) && commit.bytes().all(|it| it.is_ascii_hexdigit());
        ensure!(
            is_hash,
            "{commit:?} is not the hash of a commit, which has 40 or 64 hexadecimal digits"
        );
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        let place = tempfile::Builder::new()
            .prefix("crateyard-rebuild-")
            .tempdir();
        let place = place.context("cannot make a temporary directory")?;
        ensure!(
            directory.components().all(is_inside),
            "--directory {}: must be a path inside the repository",
            directory.display()
        );
        let is_own = repository.is_some();
        let fetched = fetch(place.path(), address, commit, is_own);
        fetched.with_context(|| format!("cannot fetch the commit {commit} from {address}"))?;
        let workspace = inside(place.path(), directory)?;
        Ok(Checkout {
            workspace,
            directory: place,
            address: address.to_owned(),
            commit: commit.to_owned(),
        })
    }

    /// Returns the path of the workspace.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Returns the address that the commit was fetched from.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the commit's hash.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Lists the files of the commit that differ from the provenance, for people.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn compare(&self, provenance: &Statement) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        let dependencies = &provenance.predicate.build_definition.resolved_dependencies;
        for source in dependencies {
            let is_source = source
                .annotations
                .get("role")
                .is_some_and(|role| role == "source");
            let (Some(name), Some(wanted)) = (&source.name, source.digest.get("sha256")) else {
                continue;
            };
            // A part is not a file of the commit: the flake makes it (nix/image/inputs.nix,
            // `partAt`), and the rebuilt image shows whether the parts are the same.
            if !is_source || name.starts_with("part:") {
                continue;
            }
            match self.hash(Path::new(name))? {
                Some(own) if own == *wanted => {}
                Some(_) => differences.push(format!("source {name}: the commit has other content")),
                None => differences.push(format!("source {name}: the commit has no such file")),
            }
        }
        let more = differences.len().saturating_sub(NAMED);
        if more > 0 {
            differences.truncate(NAMED);
            differences.push(format!("source: {more} more files differ"));
        }
        Ok(differences)
    }

    /// Returns the SHA-256 of a file of the workspace, or `None` if there is no such file. Does not
    /// follow links that lead out of the checkout.
    fn hash(&self, name: &Path) -> Result<Option<String>> {
        let is_plain = |part| matches!(part, Component::Normal(_));
        if !name.components().all(is_plain) {
            return Ok(None);
        }
        let Ok(path) = self.workspace.join(name).canonicalize() else {
            return Ok(None);
        };
        if !path.starts_with(self.directory.path().canonicalize()?) || !path.is_file() {
            return Ok(None);
        }
        Ok(Some(sha256_of(&path)?))
    }
}

/// Returns the path of a directory of the checkout, which may not be a link that leads out of it.
fn inside(checkout: &Path, directory: &Path) -> Result<PathBuf> {
    let workspace = checkout.join(directory);
    let shown = directory.display();
    let place = workspace.canonicalize();
    let place = place.with_context(|| format!("the commit has no directory {shown}"))?;
    ensure!(
        place.starts_with(checkout.canonicalize()?),
        "--directory {shown}: the commit has a link there to {}",
        place.display()
    );
    Ok(workspace)
}

/// Fetches a commit and checks it out. `is_own` says whether the user wrote the address.
fn fetch(place: &Path, address: &str, commit: &str, is_own: bool) -> Result<()> {
    let ask = match is_own {
        true => git::read,
        false => git::read_from_elsewhere,
    };
    let format = if commit.len() == 64 { "sha256" } else { "sha1" };
    let format = format!("--object-format={format}");
    git::read(place, &["init", "--quiet", &format])?;
    // Servers may refuse requests for single commits. Then this needs the whole history.
    let one = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--",
        address,
        commit,
    ];
    if ask(place, &one).is_err() {
        let all = [
            "fetch",
            "--quiet",
            "--",
            address,
            "+refs/*:refs/remotes/origin/*",
        ];
        ask(place, &all)?;
    }
    git::read(place, &["checkout", "--quiet", "--detach", commit])?;
    let head = git::read(place, &["rev-parse", "HEAD"])?;
    ensure!(
        head.trim_ascii() == commit.as_bytes(),
        "git checked out another commit"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_address_of_a_provenance_is_fetched_from_over_https_alone() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let place = directory.path().join(name);
            std::fs::create_dir(&place).unwrap();
            place
        };
        let origin = place("origin");
        git::read(&origin, &["init", "--quiet"]).unwrap();
        let who = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        let commit = [
            &who[..],
            &["commit", "--quiet", "--allow-empty", "--message", "x"],
        ]
        .concat();
        git::read(&origin, &commit).unwrap();
        let head = git::read(&origin, &["rev-parse", "HEAD"]).unwrap();
        let head = String::from_utf8(head).unwrap();
        let address = format!("file://{}", origin.display());
        fetch(&place("own"), &address, head.trim(), true).unwrap();
        let error = fetch(&place("foreign"), &address, head.trim(), false).unwrap_err();
        assert!(error.to_string().contains("'file' not allowed"), "{error}");
        let http = "http://127.0.0.1:9/a";
        let error = fetch(&place("plain"), http, head.trim(), false).unwrap_err();
        assert!(error.to_string().contains("'http' not allowed"), "{error}");
    }

    #[test]
    fn a_directory_of_the_commit_is_no_link_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let checkout = directory.path().join("checkout");
        std::fs::create_dir_all(checkout.join("a")).unwrap();
        symlink("a", checkout.join("within")).unwrap();
        symlink("..", checkout.join("out")).unwrap();
        for name in [".", "a", "within"] {
            inside(&checkout, Path::new(name)).unwrap();
        }
        for (name, why) in [("out", "a link there"), ("b", "no directory")] {
            let error = inside(&checkout, Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
