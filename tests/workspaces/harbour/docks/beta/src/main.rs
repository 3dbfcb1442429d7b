fn main() {
    println!("{}, {}", knot::described(), rope::described());
}
