//! The distribution server of the Rust project, or a mirror.

/// Where releases are published.
pub const DEFAULT: &str = "https://static.rust-lang.org";

/// rustup's variable with the address of a mirror.
///
/// <https://rust-lang.github.io/rustup/environment-variables.html>
pub const VARIABLE: &str = "RUSTUP_DIST_SERVER";

/// The server's address without a slash at its end: the mirror that the environment names, else the project's own.
pub fn address() -> String {
    let mirror = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    let address = mirror.unwrap_or_else(|| DEFAULT.to_owned());
    address.trim_end_matches('/').to_owned()
}
