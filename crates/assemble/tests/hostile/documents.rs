//! Documents beside images, of a few megabytes, from which far more follows.

use std::fs;
use std::path::Path;

use crateyard_oci::Digest;
use serde_json::{Value, json};

use crate::bounded::survives;
use crate::inputs::{Layout, directory, gzip};

/// Makes an image without files.
fn image(place: &Path) -> Layout {
    let layout = Layout::new(place);
    layout.image(&gzip(&[0; 1024]), &[0; 1024]);
    layout
}

/// Makes an element of a bill of materials.
fn package(id: &str, name: &str, more: Value) -> Value {
    let mut package = json!({"SPDXID": id, "name": name, "versionInfo": "1", "downloadLocation": "",
        "filesAnalyzed": false, "licenseConcluded": "", "licenseDeclared": "",
        "copyrightText": ""});
    for (key, value) in more.as_object().unwrap() {
        package[key] = value.clone();
    }
    package
}

/// Makes a bill of materials of the image with this digest.
fn bill(digest: &Digest, mut packages: Vec<Value>, relationships: &[[String; 2]]) -> Value {
    let checksum = json!({"algorithm": "SHA256", "checksumValue": digest.hex()});
    packages.push(package(
        "SPDXRef-image",
        "x",
        json!({"checksums": [checksum]}),
    ));
    let relate = |[from, to]: &[String; 2]| {
        json!({"spdxElementId": from, "relationshipType": "DEPENDS_ON",
            "relatedSpdxElement": to})
    };
    json!({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": "x", "documentNamespace": "x", "creationInfo": {"created": "x", "creators": []},
        "packages": packages,
        "relationships": relationships.iter().map(relate).collect::<Vec<_>>()})
}

/// Makes a provenance of the image with this digest.
fn provenance(digest: &Digest, image: &Value, crates: &Value, dependencies: &Value) -> Value {
    json!({"_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://slsa.dev/provenance/v1",
    "subject": [{"digest": {"sha256": digest.hex()}}],
    "predicate": {
        "buildDefinition": {
            "buildType": "https://github.com/crateyard/crateyard/image/v1",
            "externalParameters": {"image": image, "platform": "linux/amd64", "build": {
                "profile": "release", "features": [], "allFeatures": false,
                "noDefaultFeatures": false, "target": "x"}},
            "internalParameters": {"crates": crates, "tools": {}},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": {"id": "x"}},
    }})
}

/// Runs all commands that read the documents beside an image.
fn read_all(layout: &Layout, place: &Path) {
    let advisory = place.join("db/crates/a/A-1.md");
    fs::create_dir_all(advisory.parent().unwrap()).unwrap();
    let text = "```toml\n[advisory]\nid = \"A-1\"\npackage = \"a\"\ndate = \"2099-01-31\"\n\
                [versions]\npatched = []\n```\n\n# About a\n";
    fs::write(advisory, text).unwrap();
    let (image, database) = (layout.path(), place.join("db").display().to_string());
    let commands: [&[&str]; 5] = [
        &["inspect", &image, "--packages"],
        &["inspect", &image, "--documents"],
        &["inspect", &image, "--documents", "--json"],
        &["explain", &image],
        &["audit", &image, "--no-debian", "--advisories", &database],
    ];
    for command in commands {
        let (_, said) = survives(command);
        assert!(!said.contains("unexpected argument"), "{command:?}: {said}");
    }
}

#[test]
fn programs_and_crates_are_not_multiplied() {
    const MANY: usize = 4_000;
    let place = directory();
    let layout = image(place.path());
    let (mut packages, mut relationships) = (Vec::new(), Vec::new());
    for number in 0..MANY {
        let (program, part) = (format!("P{number}"), format!("C{number}"));
        packages.push(package(
            &program,
            "p",
            json!({"packageFileName": format!("/bin/{number}")}),
        ));
        packages.push(package(&part, "a", json!({})));
        relationships.push([program, "hub".to_owned()]);
        relationships.push(["hub".to_owned(), part]);
    }
    layout.document(
        "sbom.spdx.json",
        &bill(&layout.manifest(), packages, &relationships),
    );
    read_all(&layout, place.path());
}

#[test]
fn one_long_name_pads_no_other_line() {
    let place = directory();
    let layout = image(place.path());
    let mut packages = vec![package("long", &"x".repeat(1_500_000), json!({}))];
    for number in 0..10_000 {
        packages.push(package(&format!("P{number}"), "a", json!({})));
    }
    layout.document("sbom.spdx.json", &bill(&layout.manifest(), packages, &[]));
    read_all(&layout, place.path());
}

#[test]
fn a_crates_features_are_kept_once() {
    let place = directory();
    let layout = image(place.path());
    let features: Vec<String> = (0..150_000).map(|number| format!("f{number}")).collect();
    let crates = json!({"a 1": {"inProgram": true, "features": features, "options": []}});
    let name = |number: usize| format!("pkg:cargo/a@1?n={number}");
    let resource =
        |number| json!({"uri": name(number), "annotations": {"role": "crate"}, "digest": {}});
    let resources: Vec<Value> = (0..10_000).map(resource).collect();
    let digest = layout.manifest();
    let statement = provenance(&digest, &json!({}), &crates, &json!(resources));
    layout.document("provenance.json", &statement);
    let (mut packages, mut relationships) = (Vec::new(), Vec::new());
    packages.push(package("P", "p", json!({"packageFileName": "/bin/p"})));
    for number in 0..6_000 {
        let reference = json!({"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": name(number)});
        packages.push(package(
            &format!("C{number}"),
            "a",
            json!({"externalRefs": [reference]}),
        ));
        relationships.push(["P".to_owned(), format!("C{number}")]);
    }
    layout.document("sbom.spdx.json", &bill(&digest, packages, &relationships));
    read_all(&layout, place.path());
}

#[test]
fn a_long_key_is_not_repeated_for_each_difference() {
    let places = [directory(), directory()];
    let layouts = [0, 1].map(|value: usize| {
        let layout = image(places[value].path());
        let inner: serde_json::Map<String, Value> = (0..150_000)
            .map(|number| (format!("k{number}"), json!(value)))
            .collect();
        let image = json!({"name": "x", "x".repeat(1_900_000): inner});
        let statement = provenance(&layout.manifest(), &image, &json!({}), &json!([]));
        layout.document("provenance.json", &statement);
        layout
    });
    let [one, other] = layouts.map(|layout| layout.path());
    for more in [&[][..], &["--json"]] {
        let words = [&["explain", &one, "--against", &other][..], more].concat();
        let (code, said) = survives(&words);
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn a_digest_of_other_letters_is_shown_without_a_panic() {
    let places = [directory(), directory()];
    let layouts = [0, 1].map(|number: usize| {
        let layout = image(places[number].path());
        let odd = format!("{number}{}", "é".repeat(40));
        let base = json!({"name": "é".repeat(300), "digest": {"sha256": odd},
            "annotations": {"role": "base"}});
        let statement = provenance(&layout.manifest(), &json!({}), &json!({}), &json!([base]));
        layout.document("provenance.json", &statement);
        layout
    });
    let [one, other] = layouts.map(|layout| layout.path());
    for words in [
        &["explain", &one][..],
        &["explain", &one, "--against", &other],
    ] {
        let (code, said) = survives(words);
        assert_eq!(code, 0, "{said}");
    }
}
