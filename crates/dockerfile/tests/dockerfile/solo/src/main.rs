mod helper;

fn main() {
    println!("{} {}", core_lib::seven(), helper::told());
}
