//! Tests each rule on an archive of a few packages. `tests/apt.rs` compares with apt on the real
//! archive.

use super::*;
use crate::index;

/// Makes an archive from text: one package a line, `NAME VERSION FIELD: value; FIELD: value`. A
/// line `suite NAME` begins the next suite.
fn universe(text: &str) -> Universe {
    let mut suites = Vec::new();
    let mut packages = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("suite ") {
            suites.push(suite(name));
            continue;
        }
        if suites.is_empty() {
            suites.push(suite("stable"));
        }
        packages.extend(index::parse(&stanza(line), "Packages", suites.len() - 1).expect(line));
    }
    Universe::new(suites, packages).expect("an archive")
}

/// Makes a suite from `bookworm`, or from `stable@vendor` for a suite of an archive other than
/// Debian's.
fn suite(name: &str) -> Suite {
    let (name, source) = match name.split_once('@') {
        Some((name, source)) => (name, Some(source)),
        None => (name, None),
    };
    Suite {
        name: name.to_owned(),
        archive: source.unwrap_or("debian").to_owned(),
        components: vec!["main".to_owned()],
        url: source.map(|source| format!("https://{source}.example")),
    }
}

fn stanza(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    let (name, version) = (words.next().expect(line), words.next().expect(line));
    let fields = words.next().unwrap_or_default().replace("; ", "\n");
    let architecture = if fields.contains("Architecture:") {
        ""
    } else {
        "Architecture: amd64\n"
    };
    let sha256 = "0".repeat(64);
    format!(
        "Package: {name}\nVersion: {version}\n{architecture}Filename: \
         pool/{name}_{version}.deb\nSize: 1\nSHA256: {sha256}\n{fields}\n"
    )
}

fn request(roots: &[&str]) -> SetRequest {
    SetRequest::new("set", roots, &["amd64"])
}

fn lock(universe: &Universe, requests: &[SetRequest]) -> Result<Lock, String> {
    universe
        .lock(requests, "20260101T000000Z")
        .map_err(|error| error.to_string())
}

/// Returns the set's packages as `name version`, with the architecture if it is not the native one.
fn resolve(universe: &Universe, roots: &[&str]) -> Result<Vec<String>, String> {
    let lock = lock(universe, &[request(roots)])?;
    let members = lock.set("set", "amd64").expect("the set");
    let mut names: Vec<String> = members
        .into_iter()
        .map(|(key, package)| format!("{} {}", key.trim_end_matches(":amd64"), package.version))
        .collect();
    names.sort();
    Ok(names)
}

fn assert_resolves(text: &str, roots: &[&str], expected: &[&str]) {
    assert_eq!(
        resolve(&universe(text), roots).as_deref(),
        Ok(&expected.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..])
    );
}

fn assert_fails(text: &str, roots: &[&str], expected: &str) {
    assert_eq!(resolve(&universe(text), roots), Err(expected.to_owned()));
}

#[test]
fn depends_and_pre_depends_are_followed_recommends_are_not() {
    let text = "
        a 1 Depends: b; Recommends: x; Suggests: y
        b 1 Pre-Depends: c (>= 2)
        c 2 Depends: a
        x 1
        y 1
        e 1 Essential: yes";
    assert_resolves(text, &["a"], &["a 1", "b 1", "c 2"]);
}

#[test]
fn the_first_alternative_is_taken_unless_another_is_there() {
    let text = "
        a 1 Depends: x | y
        b 1 Depends: y
        x 1
        y 1";
    assert_resolves(text, &["a"], &["a 1", "x 1"]);
    assert_resolves(text, &["a", "b"], &["a 1", "b 1", "y 1"]);
    assert_resolves(text, &["b", "a"], &["a 1", "b 1", "y 1"]);
}

#[test]
fn an_alternative_that_lacks_something_is_passed_over() {
    let text = "
        a 1 Depends: x | y
        x 1 Depends: x1
        x1 1 Depends: gone
        y 1";
    assert_resolves(text, &["a"], &["a 1", "y 1"]);
}

#[test]
fn real_packages_come_before_providers() {
    let text = "
        a 1 Depends: mail
        other 1 Provides: mail
        mail 1";
    assert_resolves(text, &["a"], &["a 1", "mail 1"]);
}

#[test]
fn among_providers_priority_decides_then_the_name() {
    let text = "
        a 1 Depends: awk
        b 1 Depends: mail
        gawk 1 Provides: awk; Priority: optional
        mawk 1 Provides: awk; Priority: required
        postfix 1 Provides: mail
        exim 1 Provides: mail";
    assert_resolves(text, &["a"], &["a 1", "mawk 1"]);
    assert_resolves(text, &["b"], &["b 1", "exim 1"]);
}

