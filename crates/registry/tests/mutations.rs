//! Random mutations of a registry's header and of docker's config.json. Each must give an answer or
//! an error.
#![allow(missing_docs)]

use crateyard_registry::fuzzing::{challenges, credentials};
use crateyard_testing::mutations::survive;

const CHALLENGES: [&str; 4] = [
    concat!(
        r#"Bearer realm="https://auth.example/token",service="registry.example","#,
        r#"scope="repository:a:pull,push""#
    ),
    r#"Basic realm="a \"quoted\", name", Bearer realm=/token, Negotiate abc=="#,
    r#"Digest qop="auth, auth-int",nonce="n\\",  Basic"#,
    "Bearer",
];

const CONFIGS: [&str; 3] = [
    concat!(
        r#"{"auths":{"r.example":{"auth":"YW5uOnNlY3JldA=="},"#,
        r#""other":{"identitytoken":"t"}},"HttpHeaders":{}}"#
    ),
    concat!(
        r#"{"auths":{"r.example":{"username":"u","password":"p"}},"#,
        r#""credHelpers":{"h.example":"mine"},"credsStore":""}"#
    ),
    "{\"auths\":{\"r.example\":{\"auth\":\"YW5uOnNlY3\\nJldA==\\n\",\"email\":null}}}",
];

#[test]
fn ten_thousand_challenges_do_no_harm() {
    survive("challenges", &CHALLENGES.map(Vec::from), |bytes| {
        challenges(&String::from_utf8_lossy(bytes)) > 0
    });
    // Work grows with the length, not with its square.
    let long = "Bearer realm=\"\\\"\",".repeat(100_000);
    assert_eq!(challenges(&long), 100_000);
}

#[test]
fn ten_thousand_credential_files_do_no_harm() {
    survive("credential files", &CONFIGS.map(Vec::from), |bytes| {
        credentials(&String::from_utf8_lossy(bytes), "r.example").is_ok_and(|has| has)
    });
    let deep = format!("{{\"auths\":{}", "[".repeat(1_000_000));
    assert!(credentials(&deep, "r.example").is_err());
}
