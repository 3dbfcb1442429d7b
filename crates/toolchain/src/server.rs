//! The distribution server of the Rust project, or a mirror.

/// The Rust project's server.
pub const DEFAULT: &str = "https://static.rust-lang.org";

/// rustup's environment variable for the address of a mirror.
///
/// <https://rust-lang.github.io/rustup/environment-variables.html>
pub const VARIABLE: &str = "RUSTUP_DIST_SERVER";

/// Returns the server's address, without a slash at its end: the mirror in the environment, else
/// the project's server.
pub fn address() -> String {
    let mirror = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    let address = mirror.unwrap_or_else(|| DEFAULT.to_owned());
    address.trim_end_matches('/').to_owned()
}
