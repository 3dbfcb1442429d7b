the_registrys::cfg_if! {
    if #[cfg(unix)] {
        const SYSTEM: &str = "unix";
    } else {
        const SYSTEM: &str = "another system";
    }
}

fn main() {
    println!(
        "{} {} on {SYSTEM}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION")
    );
}
