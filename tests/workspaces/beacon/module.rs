//! A module for WebAssembly. `build.rs` compiles it.

#[unsafe(no_mangle)]
pub extern "C" fn add(one: i32, other: i32) -> i32 {
    one + other
}
