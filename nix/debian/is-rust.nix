# Whether a .deb file of a set belongs to Debian's Rust compiler, which a release replaces.
package: builtins.match "(rustc|cargo|libstd-rust|rust-).*" package.name != null
