//! The bootstrap program of the build. It unpacks .deb files into a root file system, and runs
//! commands in cells.
//!
//! The library needs neither the standard library nor a C library, so that the program can be one
//! small static file that runs where nothing else exists. `docs/seed.md` says how to use it.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod ar;
mod arguments;
mod cell;
mod deb;
mod decompress;
mod enter;
mod error;
mod files;
pub mod output;
mod rooted;
mod shared_memory;
pub mod sys;
mod tar;
mod trace;
mod traced;
mod unpack;

use alloc::format;
use alloc::vec::Vec;

use arguments::Command;
use error::Error;

/// Runs the program.
///
/// `arguments` begin with the program's own name. `environment` holds `NAME=value` entries. Returns
/// the exit code.
pub fn run(arguments: Vec<Vec<u8>>, environment: Vec<Vec<u8>>) -> i32 {
    let result = arguments::parse(arguments).and_then(|command| match command {
        Command::Help => print(arguments::HELP),
        Command::Version => print(concat!("seed ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Unpack(options) => unpack::unpack(&options).map(|()| 0),
        Command::Cell(options) => cell::run(&options, environment),
    });
    result.unwrap_or_else(|error| {
        output::error(format!("seed: {error}\n").as_bytes());
        error.exit_code()
    })
}

fn print(text: &str) -> Result<i32, Error> {
    output::print(text.as_bytes())
        .map(|()| 0)
        .map_err(|errno| Error::io("write to standard output", errno))
}
