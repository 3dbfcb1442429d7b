//! Whatever stands in an images.toml, it is read or refused with a place, and nothing panics.

use description::{Description, Sources, Targets, Workspace};

const TEXT: &str = include_str!("normalize/images.toml");
const TARGETS: &str = include_str!("normalize/targets.json");
const FILES: &str = include_str!("normalize/files.txt");
const ROUNDS: u64 = 5_000;

/// What is put in somewhere: what TOML is made of, and what the fields are.
const PIECES: [&str; 26] = [
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    "#",
    "\\",
    "\u{1F600}",
    "ü",
    "\0",
    "0x7f",
    "-1",
    "1e9",
    "true",
    "1979-05-27",
    "[images.gateway]",
    "base = \"none\"",
    "path = \"/\"",
    "text = \"\"",
    "/../",
];

/// A generator of numbers that are always the same: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}

fn mutated(numbers: &mut Numbers) -> String {
    let mut text: Vec<char> = TEXT.chars().collect();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(text.len());
        let length = numbers.below(30).min(text.len() - at);
        match numbers.below(4) {
            0 => drop(text.drain(at..at + length)),
            1 => {
                let piece = PIECES[numbers.below(PIECES.len())];
                text.splice(at..at, piece.chars());
            }
            2 => {
                let copied: Vec<char> = text[at..at + length].to_vec();
                let to = numbers.below(text.len());
                text.splice(to..to, copied);
            }
            _ => text.truncate(at),
        }
    }
    text.into_iter().collect()
}

#[test]
fn nothing_panics_and_every_problem_has_a_place() {
    let mut workspace = Workspace::new(Targets::from_json(TARGETS).unwrap());
    workspace.sources = Sources::listed(FILES);
    let (mut read, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let text = mutated(&mut Numbers(round));
        let outcome =
            Description::parse(&text, "images.toml").and_then(|it| it.normalize(&workspace));
        match outcome {
            Ok(normal) => {
                read += 1;
                assert!(normal.to_json().ends_with("}\n"));
            }
            Err(problems) => {
                refused += 1;
                assert!(!problems.is_empty(), "refused without a reason: {text}");
                let lines = text.split('\n').count();
                assert!(
                    problems
                        .iter()
                        .all(|problem| (1..=lines).contains(&problem.position().0))
                );
                assert!(!problems.to_string().is_empty());
            }
        }
    }
    assert!(read > 0 && refused > read, "{read} read, {refused} refused");
}
