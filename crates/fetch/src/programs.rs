//! Gets bootstrap programs that a store lacks, so that no build has to compile them.

use std::path::Path;

use anyhow::Result;
use crateyard_flake::programs;
use crateyard_nix::Store;
use crateyard_terminal::note;
use serde::Deserialize;

use crate::toolchains::Server;

/// The environment variable for the address of a mirror of Crateyard's releases. The mirror has a
/// directory for each tag.
const VARIABLE: &str = "CRATEYARD_RELEASES";

/// The part of Crateyard's own Cargo.toml that says where its releases are.
#[derive(Deserialize)]
struct Manifest {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    version: String,
    repository: String,
}

/// The places that may have the programs of a revision of Crateyard.
pub(crate) struct Places<'a> {
    store: &'a Store,
    release: Option<Server<'a>>,
}

impl<'a> Places<'a> {
    /// Finds the places. `source` is Crateyard's own source.
    pub(crate) fn of(source: &Path, store: &'a Store) -> Self {
        let mirror = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
        let manifest = programs::read_file(&source.join("Cargo.toml")).ok();
        let manifest = manifest.and_then(|bytes| String::from_utf8(bytes).ok());
        let release = manifest.and_then(|manifest| address(&manifest, mirror));
        Self {
            store,
            release: release.map(|address| Server::at(store, address)),
        }
    }

    /// Adds the program with this store path from the first place that has it: the machine's own
    /// store, a binary cache, the release. Returns whether one had it.
    pub(crate) fn get(&mut self, path: &str) -> bool {
        self.take_from_machine(path).is_ok()
            || self.store.substitute(path)
            || self.take_from_release(path)
    }

    fn take_from_machine(&self, path: &str) -> Result<()> {
        programs::add(self.store, path, &programs::read(&Store::default(), path)?)
    }

    /// The release has each program under the last part of its store path. So a release of another
    /// source is never mistaken for this one.
    fn take_from_release(&mut self, path: &str) -> bool {
        let name = programs::base(path);
        let Some(release) = &mut self.release else {
            return false;
        };
        let Some(file) = release.find(name) else {
            return false;
        };
        let added =
            programs::read_file(&file).and_then(|bytes| programs::add(self.store, path, &bytes));
        if let Err(error) = &added {
            note!("{}/{name} is not used: {error:#}", release.address());
        }
        added.is_ok()
    }
}

/// Returns the address of the release that a source belongs to. The source may be somebody else's,
/// and anybody can read the store. So only HTTPS servers are asked, and no files of this machine,
/// unless the user names a mirror.
fn address(manifest: &str, mirror: Option<String>) -> Option<String> {
    let manifest: Manifest = toml::from_str(manifest).ok()?;
    let Package {
        version,
        repository,
    } = manifest.workspace.package;
    let is_plain = |it: char| it.is_ascii_alphanumeric() || ".+-".contains(it);
    if !version.chars().all(is_plain) {
        return None;
    }
    let own = || format!("{repository}/releases/download");
    let releases = match mirror {
        Some(mirror) => mirror,
        None if repository.starts_with("https://") => own(),
        None => return None,
    };
    Some(format!("{}/v{version}", releases.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_release_has_the_version_of_the_source() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let own = fs::read_to_string(own).unwrap();
        let expected = format!(
            "{}/releases/download/v{}",
            env!("CARGO_PKG_REPOSITORY"),
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(address(&own, None), Some(expected));
        let mirror = Some("http://mirror.example/crateyard/".to_owned());
        let expected = concat!(
            "http://mirror.example/crateyard/v",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(address(&own, mirror).as_deref(), Some(expected));
    }

    #[test]
    fn no_source_makes_the_machine_read_its_own_files() {
        for repository in ["file:///etc/shadow#", "http://127.0.0.1/", "/etc"] {
            let manifest = format!(
                "[workspace.package]\nversion = \"1.0.0\"\nrepository = \"{repository}\"\n"
            );
            assert_eq!(address(&manifest, None), None);
        }
        let manifest = "[workspace.package]\nversion = \"/../..\"\nrepository = \"https://a.b\"\n";
        assert_eq!(address(manifest, Some("file:///srv".to_owned())), None);
        assert_eq!(address("[workspace.package]\n", None), None);
    }
}
