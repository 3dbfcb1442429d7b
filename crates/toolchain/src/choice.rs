//! Chooses the release that a workspace is built with.

use std::path::Path;

use crate::channel::{Channel, numbers};
use crate::error::{Error, Result};
use crate::file::{NIX_READS, ToolchainFile};
use crate::lock::{CHECKING, COMPILING, HOSTS, STD};

/// The release for Crateyard itself, and for workspaces that ask for no other. `toolchain.lock` at
/// Crateyard's root pins it.
pub const DEFAULT: &str = "1.95.0";

/// A package of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The oldest release that compiles it, from its manifest (`rust-version`).
    pub rust_version: Option<String>,
}

/// A release, and the reason for the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The release's channel.
    pub channel: Channel,
    /// Additional components, such as `rust-analyzer`.
    pub components: Vec<String>,
    /// Additional targets.
    pub targets: Vec<String>,
    /// The reason, as a clause: "rust-toolchain.toml says so".
    pub reason: String,
    /// Whether the workspace asks for nothing but Crateyard's own release. Crateyard's own lock
    /// pins that, and a newer Crateyard brings a newer release.
    pub is_default: bool,
    /// Whether Crateyard's own pin of [`DEFAULT`] has all that the workspace asks for, and so no
    /// build needs a `toolchain.lock` of the workspace. If the workspace asks for this release by
    /// name, a Crateyard that pins another one stops, and names both (nix/toolchain/fits.nix).
    pub is_pinned: bool,
}

