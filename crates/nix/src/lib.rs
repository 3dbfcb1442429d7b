//! The Nix store: its paths, its archives, the derivations in it, and the programs that work on it.
//!
//! - [`StorePath`], [`Hash`](struct@Hash) and [`nar`] describe the content of a store; [`NarInfo`]
//!   and the keys describe it in a cache.
//! - [`derivation`] parses `.drv` files; [`Closure`] holds derivations with everything they need.
//! - [`Store`] asks `nix-store` about a store, and adds files to it. It creates a missing store
//!   first ([`creation`]).
//! - [`environment`] and [`process`] prepare the processes of Nix, and [`said`] finds the cause in
//!   their messages.
//!
//! ```
//! use crateyard_nix::{NarInfo, StorePath};
//!
//! let path: StorePath = "/nix/store/2ac5dscnf2ghi143hiwb81b55zssyvnv-hello".parse()?;
//! assert_eq!(path.name(), "hello");
//! let text = format!(
//!     "StorePath: {path}\nURL: nar/x.nar\nNarSize: 120\n\
//!      NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\n"
//! );
//! let info = NarInfo::parse(&text, "the example")?;
//! assert_eq!(info.download_size(), 120);
//! # Ok::<(), crateyard_nix::Error>(())
//! ```

mod closure;
pub mod creation;
pub mod derivation;
pub mod environment;
mod error;
mod hash;
mod key;
pub mod log;
pub mod nar;
mod narinfo;
mod path;
pub mod process;
pub mod said;
mod store;

pub use closure::{Closure, Node, Recipe};
pub use derivation::Derivation;
pub use error::{Error, Result};
pub use hash::Hash;
pub use key::{PublicKey, SecretKey, Signature};
pub use narinfo::{MAX_NARINFO, NarInfo};
pub use path::{STORE, StorePath, name_of};
pub use store::{Registered, Store, sha256_of};
