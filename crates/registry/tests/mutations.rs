//! Random mutations of a registry's header and of docker's config.json. Each must give an answer or
//! an error.
#![allow(missing_docs)]

use fastrand::Rng;
use registry::fuzzing::{challenges, credentials};

const ROUNDS: usize = 10_000;

const CHALLENGES: [&str; 4] = [
    r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull,push""#,
    r#"Basic realm="a \"quoted\", name", Bearer realm=/token, Negotiate abc=="#,
    r#"Digest qop="auth, auth-int",nonce="n\\",  Basic"#,
    "Bearer",
];

const CONFIGS: [&str; 3] = [
    r#"{"auths":{"https://r.example/v1/":{"auth":"YW5uOnNlY3JldA=="},"other":{"identitytoken":"t"}},"HttpHeaders":{}}"#,
    r#"{"auths":{"r.example":{"username":"u","password":"p"}},"credHelpers":{"h.example":"mine"},"credsStore":""}"#,
    "{\"auths\":{\"r.example\":{\"auth\":\"YW5uOnNlY3\\nJldA==\\n\",\"email\":null}}}",
];

/// Changes some bytes, or cuts, repeats or removes a piece.
fn mutate(text: &str, random: &mut Rng) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.usize(1..6) {
        if bytes.is_empty() {
            break;
        }
        let at = random.usize(..bytes.len());
        let end = (at + random.usize(1..32)).min(bytes.len());
        match random.u8(..6) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at] = *random.choice(b"\"\\=, {}[]:\x00\xc3").unwrap_or(&0),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A generator whose seed is printed. `MUTATION_SEED` repeats a run.
fn random() -> Rng {
    let given = std::env::var("MUTATION_SEED").ok();
    let seed = given.and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("MUTATION_SEED={seed} repeats this");
    Rng::with_seed(seed)
}

/// Fails if this process has ever used more memory than a parser may take.
fn check_memory() {
    const LIMIT: u64 = 256 * 1024;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak.unwrap().replace("kB", "").trim().parse().unwrap();
    assert!(peak < LIMIT, "{peak} kB");
}

#[test]
fn ten_thousand_challenges_do_no_harm() {
    let mut random = random();
    let mut found = 0;
    for round in 0..ROUNDS {
        let text = mutate(CHALLENGES[round % CHALLENGES.len()], &mut random);
        found += challenges(&text);
    }
    assert!(
        found > ROUNDS / 2,
        "the mutations destroy too much: {found}"
    );
    // The time grows with the length, not with its square.
    let long = "Bearer realm=\"\\\"\",".repeat(100_000);
    assert_eq!(challenges(&long), 100_000);
    check_memory();
}

#[test]
fn ten_thousand_credential_files_do_no_harm() {
    let mut random = random();
    let mut found = 0;
    for round in 0..ROUNDS {
        let text = mutate(CONFIGS[round % CONFIGS.len()], &mut random);
        found += usize::from(credentials(&text, "r.example").is_ok_and(|has| has));
    }
    assert!(found > 100, "the mutations destroy too much: {found}");
    let deep = format!("{{\"auths\":{}", "[".repeat(1_000_000));
    assert!(credentials(&deep, "r.example").is_err());
    check_memory();
}
