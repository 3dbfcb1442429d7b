//! Says what machine it was compiled for: as rustc has it, as the C compiler has it.

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    fn flame() -> *const c_char;
}

#[derive(serde::Serialize)]
struct Lantern {
    rust: &'static str,
    c: String,
}

fn main() {
    // SAFETY: `flame` gives a string that lives as long as the program.
    let c = unsafe { CStr::from_ptr(flame()) };
    let lantern = Lantern {
        rust: std::env::consts::ARCH,
        c: c.to_string_lossy().into_owned(),
    };
    println!("{}", serde_json::to_string(&lantern).expect("plain text has a JSON form"));
}
