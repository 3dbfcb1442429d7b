//! Says for which architecture it is compiled, and how its module begins.

static MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/module.wasm"));

fn main() {
    println!("{} {:?}", std::env::consts::ARCH, &MODULE[..4]);
}
