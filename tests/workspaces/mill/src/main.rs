//! Grinds what it is given: prints words in upper case.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!("{}", words.join(" ").to_uppercase());
}
