//! A port that an image exposes.
//!
//! `images.toml`, an image's specification and a Dockerfile's `EXPOSE` write ports in the same way,
//! which is [OCI's](https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md#properties).
//!
//! ```
//! use crateyard_spec::Port;
//!
//! let port: Port = "53/udp".parse()?;
//! assert_eq!(port.number(), 53);
//! assert_eq!("8080".parse::<Port>()?.to_string(), "8080/tcp");
//! # Ok::<(), crateyard_spec::Wrong>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The protocols that engines know.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// A port with its protocol. Ports sort by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// From 1 to 65535.
    number: u16,
    protocol: &'static str,
}

/// Why a text is not a port. The message continues the quoted text: "`0` is not a port; …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The number is malformed or out of range.
    Number,
    /// The protocol is unknown.
    Protocol,
}

impl Port {
    /// Returns the TCP port with this number, or `None` for 0.
    pub fn tcp(number: u16) -> Option<Port> {
        let protocol = PROTOCOLS[0];
        (number > 0).then_some(Port { number, protocol })
    }

    /// Returns the port's number.
    pub fn number(self) -> u16 {
        self.number
    }

    /// Whether the protocol is TCP, which texts may leave out.
    pub fn is_tcp(self) -> bool {
        self.protocol == PROTOCOLS[0]
    }
}

impl FromStr for Port {
    type Err = Wrong;

    /// Reads `8080`, which means TCP, or `8080/udp`.
    fn from_str(text: &str) -> Result<Port, Wrong> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, PROTOCOLS[0]));
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number| *number > 0 && digits);
        let protocol = PROTOCOLS.into_iter().find(|known| *known == protocol);
        Ok(Port {
            number: number.ok_or(Wrong::Number)?,
            protocol: protocol.ok_or(Wrong::Protocol)?,
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
        let text = String::deserialize(deserializer)?;
        let port = text.parse();
        port.map_err(|wrong: Wrong| serde::de::Error::custom(format!("{text:?} {wrong}")))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Number => f.write_str("is not a port; ports go from 1 to 65535"),
            Wrong::Protocol => write!(
                f,
                "has an unknown protocol; OCI knows {}",
                PROTOCOLS.join(", ")
            ),
        }
    }
}

impl std::error::Error for Wrong {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_with_a_protocol() {
        let read = |text: &str| text.parse::<Port>().map(|port| port.to_string());
        assert_eq!(read("8080"), Ok("8080/tcp".to_string()));
        assert_eq!(read("9090/udp"), Ok("9090/udp".to_string()));
        for wrong in ["0", "65536", "", "-1", "+80", " 80", "80-90", "/tcp"] {
            assert_eq!(read(wrong), Err(Wrong::Number), "{wrong:?}");
        }
        for wrong in ["80/http", "80/", "80/TCP"] {
            assert_eq!(read(wrong), Err(Wrong::Protocol), "{wrong:?}");
        }
    }

    #[test]
    fn ports_are_sorted_by_number() {
        let mut ports = ["8080", "443/udp", "443"].map(|text| text.parse::<Port>().unwrap());
        ports.sort();
        let written = ports.map(|port| port.to_string());
        assert_eq!(written, ["443/tcp", "443/udp", "8080/tcp"]);
    }
}
