//! Says what came through.

include!(concat!(env!("OUT_DIR"), "/made.rs"));

#[macros::answering]
fn answer() -> u32 {
    0
}

fn main() {
    println!("version {} {}", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION_PRE"));
    println!("authors {}", env!("CARGO_PKG_AUTHORS"));
    println!("lines {}", env!("CARGO_PKG_DESCRIPTION").lines().count());
    println!("env {} {}", env!("TORTURE_PLAIN"), env!("TORTURE_FORCED"));
    println!("told {} made {MADE}", env!("TORTURE_TOLD"));
    println!("cfg {} {}", cfg!(flagged), cfg!(built));
    println!("split {}", split::features());
    println!("lamp {}", lamp::light());
    println!("new {}", new::voice());
    println!("shared {} archive {}", shared::shared(), archive::archived());
    println!("unix {} old {}", unix_only::UNIX, old::old());
    println!("macro {}", answer());
    println!("asserted {}", cfg!(debug_assertions));
}
