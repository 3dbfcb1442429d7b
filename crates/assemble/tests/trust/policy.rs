//! Policies: each rule refuses by itself.

use super::*;

const POLICY: &str = r#"
version = 1
trusted-root = "root.json"

[[signers]]
identity = { regexp = 'https://github\.com/team/shop/.*@refs/tags/v[0-9.]+' }
issuer = "https://token.actions.githubusercontent.com"

[provenance]
builder = "https://github.com/team/shop/.github/workflows/release.yml@refs/tags/v1"
repository = "https://github.com/team/shop"
ref = { regexp = "refs/tags/v.*" }
"#;

#[test]
fn each_rule_of_a_policy_refuses_by_itself() {
    need!("policies", "docker-registry");
    let world = World::new();
    let target = world.pushed("app", "bundle");
    let said = world.accepts(&target, &world.policy(POLICY));
    assert_eq!(said.matches("ok  ").count(), 4, "{said}");
    let rules = [
        ("team/shop/.*@", "team/other/.*@", "NOT SIGNED"),
        // The whole text must match.
        ("v[0-9.]+'", "v'", "NOT SIGNED"),
        (
            "https://token.actions",
            "https://token.elsewhere",
            "NOT SIGNED",
        ),
        (
            "release.yml@refs/tags/v1\"",
            "other.yml@refs/tags/v1\"",
            "provenance.builder",
        ),
        (
            "\"https://github.com/team/shop\"",
            "\"https://github.com/team\"",
            "provenance.repository",
        ),
        ("refs/tags/v.*\"", "refs/heads/.*\"", "provenance.ref"),
    ];
    for (before, after, reason) in rules {
        assert!(POLICY.contains(before), "{before}");
        let changed = POLICY.replace(before, after);
        world.refuses(&target, &world.policy(&changed), reason);
    }
    let json = world.accepts(&target, &[&world.policy(POLICY)[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["accepted"], true);
    assert_eq!(json["rules"].as_array().unwrap().len(), 4);
    assert_eq!(json["rules"][1]["reason"], IDENTITY);
    // A provenance that somebody else signed does not count.
    let unsigned = world.registry.reference("unsigned:v1").to_string();
    world.place.assemble(&[
        "push",
        &world.image,
        "--to",
        &unsigned,
        "--attest",
        "--sign-key",
        "key",
    ]);
    world.job(&["sign", &unsigned]);
    let reason = "no signer of the policy has signed a provenance";
    world.refuses(&unsigned, &world.policy(POLICY), reason);
}

#[test]
fn mistakes_in_a_policy_are_named_by_their_line() {
    need!("mistakes in policies", "docker-registry");
    let world = World::new();
    let target = world.registry.reference("app:v1").to_string();
    let mistakes = [
        ("version = 2", "policy.toml:1: version 2"),
        ("version = 1\n", "policy.toml: it asks for nothing"),
        ("version = 1\n\nsinger = 1", "policy.toml:3: unknown field"),
        (
            "version = 1\n[[signers]]\nkey = \"none.pub\"",
            "policy.toml:3: cannot read the key none.pub",
        ),
        (
            "version = 1\n[[signers]]\nidentity = \"a\"",
            "policy.toml:2: must have either `key`",
        ),
        (
            "version = 1\ntrusted-root = \"root.json\"\n[[signers]]\nissuer = \"a\"\nidentity = { \
             regexp = \"(\" }",
            "policy.toml:5: regex parse error",
        ),
        (
            "version = 1\n[[signers]]\nissuer = \"a\"\nidentity = \"b\"",
            "needs `trusted-root`",
        ),
        (
            "version = 1\n[[signers]]\nissuer = 1\nidentity = \"b\"",
            "policy.toml:3: invalid type",
        ),
        (
            "version = 1\n[provenance]\nbuilder = \"a\"",
            "policy.toml:2: a provenance needs `signers`",
        ),
        (
            "version = 1\n[witnesses]\ncount = 2\nfrom = [{ key = \"key.pub\" }]",
            "policy.toml:2: 2 witnesses are asked for and 1 are known",
        ),
    ];
    for (text, reason) in mistakes {
        world.refuses(&target, &world.policy(text), reason);
    }
}
