//! Platforms, and the choice of the image that best fits a platform.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;

/// The operating system and processor of an image.
///
/// ```
/// use crateyard_oci::Platform;
///
/// let wanted: Platform = "linux/amd64".parse()?;
/// let plain: Platform = "linux/amd64".parse()?;
/// let newer: Platform = "linux/amd64/v3".parse()?;
/// assert_eq!(wanted.best_of([&newer, &plain], |it| Some(*it)), [&plain]);
/// assert_eq!(newer.best_of([&newer, &plain], |it| Some(*it)), [&newer]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture in Go's terms: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system in Go's terms: `linux`.
    pub os: String,
    /// The version of the operating system; Windows uses it.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// The features of the operating system that the image needs.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the processor: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    /// Reads `linux/amd64` or `linux/arm/v7`.
    fn from_str(text: &str) -> Result<Platform, String> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if !os.is_empty() && !architecture.is_empty() =>
            {
                Ok(Platform {
                    architecture,
                    os,
                    os_version: None,
                    os_features: Vec::new(),
                    variant: variant.filter(|variant| !variant.is_empty()),
                })
            }
            _ => Err(format!(
                "{text:?} is not a platform: write OS/ARCHITECTURE, such as linux/amd64"
            )),
        }
    }
}

impl Platform {
    /// Returns the platform of this machine.
    pub fn of_machine() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        }
    }

    /// Whether an image for this platform runs on `wanted`.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        self.distance(wanted).is_some()
    }

    /// Whether two documents that name these platforms can mean the same image. A variant only
    /// counts if both name one.
    pub fn agrees_with(&self, other: &Platform) -> bool {
        let variants = self.variant.as_ref().zip(other.variant.as_ref());
        self.os == other.os
            && self.architecture == other.architecture
            && variants.is_none_or(|(one, other)| one == other)
    }

    /// Returns the best of several things for this platform: none, one, or several that are equally
    /// good. A thing without a platform is only returned if nothing else fits.
    pub fn best_of<T>(
        &self,
        things: impl IntoIterator<Item = T>,
        platform_of: impl Fn(&T) -> Option<&Platform>,
    ) -> Vec<T> {
        let mut best = Vec::new();
        let mut least = u32::MAX;
        for thing in things {
            let distance = match platform_of(&thing) {
                Some(platform) => platform.distance(self),
                None => Some(u32::MAX),
            };
            let Some(distance) = distance else { continue };
            if distance < least {
                best.clear();
                least = distance;
            }
            if distance == least {
                best.push(thing);
            }
        }
        best
    }

    /// Returns the distance of this platform from `wanted`: 0 if they are the same, `None` if this
    /// platform does not run there.
    ///
    /// A processor runs the programs of lower levels of its architecture. Without a level, `amd64`
    /// is `v1`, `arm64` is `v8` and `arm` is `v7`. If no level is wanted, `amd64/v2` is accepted if
    /// nothing lower is there. Higher levels must be asked for, because many machines lack them.
    fn distance(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        if self.variant == wanted.variant {
            return Some(0);
        }
        let (base, ceiling) = match self.architecture.as_str() {
            "amd64" => (1, 2),
            "arm64" => (8, 8),
            "arm" => (7, 7),
            // No levels are known: a variant only counts if both sides name one.
            _ => return (self.variant.is_none() || wanted.variant.is_none()).then_some(1),
        };
        let level = |platform: &Platform| match &platform.variant {
            None => Some(base),
            Some(variant) => variant.strip_prefix('v')?.parse::<u32>().ok(),
        };
        let (own, asked) = (level(self)?, level(wanted)?);
        let most = if wanted.variant.is_none() {
            ceiling
        } else {
            asked
        };
        match own {
            _ if own <= asked => Some(1 + 2 * (asked - own)),
            _ if own <= most => Some(2 * (own - asked)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best<'a>(wanted: &str, there: &[&'a str]) -> Vec<&'a str> {
        let wanted: Platform = wanted.parse().unwrap();
        let there: Vec<(&str, Platform)> = there
            .iter()
            .map(|text| (*text, text.parse().unwrap()))
            .collect();
        let best = wanted.best_of(&there, |(_, platform)| Some(platform));
        best.into_iter().map(|(text, _)| *text).collect()
    }

    #[test]
    fn a_higher_level_must_be_asked_for() {
        let levels = ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"];
        assert_eq!(best("linux/amd64", &levels), ["linux/amd64"]);
        assert_eq!(best("linux/amd64", &levels[..2]), ["linux/amd64/v2"]);
        assert!(best("linux/amd64", &levels[..1]).is_empty());
        assert_eq!(best("linux/amd64/v3", &levels), ["linux/amd64/v3"]);
        assert_eq!(best("linux/amd64/v4", &levels), ["linux/amd64/v3"]);
        assert_eq!(best("linux/amd64/v2", &levels[2..]), ["linux/amd64"]);
    }

    #[test]
    fn arm_without_a_level_is_what_most_machines_are() {
        let arm = ["linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
        assert_eq!(best("linux/arm", &arm), ["linux/arm/v7"]);
        assert_eq!(best("linux/arm/v6", &arm), ["linux/arm/v6"]);
        assert_eq!(best("linux/arm64", &arm), ["linux/arm64/v8"]);
        assert_eq!(best("linux/arm64/v8", &["linux/arm64"]), ["linux/arm64"]);
        assert!(best("linux/riscv64", &arm).is_empty());
        assert!("linux".parse::<Platform>().is_err());
    }
}
