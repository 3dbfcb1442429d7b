//! `assemble init`: writes a flake and a first description for a workspace.

mod outside;
mod sources;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_build::flake_file;
use crateyard_fetch::toolchains;
use crateyard_flake as nix;
use crateyard_guess::Guess;
use crateyard_terminal::print_line;
use crateyard_toolchain::Choice;
use crateyard_workspace::{cargo::Cargo, described, git::GitRepository};

use crate::native;

/// Crateyard's address, for flakes.
const CRATEYARD: &str = "github:crateyard/crateyard";

const MALFORMED: &str = "cannot read the output of `cargo metadata`";

const FLAKE: &str = "flake.nix";
const FLAKE_LOCK: &str = "flake.lock";
const IMAGES: &str = "images.toml";
const CARGO_LOCK: &str = "Cargo.lock";
const DEBIAN_LOCK: &str = "debian.lock";

/// Write flake.nix and images.toml for a workspace, and print the guesses behind them
#[derive(clap::Args)]
pub struct Args {
    /// The workspace: a directory with Cargo.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    workspace: PathBuf,
    /// Crateyard's address in the flake
    #[arg(long, value_name = "URL", default_value = CRATEYARD)]
    crateyard: String,
}

/// Runs the command.
///
/// # Errors
/// When the workspace has no binary, Cargo can't read it, or a file can't be written. Existing
/// files are never touched.
pub fn run(args: Args) -> Result<()> {
    let cargo = Cargo::of(&args.workspace)?;
    cargo.warn();
    let metadata = cargo.metadata(&["--no-deps", "--offline"])?;
    let json = serde_json::from_str(&metadata).context(MALFORMED)?;
    let repository = GitRepository::of(&args.workspace);
    let owner = repository.as_ref().and_then(GitRepository::owner);
    let guess = guess(&metadata, &json, &args.workspace, owner.as_deref())?;
    let (choice, release) = choose(&metadata, &args.workspace, &cargo)?;
    let sources = repository.as_ref().map(|it| sources::untracked(&json, it));
    let workspace = Workspace {
        choice: &choice,
        release,
        untracked_sources: sources.unwrap_or_default(),
        repository,
        args: &args,
        guess: &guess,
    };
    let has_flake = workspace.write_flake()?;
    workspace.write_images()?;
    workspace.lock_crates(&cargo)?;
    for reason in cargo.note().iter().chain(&guess.reasons) {
        print_line(format!("      {reason}"))?;
    }
    workspace.print_git_notes()?;
    workspace.print_next(has_flake)
}

/// Guesses the images of a workspace from Cargo's metadata.
///
/// # Errors
/// When the directory is not the root of the workspace, packages are outside it, or it has no
/// program.
fn guess(
    metadata: &str,
    json: &serde_json::Value,
    directory: &Path,
    owner: Option<&str>,
) -> Result<Guess> {
    let root = json["workspace_root"].as_str().context(MALFORMED)?;
    let is_root = directory.canonicalize().ok() == Path::new(root).canonicalize().ok();
    if !is_root {
        bail!(
            "{} is a member of the workspace in {root}, which has one images.toml for all \
             members: assemble init --workspace {root}",
            directory.display()
        );
    }
    outside::refuse(json, Path::new(root))?;
    let guess = crateyard_guess::guess(metadata, owner).context(MALFORMED)?;
    if guess.images.is_empty() {
        bail!(
            "the workspace in {} has no binary: an image holds at least one (src/main.rs, or a \
             [[bin]])",
            directory.display()
        );
    }
    Ok(guess)
}

/// Chooses the compiler for the workspace, which may already have a description. A new description
/// names the release if only a dependency wants it: other machines may lack the dependencies.
fn choose(metadata: &str, directory: &Path, cargo: &Cargo) -> Result<(Choice, Option<String>)> {
    let members = toolchains::members_in(metadata);
    let images = directory.join(IMAGES);
    if images.exists() {
        let description = described::read(&images)?;
        let choice = toolchains::choice_for(directory, &description, &members)?;
        return Ok((choice, None));
    }
    let choice = crateyard_toolchain::choose(directory, None, &members)?;
    let all = match toolchains::is_said_by_file(directory)? {
        true => None,
        false => toolchains::compiled(cargo),
    };
    let Some(all) = all.filter(|all| !all.is_empty()) else {
        return Ok((choice, None));
    };
    let for_all = crateyard_toolchain::choose(directory, None, &all)?;
    if for_all.channel == choice.channel {
        return Ok((choice, None));
    }
    let release = for_all.channel.to_string();
    Ok((for_all, Some(release)))
}

/// The files and packages that `assemble init` works on.
struct Workspace<'a> {
    choice: &'a Choice,
    /// The release that a new images.toml names.
    release: Option<String>,
    args: &'a Args,
    guess: &'a Guess,
    repository: Option<GitRepository>,
    /// Sources that git does not track yet, as in a new repository.
    untracked_sources: Vec<String>,
}