#[test]
fn a_provided_version_meets_a_versioned_relation() {
    let text = "
        a 1 Depends: api (>= 2)
        old 1 Provides: api (= 1)
        bare 1 Provides: api
        new 1 Provides: api (= 3)";
    assert_resolves(text, &["a"], &["a 1", "new 1"]);
}

#[test]
fn suites_are_preferred_in_their_order_and_versions_within() {
    let text = "
        suite security
        a 2
        suite stable
        a 1
        a 3
        b 1 Depends: a (>= 3)
        c 1 Depends: a";
    assert_resolves(text, &["c"], &["a 2", "c 1"]);
    assert_resolves(text, &["b"], &["a 3", "b 1"]);
    assert_resolves(text, &["a (= 1)"], &["a 1"]);
}

#[test]
fn conflicts_lead_to_the_next_choice() {
    let text = "
        a 1 Depends: x | y, z
        x 1
        y 1
        z 1 Conflicts: x";
    assert_resolves(text, &["a"], &["a 1", "y 1", "z 1"]);
    let text = "
        a 1 Depends: x | y, p | q, z
        x 1
        y 1
        p 1
        q 1
        z 1 Depends: z1 | z2
        z1 1 Breaks: x (<< 2), y
        z2 1 Conflicts: cap
        p 2 Provides: cap";
    assert_resolves(text, &["a"], &["a 1", "p 1", "x 1", "z 1", "z2 1"]);
}

#[test]
fn a_package_may_conflict_with_what_it_provides_itself() {
    let text = "
        exim 1 Provides: mail; Conflicts: mail
        postfix 1 Provides: mail; Conflicts: mail
        a 1 Depends: exim";
    assert_resolves(text, &["a"], &["a 1", "exim 1"]);
    assert_fails(
        text,
        &["a", "postfix"],
        "set set (amd64): a → exim: exim:amd64 1 conflicts with `mail`, which is here through \
         postfix",
    );
}

#[test]
fn architectures_are_kept_apart() {
    let text = "
        lib 1 Multi-Arch: same
        lib 1 Architecture: arm64; Multi-Arch: same
        tool 1 Depends: lib; Multi-Arch: foreign
        tool 1 Architecture: arm64; Depends: lib; Multi-Arch: foreign
        perl 1 Multi-Arch: allowed
        perl 1 Architecture: arm64; Multi-Arch: allowed
        doc 1 Architecture: all
        data 1 Architecture: all; Multi-Arch: foreign
        cross 1 Architecture: arm64; Depends: lib, tool, perl:any, data
        native 1 Depends: lib, doc
        stuck 1 Architecture: arm64; Depends: doc";
    assert_resolves(text, &["native"], &["doc:all 1", "lib 1", "native 1"]);
    assert_resolves(
        text,
        &["native", "cross:arm64", "tool", "perl"],
        &[
            "cross:arm64 1",
            "data:all 1",
            "doc:all 1",
            "lib 1",
            "lib:arm64 1",
            "native 1",
            "perl 1",
            "tool 1",
        ],
    );
    assert_fails(
        text,
        &["stuck:arm64"],
        "set set (amd64): stuck:arm64 → doc: no package fits `doc` for arm64; there is 1 (all, \
         stable)",
    );
}

#[test]
fn one_package_of_two_architectures_must_say_that_it_can_be() {
    let text = "
        lib 1
        lib 1 Architecture: arm64
        same 1 Multi-Arch: same
        same 2 Architecture: arm64; Multi-Arch: same";
    assert_fails(
        text,
        &["lib", "lib:arm64"],
        "set set (amd64): lib:arm64: lib:arm64 1 cannot be installed beside lib:amd64 1 (lib)",
    );
    assert_fails(
        text,
        &["same", "same:arm64"],
        "set set (amd64): same:arm64: same:arm64 2 cannot be installed beside same:amd64 1 (same)",
    );
}

