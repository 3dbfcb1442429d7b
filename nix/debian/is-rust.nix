# Whether a .deb file of a set is part of Debian's Rust compiler, which a release's compiler takes the place of.
package: builtins.match "(rustc|cargo|libstd-rust|rust-).*" package.name != null
