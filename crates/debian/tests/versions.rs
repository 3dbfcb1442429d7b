//! Compares the order of versions with `dpkg --compare-versions`.

use std::cmp::Ordering;
use std::process::Command;

use common::{absent, skipped};
use crateyard_debian::version::Version;

mod common;

/// Difficult pairs, most of them from dpkg's own tests.
const HARD: &[(&str, &str)] = &[
    ("0", "0"),
    ("0:0", "0"),
    ("0-0", "0"),
    ("0:0-0", "0-"),
    ("1:0", "0:9"),
    ("1.0", "1.00"),
    ("1.0~", "1.0"),
    ("1.0~~", "1.0~"),
    ("1.0~~a", "1.0~~"),
    ("1.0-1~bpo12+1", "1.0-1"),
    ("1.2.3", "1.2.3-1"),
    ("1.2+dfsg", "1.2"),
    ("1.2a", "1.2+"),
    ("1.2.", "1.2a"),
    ("0.0.0.0.0.0.0.0.1", "0.0.0.0.0.0.0.0.01"),
    ("9999999999999999999999", "10000000000000000000000"),
    ("1:2:3", "1:2-3"),
    ("a", "1"),
    ("1.85.0+dfsg3-1~deb12u3", "1.85.0+dfsg3-1"),
    ("2.36-9+deb12u9", "2.36-9+deb12u14"),
];

fn oracle(a: &str, b: &str) -> Option<Ordering> {
    let holds = |operator: &str| {
        let output = Command::new("dpkg")
            .args(["--compare-versions", a, operator, b])
            .output()
            .expect("dpkg");
        // dpkg warns about versions that policy forbids, but still compares them.
        match output.status.code() {
            Some(0) => Some(true),
            Some(1) => Some(false),
            _ => None,
        }
    };
    match (holds("lt")?, holds("eq")?) {
        (true, _) => Some(Ordering::Less),
        (_, true) => Some(Ordering::Equal),
        _ => Some(Ordering::Greater),
    }
}

fn compare(a: &str, b: &str) -> Option<Ordering> {
    Some(a.parse::<Version>().ok()?.cmp(&b.parse::<Version>().ok()?))
}

/// A generator of the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn version(&mut self) -> String {
        const PARTS: &[&str] = &[
            "0", "1", "01", "2", "10", "9", ".", ".", "-", "+", "~", "a", "b", "rc", "Z",
        ];
        let mut text = String::new();
        if self.below(5) == 0 {
            text += &format!("{}:", self.below(3));
        }
        text += &self.below(3).to_string();
        for _ in 0..self.below(6) {
            text += PARTS[self.below(PARTS.len())];
        }
        text
    }
}

#[test]
fn versions_compare_as_dpkg_compares_them() {
    if let Some(program) = absent(&["dpkg"]) {
        return skipped(
            "versions_compare_as_dpkg_compares_them",
            &format!("there is no {program}"),
        );
    }
    let mut random = Random(7);
    let mut pairs: Vec<(String, String)> = HARD
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    pairs.extend(HARD.iter().map(|(a, b)| ((*b).to_owned(), (*a).to_owned())));
    for _ in 0..600 {
        let (a, b) = (random.version(), random.version());
        // Similar versions differ where the rules are subtle.
        let near = a.replacen(['0', '.'], "~", 1);
        pairs.push((a.clone(), b));
        pairs.push((a, near));
    }
    for (a, b) in &pairs {
        // dpkg refuses, or warns about, each version that this crate refuses.
        if let Some(order) = compare(a, b) {
            assert_eq!(Some(order), oracle(a, b), "{a} against {b}");
        }
    }
    let compared = pairs
        .iter()
        .filter(|(a, b)| compare(a, b).is_some())
        .count();
    assert!(
        compared > pairs.len() * 3 / 4,
        "only {compared} of {} pairs were compared",
        pairs.len()
    );
}