impl Workspace<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.args.workspace.join(name)
    }

    /// Writes a flake with images, and returns whether there is one now. Keeps an existing flake,
    /// and prints the lines to add to it.
    fn write_flake(&self) -> Result<bool> {
        let path = self.path(FLAKE);
        if create(&path, &flake_file::whole(&self.args.crateyard))? {
            nix::remember_own(&self.args.workspace)?;
            print_line(format!("wrote {FLAKE}"))?;
            return Ok(true);
        }
        let context = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(context)?;
        if flake_file::is_complete(&text) {
            print_line(format!("kept  {FLAKE}, which already has images"))?;
            let url = &self.args.crateyard;
            if url != CRATEYARD && !text.contains(&format!("\"{url}\"")) {
                print_line(format!(
                    "      --crateyard changes no {FLAKE} that is there: to take Crateyard from \
                     {url}, set inputs.crateyard.url = \"{url}\"; in it"
                ))?;
            }
            return Ok(true);
        }
        print_line(format!(
            "kept  {FLAKE}, which already exists. These lines add the images:"
        ))?;
        for line in flake_file::lines_to_add(&self.args.crateyard) {
            print_line(format!("        {line}"))?;
        }
        Ok(false)
    }

    fn write_images(&self) -> Result<()> {
        let mut text = self.guess.text.clone();
        if let Some(release) = &self.release {
            let reason = &self.choice.reason;
            text += &format!("\n# {reason}\n[toolchain]\nrelease = \"{release}\"\n");
        }
        match create(&self.path(IMAGES), &text)? {
            true => print_line(format!("wrote {IMAGES}")),
            false => print_line(format!("kept  {IMAGES}, which already exists")),
        }
    }

    /// Writes the lock of the crates if it is missing, because nothing is pinned without it.
    fn lock_crates(&self, cargo: &Cargo) -> Result<()> {
        if self.path(CARGO_LOCK).exists() {
            return Ok(());
        }
        cargo.read(&["generate-lockfile", "--quiet"])?;
        print_line(format!("wrote {CARGO_LOCK}"))
    }

    /// Prints notes on files of the repository that Nix does not see.
    fn print_git_notes(&self) -> Result<()> {
        let Some(repository) = &self.repository else {
            return Ok(());
        };
        for name in [CARGO_LOCK, FLAKE, IMAGES] {
            let line = repository.ignoring_line(name);
            if let Some(line) = line.filter(|_| !repository.tracks(name)) {
                print_line(format!(
                    "      git ignores {name} ({line}), and Nix sees only tracked files: `git add \
                     --force` below tracks it"
                ))?;
            }
        }
        let workspace = self.args.workspace.canonicalize()?;
        for file in outside::configurations(&workspace, &repository.top.canonicalize()?) {
            print_line(format!(
                "      Cargo also reads {}, which is outside the workspace's directory, so that \
                 Crateyard does not see it: copy the lines that the build needs into \
                 .cargo/config.toml",
                file.display()
            ))?;
        }
        let submodules = repository.submodules();
        if !submodules.is_empty() {
            print_line(format!(
                "      Nix leaves submodules out ({}). Where the build needs them: \
                 inputs.self.submodules = true; in {FLAKE} (Nix 2.27 or newer), or nix build \
                 'git+file://{}?submodules=1#NAME-image'",
                submodules.join(", "),
                repository.top.display()
            ))?;
        }
        Ok(())
    }

    fn print_next(&self, has_flake: bool) -> Result<()> {
        let description = described::read(&self.path(IMAGES))?;
        // `assemble lock` asks Cargo again, and fails if that is impossible.
        let (needed, unknown) = match native::needed(&description, &self.path(CARGO_LOCK)) {
            Ok(needed) => (needed, None),
            Err(error) => (Default::default(), Some(error)),
        };
        if let Some(error) = &unknown {
            print_line(format!(
                "      the Debian packages that it needs are not known yet: {error:#}"
            ))?;
        }
        for (name, packages) in &needed {
            print_line(format!(
                "      {name} is compiled with {}",
                packages.join(" and ")
            ))?;
        }
        if !self.choice.is_default {
            let Choice {
                channel, reason, ..
            } = self.choice;
            print_line(format!("      the compiler is Rust {channel}: {reason}"))?;
        }
        print_line("next:")?;
        if self.args.workspace != Path::new(".") {
            print_line(format!("  cd {}", self.args.workspace.display()))?;
        }
        if !has_flake {
            print_line(format!("  # add the lines above to {FLAKE}"))?;
        }
        let mut files = vec![CARGO_LOCK, FLAKE, IMAGES];
        if !needed.is_empty() || unknown.is_some() || !self.choice.is_pinned {
            print_line("  assemble lock")?;
            files.push(DEBIAN_LOCK);
            if !self.choice.is_default {
                files.push(crateyard_toolchain::lock::FILE);
            }
        }
        files.extend(self.untracked_sources.iter().map(String::as_str));
        self.print_git_add(&files)?;
        if !has_flake {
            print_line(format!("  {}", nix::LOCK_COMMAND))?;
        }
        print_line("  assemble fetch")?;
        // Nix writes the lock, and makes git know no more than its name.
        self.print_git_add(&[FLAKE_LOCK])?;
        let images: Vec<&String> = description.images.keys().collect();
        // An existing images.toml may have other images.
        let main = self
            .guess
            .main
            .as_ref()
            .filter(|main| images.contains(main));
        let image = main.or(images.first().copied());
        print_line(match image {
            Some(image) => format!("  assemble build {image}"),
            None => "  assemble build".to_owned(),
        })
    }

    fn print_git_add(&self, files: &[&str]) -> Result<()> {
        let Some(repository) = &self.repository else {
            return Ok(());
        };
        let untracked = files.iter().filter(|name| !repository.holds(name));
        let (ignored, others): (Vec<&str>, Vec<&str>) =
            untracked.partition(|name| repository.ignoring_line(name).is_some());
        for (option, files) in [("", others), (" --force", ignored)] {
            if !files.is_empty() {
                print_line(format!("  git add{option} {}", files.join(" ")))?;
            }
        }
        Ok(())
    }
}

/// Writes a new file. Returns false if the file already exists.
fn create(path: &Path, text: &str) -> Result<bool> {
    let context = || format!("cannot write {}", path.display());
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            let whole = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_all());
            if whole.is_err() {
                // An incomplete file is worse than none. If it can't be removed, the next error
                // shows that.
                let _ = fs::remove_file(path);
            }
            whole.with_context(context)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(context),
    }
}
