//! Manifests as people write them, with pushed references in the right places and nowhere else.

use std::collections::BTreeMap;

use crateyard_deploy::manifest::{DeployManifest, Edit, Error, Names, Pushed, Syntax};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn names() -> Names {
    let mapping = [
        ("docker.io/crateyard/gateway", "gateway"),
        ("docker.io/crateyard/supervisor", "supervisor"),
    ];
    let mapping = mapping.map(|(from, to)| (from.to_owned(), to.to_owned()));
    Names::new(
        &["gateway", "supervisor"].map(str::to_owned),
        &mapping.into(),
    )
    .unwrap()
}

fn pushed() -> BTreeMap<String, Pushed> {
    let image = |name: &str| Pushed {
        repository: format!("localhost:5000/team/{name}").parse().unwrap(),
        tag: "0123456789ab".to_owned(),
        digest: DIGEST.parse().unwrap(),
    };
    let all = ["gateway", "supervisor"].map(|name| (name.to_owned(), image(name)));
    all.into()
}

fn resolve_as(text: &str, syntax: Syntax) -> Result<(String, Vec<Edit>), Error> {
    DeployManifest::parse(text, syntax, &names())?.resolve(&pushed())
}

fn resolve(text: &str) -> String {
    resolve_as(text, Syntax::Yaml).unwrap().0
}

/// Returns the text after resolution. `@G` stands for the gateway's reference, `@S` for the
/// supervisor's and `@D` for the digest.
fn expected(text: &str) -> String {
    text.replace("@G", &format!("localhost:5000/team/gateway@{DIGEST}"))
        .replace("@S", &format!("localhost:5000/team/supervisor@{DIGEST}"))
        .replace("@D", DIGEST)
}

#[track_caller]
fn check(before: &str, after: &str) {
    assert_eq!(resolve(before), expected(after));
    // A resolved text stays the same.
    assert_eq!(resolve(&expected(after)), expected(after));
}

#[test]
fn only_the_scalars_change() {
    check(
        "# crateyard://gateway in a comment stays\nspec:\n  containers:\n  -   name: a   # odd   \
         spacing\n      image:   crateyard://gateway    # the image\n\n  - {name: b, image: \
         'crateyard://supervisor', args: [\"--x=crateyard://gateway\", c]}\n...\n---\nother: \
         &anchor {a: 1}\nsame: *anchor\n",
        "# crateyard://gateway in a comment stays\nspec:\n  containers:\n  -   name: a   # odd   \
         spacing\n      image:   @G    # the image\n\n  - {name: b, image: '@S', args: \
         [\"--x=@G\", c]}\n...\n---\nother: &anchor {a: 1}\nsame: *anchor\n",
    );
}

#[test]
fn line_ends_and_what_is_not_ascii_stay() {
    check(
        "\u{feff}größe: \"ß\"\r\nimage: crateyard://gateway\r\n# ü\r\nz: 日本\r\n",
        "\u{feff}größe: \"ß\"\r\nimage: @G\r\n# ü\r\nz: 日本\r\n",
    );
}

#[test]
fn anchors_are_replaced_once() {
    check(
        "a: {image: &it crateyard://gateway}\nb: {image: *it}\nc:\n- *it\n",
        "a: {image: &it @G}\nb: {image: *it}\nc:\n- *it\n",
    );
}

#[test]
fn blocks_keep_their_shape() {
    check(
        "data:\n  script: | # crateyard://gateway\n    #!/bin/sh\n    run crateyard://gateway \
         --now\n      crateyard://supervisor\n  folded: >-\n    a\n    crateyard://gateway\n",
        "data:\n  script: | # crateyard://gateway\n    #!/bin/sh\n    run @G --now\n      @S\n  \
         folded: >-\n    a\n    @G\n",
    );
}

#[test]
fn json_is_yaml() {
    check(
        "{\n\t\"image\": \"crateyard://gateway\",\n\t\"a\\/b\": [\"x\\u00e4\", \
         {\"image\":\"crateyard://supervisor:1\"}]\n}\n",
        "{\n\t\"image\": \"@G\",\n\t\"a\\/b\": [\"x\\u00e4\", {\"image\":\"@S\"}]\n}\n",
    );
}

#[test]
fn a_tag_that_a_template_made_goes() {
    check("image: \"crateyard://gateway:0.1.0\"\n", "image: \"@G\"\n");
}

#[test]
fn values_with_a_digest_take_it() {
    check(
        "image:\n  repository: crateyard://gateway\n  tag: v1 # stays\n  digest: \"\"\n",
        "image:\n  repository: localhost:5000/team/gateway\n  tag: v1 # stays\n  digest: \"@D\"\n",
    );
    check(
        "image: {\"repository\": crateyard://gateway, \"tag\" : x, \"digest\" : }\n",
        "image: {\"repository\": localhost:5000/team/gateway, \"tag\" : x, \"digest\" : @D }\n",
    );
    check(
        "image:\n  digest:\n  registry: ''\n  repository: crateyard://gateway\n",
        "image:\n  digest: @D\n  registry: 'localhost:5000'\n  repository: team/gateway\n",
    );
}

