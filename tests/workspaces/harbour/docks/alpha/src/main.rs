fn main() {
    println!("{} in {}", env!("CARGO_PKG_NAME"), file!());
}

#[test]
fn runs_without_a_runner() {
    assert_eq!(env!("CARGO_PKG_VERSION"), "3.1.0");
}
