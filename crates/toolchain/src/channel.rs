//! Names of release channels.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A channel that a workspace may ask for, in rustup's notation.
///
/// <https://rust-lang.github.io/rustup/concepts/channels.html>
///
/// ```
/// use crateyard_toolchain::Channel;
///
/// let channel: Channel = "1.95.0".parse()?;
/// assert!(channel.is_fixed());
/// assert_eq!(channel.manifest_path(), "dist/channel-rust-1.95.0.toml");
/// # Ok::<(), crateyard_toolchain::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `1.95.0`, or `1.95` for its newest patch release.
    Release(String),
    /// `stable`, as of the day when it is locked.
    Stable,
    /// `beta` or `beta-2026-05-20`.
    Beta(Option<String>),
    /// `nightly` or `nightly-2026-05-20`.
    Nightly(Option<String>),
}

impl Channel {
    /// Whether the name always means the same release.
    pub fn is_fixed(&self) -> bool {
        match self {
            Self::Release(version) => version.split('.').count() == 3,
            Self::Stable => false,
            Self::Beta(date) | Self::Nightly(date) => date.is_some(),
        }
    }

    /// Returns the path of the channel's manifest below the distribution server's address.
    pub fn manifest_path(&self) -> String {
        let named = |name: &str| format!("channel-rust-{name}.toml");
        match self {
            Self::Release(version) => format!("dist/{}", named(version)),
            Self::Stable => format!("dist/{}", named("stable")),
            Self::Beta(None) => format!("dist/{}", named("beta")),
            Self::Beta(Some(date)) => format!("dist/{date}/{}", named("beta")),
            Self::Nightly(None) => format!("dist/{}", named("nightly")),
            Self::Nightly(Some(date)) => format!("dist/{date}/{}", named("nightly")),
        }
    }

    /// Whether a release belongs to this channel. `version` is the compiler's version (`1.95.0`,
    /// `1.97.0-nightly`), `date` is the day on which the channel had it (`2026-05-20`).
    pub fn includes(&self, version: &str, date: &str) -> bool {
        let is_dated = |asked: &Option<String>| asked.as_deref().is_none_or(|asked| asked == date);
        match self {
            Self::Release(asked) => {
                version == asked
                    || version
                        .strip_prefix(asked.as_str())
                        .is_some_and(|rest| rest.starts_with('.') && !rest.contains('-'))
            }
            Self::Stable => !version.contains('-'),
            Self::Beta(asked) => version.contains("-beta") && is_dated(asked),
            Self::Nightly(asked) => version.contains("-nightly") && is_dated(asked),
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(version) => f.write_str(version),
            Self::Stable => f.write_str("stable"),
            Self::Beta(None) => f.write_str("beta"),
            Self::Beta(Some(date)) => write!(f, "beta-{date}"),
            Self::Nightly(None) => f.write_str("nightly"),
            Self::Nightly(Some(date)) => write!(f, "nightly-{date}"),
        }
    }
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::Channel(format!(
                "`{text}` is not a channel of the Rust project: expected a version such as \
                 1.95.0, stable, beta, or a nightly release such as nightly-2026-05-20"
            ))
        };
        let (name, date) = match text.split_once('-') {
            Some((name, date)) => (name, Some(date)),
            None => (text, None),
        };
        if let Some(date) = date.filter(|date| !is_date(date)) {
            return Err(
                match is_date(date.get(..10).unwrap_or_default()) || is_version(name) {
                    true => Error::Channel(format!(
                        "`{text}` names a platform: write only the channel, because toolchain.lock \
                         pins it for every build platform"
                    )),
                    false => unknown(),
                },
            );
        }
        let date = date.map(str::to_owned);
        match (name, date) {
            ("stable", None) => Ok(Self::Stable),
            ("beta", date) => Ok(Self::Beta(date)),
            ("nightly", date) => Ok(Self::Nightly(date)),
            (version, None) if is_version(version) => Ok(Self::Release(version.to_owned())),
            _ => Err(unknown()),
        }
    }
}

/// Whether a text is a version: `1.95` or `1.95.0`.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(is_number)
}

/// Whether a text is a date: `YYYY-MM-DD`.
pub(crate) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Returns a version's numbers, for comparisons: `1.97.0-nightly` is (1, 97, 0). A missing number
/// counts as 0.
pub fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let release = version.split(['-', '+', ' ']).next()?;
    let mut parts = release.split('.').map(|part| part.parse().ok());
    let major = parts.next()??;
    let mut next = || parts.next().unwrap_or(Some(0));
    Some((major, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for text in [
            "1.95",
            "1.95.0",
            "stable",
            "beta",
            "beta-2026-05-20",
            "nightly",
            "nightly-2026-05-20",
        ] {
            assert_eq!(text.parse::<Channel>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_names_are_quoted() {
        for text in [
            "",
            "stabel",
            "1",
            "1.x.0",
            "my-toolchain",
            "nightly-today",
            "stable-2026-05-20",
        ] {
            let said = text.parse::<Channel>().unwrap_err().to_string();
            assert!(
                said.contains(&format!("`{text}` is not a channel")),
                "{said}"
            );
        }
        let said = "1.95.0-x86_64-unknown-linux-gnu".parse::<Channel>();
        assert!(said.unwrap_err().to_string().contains("names a platform"));
    }

    #[test]
    fn a_channel_includes_its_releases() {
        let includes = |channel: &str, version: &str| {
            let channel: Channel = channel.parse().unwrap();
            channel.includes(version, "2026-05-20")
        };
        assert!(includes("1.95", "1.95.1"));
        assert!(includes("1.95.0", "1.95.0"));
        assert!(!includes("1.95.0", "1.95.1"));
        assert!(!includes("1.9", "1.95.1"));
        assert!(!includes("1.97", "1.97.0-nightly"));
        assert!(includes("nightly-2026-05-20", "1.97.0-nightly"));
        assert!(!includes("nightly-2026-05-21", "1.97.0-nightly"));
        assert!(!includes("stable", "1.97.0-nightly"));
    }

    #[test]
    fn manifests_lie_where_rustup_looks() {
        let path = |channel: &str| channel.parse::<Channel>().unwrap().manifest_path();
        assert_eq!(path("1.95.0"), "dist/channel-rust-1.95.0.toml");
        assert_eq!(
            path("nightly-2026-05-20"),
            "dist/2026-05-20/channel-rust-nightly.toml"
        );
    }
}
