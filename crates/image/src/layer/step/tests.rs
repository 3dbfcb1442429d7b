use super::*;

fn source(run: &[&str]) -> StepSource {
    StepSource {
        below: Vec::new(),
        base: None,
        run: run.iter().map(|word| word.to_string()).collect(),
        workdir: "/".to_owned(),
        environment: [("TZ".to_owned(), "Europe/Vienna".to_owned())].into(),
    }
}

#[test]
fn a_steps_own_variables_win() {
    let variables = variables(&source(&["x"]), 7);
    let value = |name: &str| {
        let mut found = variables.iter().filter(|(own, _)| own == name);
        let (_, value) = found.next().unwrap();
        assert!(found.next().is_none(), "{name} twice");
        value.clone()
    };
    assert_eq!(value("TZ"), "Europe/Vienna");
    assert_eq!(value("SOURCE_DATE_EPOCH"), "7");
}

#[test]
fn a_long_command_is_cut() {
    let words = vec!["sh".to_owned(), "x\u{1b}".repeat(200)];
    let text = shown(&words);
    assert!(text.len() < 120 && text.ends_with("…`"), "{text}");
    assert!(!text.contains('\u{1b}'));
}
