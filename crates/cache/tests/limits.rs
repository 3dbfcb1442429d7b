//! Long inputs of the readers of a cache take memory in proportion to their size.
#![allow(missing_docs)]

use crateyard_nix::NarInfo;
use crateyard_testing::mutations::is_bounded;

const NARINFO: &str = "\
StorePath: /nix/store/0088nw260g520izissyias822skzxd61-getrandom-0.4.3
URL: nar/0d7l63s4sr8z3alvap7sab7q9s1f1vs1d5vrmrg6qlf246gk21b8.nar.zst
Compression: zstd
FileHash: sha256:0d7l63s4sr8z3alvap7sab7q9s1f1vs1d5vrmrg6qlf246gk21b8
FileSize: 1000
NarHash: sha256:1kdq8x9w9llzdx1akbhnssdm3vbv1vk5ksfiwjd3zzq7dvh17qh7
NarSize: 4000
References: 2wjc7yrh50jn6q8d39bx29vhm7b58ym1-a 0088nw260g520izissyias822skzxd61-getrandom-0.4.3
Deriver: 2wjc7yrh50jn6q8d39bx29vhm7b58ym1-getrandom-0.4.3.drv
Sig: main-1:IbRDpepZxT5iQBfubIzL+ry8Hfq5cNAcstTgYRKKu4nEtbqDXoVeNLVbkil1FvGStEnpwjTts5TQxsliPgcCCg==
CA: fixed:r:sha256:0d7l63s4sr8z3alvap7sab7q9s1f1vs1d5vrmrg6qlf246gk21b8
";

/// A narinfo of the largest size that is read, all of it references or signatures.
#[test]
fn a_long_narinfo_is_read_in_proportion_to_its_size() {
    if !is_bounded("a_long_narinfo_is_read_in_proportion_to_its_size") {
        return;
    }
    let reference = " 2wjc7yrh50jn6q8d39bx29vhm7b58ym1-a";
    let signature = NARINFO
        .lines()
        .find(|line| line.starts_with("Sig"))
        .unwrap();
    let count = |piece: &str| crateyard_nix::MAX_NARINFO as usize / piece.len();
    let references = format!("References:{}", reference.repeat(count(reference)));
    let long = NARINFO.replace("References:", &references);
    let info = NarInfo::parse(&long, "here").unwrap();
    assert_eq!(info.references.len(), count(reference) + 2);
    let long = format!(
        "{NARINFO}{}",
        format!("{signature}\n").repeat(count(signature))
    );
    assert!(NarInfo::parse(&long, "here").unwrap().signatures.len() > count(signature));
}