#[test]
fn what_is_missing_is_told_with_the_way_there() {
    let text = "
        a 1 Depends: b
        b 1 Depends: c (>= 2), d
        c 1
        d 1
        e 1 Depends: f | g
        g 1 Depends: h
        v 1 Provides: w";
    assert_fails(
        text,
        &["d", "a"],
        "set set (amd64): a → b → c (>= 2): no package fits `c (>= 2)` for amd64; there is 1 \
         (amd64, stable)",
    );
    assert_fails(
        text,
        &["e"],
        "set set (amd64): e → f | g → h: no package `h` in stable",
    );
    assert_fails(
        text,
        &["nothing"],
        "set set (amd64): nothing: no package `nothing` in stable",
    );
    assert_fails(
        text,
        &["w"],
        "set set (amd64): w: no package has that name; it is provided by v: name one of them",
    );
    assert_fails(
        text,
        &["c:arm64"],
        "set set (amd64): c:arm64: no package fits `c:arm64` for amd64; there is 1 (amd64, stable)",
    );
    assert_fails(
        text,
        &["c (!= 1)"],
        "set set: `c (!= 1)` is not a relation to a package: `!=` is none of << <= = >= >>",
    );
}

#[test]
fn a_circle_of_missing_things_ends() {
    let text = "
        a 1 Depends: b
        b 1 Depends: a, c
        c 1 Depends: b, gone";
    assert_fails(
        text,
        &["a"],
        "set set (amd64): a → b → c → gone: no package `gone` in stable",
    );
}

#[test]
fn a_conflict_that_no_choice_avoids_is_told() {
    let text = "
        a 1 Depends: b
        b 1 Depends: x | y
        x 1
        y 1
        c 1 Depends: d
        d 1 Breaks: x, y (<< 2)";
    let error = resolve(&universe(text), &["a", "c"]).expect_err("a conflict");
    assert_eq!(
        error,
        "set set (amd64): a → b → x | y: x:amd64 1 is in conflict with c → d, which excludes `x`; \
         y:amd64 1 is in conflict with c → d, which excludes `y (<< 2)`"
    );
}

#[test]
fn a_deep_conflict_does_not_try_all_unrelated_choices() {
    // Thirty choices that are unrelated to the conflict. Trying them all would take 2^30 steps.
    let mut text = String::from("a 1 Depends: ");
    for n in 0..30 {
        text += &format!("p{n} | q{n}, ");
    }
    text += "zig | zag\nzig 1 Depends: no-p\nzag 1 Depends: no-p\nno-p 1 Conflicts: a\n";
    for n in 0..30 {
        text += &format!("p{n} 1\nq{n} 1\n");
    }
    let error = resolve(&universe(&text), &["a"]).expect_err("a conflict");
    assert!(
        error.ends_with("no-p:amd64 1 conflicts with `a`, which is here through a"),
        "{error}"
    );
}

#[test]
fn omitted_packages_count_as_there() {
    let text = "
        a 1 Depends: debconf | debconf-2.0, b, ssl (>= 9)
        b 1 Depends: c
        c 1
        cdebconf 1 Provides: debconf-2.0
        debconf 1 Depends: perl; Provides: debconf-2.0
        perl 1
        ssl 1";
    let universe = universe(text);
    let omitting = |names: &[&str]| SetRequest {
        omit: names.iter().map(|name| (*name).to_owned()).collect(),
        ..request(&["a"])
    };
    let found = lock(&universe, &[omitting(&["ssl", "debconf"])]).expect("a lock");
    assert_eq!(
        found.sets["set"]["amd64"],
        ["a:amd64", "b:amd64", "c:amd64"]
    );
    assert_eq!(found.omitted["set"], ["debconf", "ssl"]);
    let error = lock(&universe, &[omitting(&["debconff"])]).expect_err("a typing error");
    assert_eq!(
        error,
        "set set: `omit` names `debconff`, but no suite has it"
    );
}

#[test]
fn a_set_beyond_another_holds_only_what_that_lacks() {
    let text = "
        base 1 Depends: libc, debconf
        debconf 1
        libc 1
        tool 1 Depends: libc, lib, debconf
        lib 1
        rival 1 Conflicts: base";
    let universe = universe(text);
    let base = SetRequest {
        name: "base".to_owned(),
        omit: vec!["debconf".to_owned()],
        ..request(&["base"])
    };
    let own = |root: &str| SetRequest {
        beyond: Some("base".to_owned()),
        ..request(&[root])
    };
    let found = lock(&universe, &[base.clone(), own("tool")]).expect("a lock");
    assert_eq!(found.sets["base"]["amd64"], ["base:amd64", "libc:amd64"]);
    assert_eq!(found.sets["set"]["amd64"], ["lib:amd64", "tool:amd64"]);
    let error = lock(&universe, &[base, own("rival")]).expect_err("a conflict");
    assert_eq!(
        error,
        "set set (amd64): rival: rival:amd64 1 conflicts with `base`, which is here through base"
    );
    let error = lock(&universe, &[own("tool")]).expect_err("no base");
    assert_eq!(
        error,
        "set set extends the set base, which is not resolved for amd64"
    );
}

