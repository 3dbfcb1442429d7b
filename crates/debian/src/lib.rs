//! Debian packages: signed indexes, resolution, `debian.lock`.
//!
//! Each module is one step from a package's name to its bytes:
//!
//! 1. [`apt`] downloads the archive's files with the machine's configuration;
//! 2. [`release`] checks the archive's signature by one of its [`keys`], and each index's hash;
//! 3. [`index`] reads the indexes ([`control`], [`version`], [`relation`] are their grammar);
//! 4. [`resolve`] turns named sets of packages into closures;
//! 5. [`lock`] is the file that pins the result.
//!
//! `crates/unpack` reads the package files themselves.
//!
//! ```
//! use std::path::Path;
//!
//! use crateyard_debian::lock::Lock;
//!
//! let text = format!(
//!     r#"{{
//!   "version": 1,
//!   "suites": [{{"name": "bookworm", "archive": "debian", "components": ["main"]}}],
//!   "snapshot": "20260711T101637Z",
//!   "sets": {{"base": {{"amd64": ["libc6:amd64"]}}}},
//!   "omitted": {{}},
//!   "packages": {{
//!     "libc6:amd64": {{"version": "2.36-9", "archive": "debian",
//!       "path": "pool/main/g/glibc/libc6_2.36-9_amd64.deb", "sha256": "{}", "size": 7}}
//!   }}
//! }}"#,
//!     "0".repeat(64),
//! );
//! let lock = Lock::parse(&text, Path::new("debian.lock"))?;
//! let (key, package) = lock.set("base", "amd64").expect("a set named base")[0];
//! assert_eq!((key, package.version.as_str()), ("libc6:amd64", "2.36-9"));
//! # Ok::<(), crateyard_debian::lock::LockError>(())
//! ```

pub mod apt;
pub mod control;
pub mod index;
pub mod keys;
pub mod lock;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod version;

/// The symbolic links that Debian's alternatives system would make, as JSON: from path (without
/// leading slash) to target. Nix reads the same list.
pub const ALTERNATIVES: &str = include_str!("alternatives.json");