/// Chooses a release for a workspace: from `images.toml` (`release`), else from
/// `rust-toolchain.toml`, else Crateyard's own or the newer one that a member needs.
///
/// # Errors
/// Fails if a toolchain file can't be used, or if a version is malformed.
pub fn choose(workspace: &Path, release: Option<&str>, members: &[Member]) -> Result<Choice> {
    let file = ToolchainFile::of(workspace)?;
    let name = |file: &ToolchainFile| {
        let name = file.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let asked = match (release, &file) {
        (Some(release), _) => Some((release.parse()?, "images.toml says so".to_owned())),
        (None, Some(file)) => {
            let channel = file.channel.clone();
            channel.map(|channel| (channel, format!("{} says so", name(file))))
        }
        (None, None) => None,
    };
    let is_asked = asked.is_some();
    // Evaluation does not read the other file, and would take another release in silence.
    let is_held = release.is_some() || file.as_ref().is_none_or(|it| name(it) == NIX_READS);
    let (channel, reason) = match asked {
        Some(asked) => asked,
        None => by_rust_version(members)?,
    };
    let (components, targets) =
        file.map_or_else(Default::default, |file| (file.components, file.targets));
    let is_own = channel == Channel::Release(DEFAULT.to_owned());
    let is_plain = components.is_empty() && targets.is_empty();
    Ok(Choice {
        is_default: !is_asked && is_own && is_plain,
        is_pinned: is_own && (is_held || !is_asked) && every_lock_has(&components, &targets),
        channel,
        components,
        targets,
        reason,
    })
}

/// Whether locks have these components and targets for any workspace.
fn every_lock_has(components: &[String], targets: &[String]) -> bool {
    let is_known = |it: &String| {
        let mut known = COMPILING.iter().chain(&CHECKING).chain([&STD]);
        known.any(|known| it == known)
    };
    components.iter().all(is_known) && targets.iter().all(|it| HOSTS.contains(&it.as_str()))
}

/// Chooses Crateyard's own release, or the newest one that a member names.
fn by_rust_version(members: &[Member]) -> Result<(Channel, String)> {
    let mut highest: Option<(&Member, &str, (u32, u32, u32))> = None;
    for member in members {
        let Some(version) = &member.rust_version else {
            continue;
        };
        let parsed = numbers(version).ok_or_else(|| {
            Error::Channel(format!(
                "{}: rust-version `{version}` is not a version",
                member.name
            ))
        })?;
        if highest.is_none_or(|(.., known)| parsed > known) {
            highest = Some((member, version, parsed));
        }
    }
    let default = Channel::Release(DEFAULT.to_owned());
    let (major, minor, patch) = numbers(DEFAULT).unwrap_or_default();
    Ok(match highest {
        None => (
            default,
            "nothing in the workspace asks for another".to_owned(),
        ),
        Some((member, version, parsed)) if parsed <= (major, minor, patch) => {
            (default, format!("{} wants at least {version}", member.name))
        }
        Some((member, version, parsed)) => {
            let channel = Channel::Release(format!("{}.{}.{}", parsed.0, parsed.1, parsed.2));
            (channel, format!("{} wants at least {version}", member.name))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Lock;

    fn member(name: &str, version: &str) -> Member {
        Member {
            name: name.to_owned(),
            rust_version: Some(version.to_owned()),
        }
    }

    fn chosen(workspace: &Path, release: Option<&str>, members: &[Member]) -> (String, String) {
        let choice = choose(workspace, release, members).unwrap();
        (choice.channel.to_string(), choice.reason)
    }

    #[test]
    fn what_is_said_most_clearly_wins() {
        let workspace = tempfile::tempdir().unwrap();
        let members = [member("old", "1.70"), member("new", "1.99")];
        let (channel, reason) = chosen(workspace.path(), None, &members);
        assert_eq!(channel, "1.99.0");
        assert_eq!(reason, "new wants at least 1.99");
        let file = workspace.path().join("rust-toolchain.toml");
        std::fs::write(&file, "[toolchain]\nchannel = \"1.96.1\"\n").unwrap();
        let (channel, reason) = chosen(workspace.path(), None, &members);
        assert_eq!(
            (channel.as_str(), reason.as_str()),
            ("1.96.1", "rust-toolchain.toml says so")
        );
        let (channel, reason) = chosen(workspace.path(), Some("1.97.0"), &members);
        assert_eq!(
            (channel.as_str(), reason.as_str()),
            ("1.97.0", "images.toml says so")
        );
    }

    #[test]
    fn without_a_wish_it_is_crateyards_own() {
        let workspace = tempfile::tempdir().unwrap();
        let choice = choose(workspace.path(), None, &[member("a", "1.85")]).unwrap();
        assert_eq!(choice.channel.to_string(), DEFAULT);
        assert!(choice.is_default);
        // With only targets and components, the release stays the same but needs its own pin.
        let file = workspace.path().join("rust-toolchain.toml");
        std::fs::write(
            &file,
            "[toolchain]\ntargets = [\"wasm32-unknown-unknown\"]\n",
        )
        .unwrap();
        let choice = choose(workspace.path(), None, &[]).unwrap();
        assert_eq!(choice.channel.to_string(), DEFAULT);
        assert!(!choice.is_default && !choice.is_pinned);
    }

    #[test]
    fn crateyards_own_pin_is_enough_for_who_asks_for_just_that() {
        let is_pinned = |file: &str, text: &str, release: Option<&str>| {
            let workspace = tempfile::tempdir().unwrap();
            std::fs::write(workspace.path().join(file), text).unwrap();
            let choice = choose(workspace.path(), release, &[]).unwrap();
            assert!(!choice.is_default, "{text}");
            choice.is_pinned
        };
        let toml = |more: &str| format!("[toolchain]\nchannel = \"{DEFAULT}\"\n{more}");
        let in_toml = |text: &str, release| is_pinned("rust-toolchain.toml", text, release);
        let ours = "components = [\"clippy\", \"rustfmt\", \"rust-std\", \"rustc\", \"cargo\"]\n\
                    targets = [\"x86_64-unknown-linux-gnu\", \"aarch64-unknown-linux-gnu\"]\n";
        assert!(in_toml(&toml(""), None));
        assert!(in_toml(&toml(ours), None));
        assert!(in_toml("[toolchain]\nchannel = \"1.70.0\"", Some(DEFAULT)));
        for more in [
            "components = [\"clippy\", \"rust-analyzer\"]",
            "components = [\"rust-src\"]",
            "targets = [\"wasm32-unknown-unknown\"]",
        ] {
            assert!(!in_toml(&toml(more), None), "{more}");
        }
        for channel in ["1.95", "1.94.0", "stable", "nightly-2026-05-20"] {
            let text = format!("[toolchain]\nchannel = \"{channel}\"");
            assert!(!in_toml(&text, None), "{channel}");
            assert!(!in_toml(&toml(""), Some(channel)), "{channel}");
        }
        // Evaluation does not read this file.
        assert!(!is_pinned("rust-toolchain", DEFAULT, None));
        assert!(is_pinned("rust-toolchain", DEFAULT, Some(DEFAULT)));
    }

    /// What [`Choice::is_pinned`] relies on.
    #[test]
    fn crateyards_own_lock_pins_all_that_every_lock_has() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../toolchain.lock");
        let own = Lock::load(&own).unwrap();
        assert_eq!(
            (own.channel.as_str(), own.release.as_str()),
            (DEFAULT, DEFAULT)
        );
        for name in COMPILING.iter().chain(&CHECKING).chain([&STD]) {
            for host in HOSTS {
                assert!(own.components[*name].contains_key(host), "{name} {host}");
            }
        }
    }
}