#[test]
fn values_with_a_tag_alone_take_the_digest_behind_it() {
    check(
        "image:\n  repository: docker.io/crateyard/gateway\n  # The chart's appVersion if \
         empty.\n  tag: \"\"\n",
        "image:\n  repository: localhost:5000/team/gateway\n  # The chart's appVersion if \
         empty.\n  tag: \"0123456789ab@@D\"\n",
    );
    check(
        "images:\n- name: app\n  newName: crateyard://gateway\n  newTag: v2\n",
        "images:\n- name: app\n  newName: localhost:5000/team/gateway\n  newTag: v2@@D\n",
    );
}

#[test]
fn aliased_repositories_have_tags_of_their_own() {
    check(
        "a: {repository: &r crateyard://gateway, tag: a}\nb: {repository: *r, tag: b}\n",
        "a: {repository: &r localhost:5000/team/gateway, tag: a@@D}\nb: {repository: *r, tag: \
         b@@D}\n",
    );
}

#[test]
fn mapped_names_count_where_images_are_named() {
    check(
        "metadata: {name: crateyard/gateway}\nspec: [{image: \"crateyard/gateway:0.1.0\", name: \
         crateyard/gateway}, {image: other}]\n",
        "metadata: {name: crateyard/gateway}\nspec: [{image: \"@G\", name: crateyard/gateway}, \
         {image: other}]\n",
    );
}

#[test]
fn units_keep_all_but_the_image() {
    let before = "# Image=crateyard://gateway\n[Container]\nImage=crateyard://gateway\nImage = \
                  crateyard/supervisor:1\nExec=run crateyard://gateway\n";
    let after = "# Image=crateyard://gateway\n[Container]\nImage=@G\nImage = @S\nExec=run @G\n";
    assert_eq!(resolve_as(before, Syntax::Unit).unwrap().0, expected(after));
}

#[test]
fn what_cannot_be_resolved_is_named_with_its_place() {
    let fails = |text: &str, place: &str, reason: &str| {
        let error = resolve_as(text, Syntax::Yaml).unwrap_err().to_string();
        assert!(
            error.starts_with(place) && error.contains(reason),
            "{error}"
        );
    };
    fails(
        "a: 1\nimage: crateyard://gatway\n",
        "line 2, column 8",
        "describes gateway, supervisor",
    );
    fails(
        "a: {repository: crateyard://gateway}\n",
        "line 1, column 17",
        "digest: \"\"",
    );
    fails(
        "repository: crateyard://gateway\ntag: &t v1\nx: *t\n",
        "line 2",
        "an anchor shares",
    );
    fails(
        "image: \"crateyard:\\x2f\\x2fgateway\"\n",
        "line 1",
        "escapes",
    );
    fails("crateyard://gateway: 1\n", "line 1, column 1", "is a key");
    fails("a: [1\n", "line ", "");
    fails(
        "base: &b {repository: crateyard://gateway, tag: v1}\nother:\n  <<: *b\n  tag: v2\n",
        "line 4, column 8",
        "overrides",
    );
}

#[test]
fn edits_say_what_was_there() {
    let (_, edits) =
        resolve_as("tag: v1\nrepository: crateyard://gateway\n", Syntax::Yaml).unwrap();
    let said: Vec<_> = edits
        .iter()
        .map(|it| (it.position.line, it.before.as_str()))
        .collect();
    assert_eq!(said, [(1, "v1"), (2, "crateyard://gateway")]);
}

/// Any text is either refused, or only its mentions of images change.
#[test]
fn nothing_else_changes_in_any_text() {
    let parts = [
        "image: crateyard://gateway",
        "crateyard://supervisor",
        "\n",
        "  ",
        "- ",
        "a: ",
        "\"",
        "'",
        "# c ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&x ",
        "*x",
        "|\n",
        ">\n",
        "\r\n",
        "ü",
        "---\n",
        "...\n",
        "?",
        "!!str ",
        "<<: *x",
        "\t",
    ];
    let mut random = fastrand::Rng::with_seed(17);
    let mut resolved = 0;
    for _ in 0..20_000 {
        let text: String = (0..random.usize(1..14))
            .map(|_| parts[random.usize(..parts.len())])
            .collect();
        let Ok((after, edits)) = resolve_as(&text, Syntax::Yaml) else {
            continue;
        };
        resolved += edits.len();
        let replace = |text: String| {
            text.replace("crateyard://gateway", &expected("@G"))
                .replace("crateyard://supervisor", &expected("@S"))
        };
        let wanted: Vec<String> = scalars(&text).into_iter().map(replace).collect();
        assert_eq!(scalars(&after), wanted, "{text:?} became {after:?}");
        assert!(!after.is_empty());
    }
    assert!(resolved > 500, "only {resolved} edits");
}

/// Returns all values in a text, in its order.
fn scalars(text: &str) -> Vec<String> {
    let events = granit_parser::Parser::new_from_str(text);
    let said = events.map(|event| match event.unwrap().0 {
        granit_parser::Event::Scalar(text, ..) => text.into_owned(),
        // Merged and repeated values are compared where they are written.
        other => format!("{other:?}"),
    });
    said.collect()
}
