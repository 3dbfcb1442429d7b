mod chart;

fn main() {
    let tide = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/tide.txt"));
    let depth = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/data/deep/soundings.txt"
    ));
    println!(
        "{}, {} tide, {}, built by {}, {}",
        chart::NAME,
        tide.trim(),
        depth.trim(),
        env!("BUILT_BY"),
        itoa::described()
    );
}
