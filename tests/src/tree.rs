//! A changed repository is evaluated in place, with the same result as Nix's copy of it.

use crate::checkout::{Checkout, assemble, repository, template};
use crate::nix;
use crate::trial::trial;
use crate::workspaces::commit_all;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = |name, run| trial(format!("tree::{name}"), run);
    vec![
        test("gives_the_paths_of_nix_build", same_paths),
        test("is_left_where_a_derivation_would_name_it", named),
        test("is_left_until_nix_has_seen_the_flake", unseen),
    ]
}

/// The way in which the changed files were read.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    InPlace,
    FromACopy,
}

/// A repository with a workspace of one service and a flake.
struct Service {
    directory: TempDir,
    _crateyard: Checkout,
}

impl Service {
    /// Builds it once without changes.
    fn new() -> Result<Self> {
        let crateyard = Checkout::new()?;
        commit_all(crateyard.path())?;
        let service = Self {
            directory: template("service")?,
            _crateyard: crateyard,
        };
        service.write_flake("")?;
        let lock = repository().join("debian.lock");
        duct::cmd!(assemble(), "fetch", "--lock", lock)
            .dir(service.path())
            .stdout_null()
            .run()?;
        duct::cmd!("git", "init", "--quiet")
            .dir(service.path())
            .run()?;
        service.track()?;
        let flake = format!("git+file://{}", service.path().display());
        nix::nix(&["flake", "lock", &flake])?;
        commit_all(service.path())?;
        service.build()?;
        Ok(service)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.path().join(name), text)?)
    }

    /// Writes a flake with additional outputs.
    fn write_flake(&self, more: &str) -> Result<()> {
        let text = format!(
            "{{\n  inputs.crateyard.url = \"git+file://{}\";\n  outputs = {{ self, crateyard \
             }}:\n    let made = crateyard.lib.mkFlake {{ src = self; }}; in made {more};\n}}\n",
            self._crateyard.path().display()
        );
        self.write("flake.nix", &text)
    }

    fn track(&self) -> Result<()> {
        duct::cmd!("git", "add", "--all").dir(self.path()).run()?;
        Ok(())
    }

    /// Builds the image, checks that Nix gives the same one, and returns how the files were read.
    /// Nix warns if it copies a changed repository.
    fn build(&self) -> Result<Read> {
        let build = duct::cmd!(assemble(), "build").dir(self.path());
        let output = build.stdout_null().stderr_capture().unchecked().run()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "assemble build failed:\n{said}");
        let link = fs::read_link(self.path().join(".crateyard/service-image"))?;
        let flake = format!("git+file://{}#service-image", self.path().display());
        let printed = nix::nix(&["build", "--no-link", "--json", &flake])?;
        let built: serde_json::Value = serde_json::from_str(&printed)?;
        let expected = built[0]["outputs"]["out"].as_str().map(PathBuf::from);
        ensure!(
            Some(&link) == expected.as_ref(),
            "assemble build made {}, nix build {expected:?}; it says\n{said}",
            link.display()
        );
        Ok(match said.contains("is dirty") {
            true => Read::FromACopy,
            false => Read::InPlace,
        })
    }

    fn expect(&self, read: Read, after: &str) -> Result<()> {
        let found = self.build().with_context(|| format!("after {after}"))?;
        ensure!(found == read, "after {after} the files were read {found:?}");
        Ok(())
    }
}

fn same_paths() -> Result<()> {
    let service = Service::new()?;
    let main = fs::read_to_string(service.path().join("src/main.rs"))?;
    service.write("src/main.rs", &format!("{main}\n// edited\n"))?;
    service.expect(Read::InPlace, "an edit")?;
    service.write("src/main.rs", &format!("{main}\n// ed1ted\n"))?;
    service.expect(Read::InPlace, "another of the same length, at once")?;

    service.write("src/said.txt", "said")?;
    symlink("said.txt", service.path().join("src/link.txt"))?;
    service.track()?;
    let said = "const _: &str = include_str!(\"link.txt\");";
    service.write("src/main.rs", &format!("{main}\n{said}\n"))?;
    service.write("build.rs", "fn main() { panic!(\"nobody tracks this\") }\n")?;
    service.expect(Read::InPlace, "new files, one of them not tracked")?;

    fs::remove_file(service.path().join("build.rs"))?;

    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(service.path().join("src/said.txt"), mode)?;
    service.expect(Read::InPlace, "a change of mode")?;

    fs::remove_file(service.path().join("src/link.txt"))?;
    fs::create_dir(service.path().join("src/link.txt"))?;
    service.write("src/link.txt/inner.txt", "a directory where a link was")?;
    service.write("src/main.rs", &main)?;
    service.track()?;
    service.expect(Read::InPlace, "a directory instead of a link")?;

    fs::remove_dir_all(service.path().join("src/link.txt"))?;
    fs::remove_file(service.path().join("src/said.txt"))?;
    service.expect(Read::InPlace, "files that are gone")
}

/// An image whose derivation contains the path of the flake's source.
fn named() -> Result<()> {
    let service = Service::new()?;
    service.write_flake(
        "// { packages.x86_64-linux = made.packages.x86_64-linux // { service-image = derivation \
         (made.packages.x86_64-linux.service-image.drvAttrs // { place = \"${self}\"; }); }; }",
    )?;
    service.expect(Read::FromACopy, "an edit of the flake")?;
    service.expect(Read::FromACopy, "Nix has seen it")
}

/// The inputs count as locked only after Nix has confirmed it.
fn unseen() -> Result<()> {
    let service = Service::new()?;
    service.write_flake("// { other = 1; }")?;
    service.expect(Read::FromACopy, "an edit of the flake")?;
    service.expect(Read::InPlace, "Nix has seen it")
}
