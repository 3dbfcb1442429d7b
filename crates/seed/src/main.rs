//! The bootstrap program: unpacks .deb files and runs commands in cells.
//!
//! The library does all the work. This file starts it: without any other library if it is built as
//! the seed, and with the standard library if it is built for the workspace's tests (`build.rs`
//! decides).
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
