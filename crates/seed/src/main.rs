//! The bootstrap program: unpacks .deb files and runs a command in a cell.
//!
//! Everything it does is in the library. This file starts it: with nothing beneath it when it is
//! built as the seed, with the standard library when it is built for the workspace's tests
//! (`build.rs` says which).
#![cfg_attr(bare, no_std)]
#![cfg_attr(bare, no_main)]

#[cfg(bare)]
mod bare;

#[cfg(not(bare))]
fn main() {
    use std::os::unix::ffi::OsStringExt;

    let arguments = std::env::args_os().map(OsStringExt::into_vec).collect();
    let environment = std::env::vars_os()
        .map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='))
        .collect();
    std::process::exit(crateyard_seed::run(arguments, environment));
}