#[test]
fn a_set_may_be_its_roots_alone() {
    let text = "
        a 1 Depends: gone
        a 1 Architecture: arm64; Depends: gone";
    let request = SetRequest {
        dependencies: false,
        ..request(&["a:arm64"])
    };
    let found = lock(&universe(text), &[request]).expect("a lock");
    assert_eq!(found.sets["set"]["amd64"], ["a:arm64"]);
}

#[test]
fn the_order_of_the_index_has_no_influence() {
    let lines = [
        "a 1 Depends: awk, lib (>= 1) | other",
        "gawk 1 Provides: awk",
        "original-awk 1 Provides: awk",
        "mawk 1 Provides: awk",
        "lib 1",
        "lib 2 Depends: doc",
        "doc 1 Architecture: all",
        "doc 1 Architecture: all",
        "other 1",
    ];
    let expected = lock(&universe(&lines.join("\n")), &[request(&["a"])])
        .expect("a lock")
        .to_text();
    let mut order: Vec<&str> = lines.to_vec();
    for step in 1..50 {
        order.swap(step % lines.len(), step * 7 % lines.len());
        order.rotate_left(step % 4);
        let found = lock(&universe(&order.join("\n")), &[request(&["a"])])
            .expect("a lock")
            .to_text();
        assert_eq!(found, expected, "{order:?}");
    }
}

#[test]
fn one_version_is_one_file() {
    let mut packages = index::parse(&stanza("a 1"), "Packages", 0).expect("an index");
    packages.extend(index::parse(&stanza("a 1"), "Packages", 1).expect("an index"));
    packages[1].sha256 = "1".repeat(64);
    let error = Universe::new(vec![suite("one"), suite("two")], packages).expect_err("two files");
    assert_eq!(
        error.to_string(),
        "a:amd64 1 is one file in one and another in two"
    );
}

const TWO_ARCHIVES: &str = "
    suite bookworm
    proxy 1.0 Depends: lib
    lib 1.0
    suite stable@vendor
    proxy 2.0 Depends: lib (>= 2)
    lib 2.0
    lib 1.0 SHA256: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    tool 3.0 Depends: lib
";

#[test]
fn debians_packages_go_before_those_of_other_archives() {
    for (roots, expected) in [
        (&["proxy"][..], &["lib 1.0", "proxy 1.0"][..]),
        (&["tool"], &["lib 1.0", "tool 3.0"]),
        (&["tool", "lib@vendor"], &["lib 2.0", "tool 3.0"]),
        (&["proxy@vendor"], &["lib 2.0", "proxy 2.0"]),
        (&["proxy (>= 2)"], &["lib 2.0", "proxy 2.0"]),
        (&["lib@vendor (= 1.0)"], &["lib 1.0"]),
    ] {
        assert_resolves(TWO_ARCHIVES, roots, expected);
    }
    let lock = lock(&universe(TWO_ARCHIVES), &[request(&["lib@vendor (= 1.0)"])]).expect("a lock");
    assert_eq!(lock.packages["lib:amd64"].archive, "vendor");
    assert_eq!(lock.packages["lib:amd64"].sha256, "f".repeat(64));
}

#[test]
fn sources_that_cannot_give_a_package_are_told() {
    for (root, expected) in [
        (
            "proxy@vendro",
            "set set: `proxy@vendro`: there is no source `vendro`, only debian, vendor; add \
             [debian.sources.vendro] to images.toml",
        ),
        (
            "tool@debian",
            "set set (amd64): tool@debian: no package fits `tool@debian` for amd64; there is 3.0 \
             (amd64, stable of vendor)",
        ),
    ] {
        assert_fails(TWO_ARCHIVES, &[root], expected);
    }
}

#[test]
fn a_package_in_two_versions_is_refused() {
    let other = SetRequest::new("other", &["proxy@vendor"], &["amd64"]);
    let error = lock(&universe(TWO_ARCHIVES), &[request(&["proxy"]), other]);
    let error = error.expect_err("two versions");
    assert_eq!(
        error,
        "set other has lib:amd64 2.0 of vendor, and another set has 1.0 of debian; a lock pins one \
         version of a package: ask for the same version and source in both sets"
    );
}
