//! Images in a registry.

use crateyard_testing::{Registry, need, skip};

use super::*;

#[test]
fn images_in_a_registry_are_read_like_others() {
    need!(
        "images_in_a_registry_are_read_like_others",
        "docker-registry"
    );
    let registry = Registry::start();
    let (directory, image) = demo();
    let reference = format!("{}/team/demo:v1", registry.address);
    prints(&["push", &image, "--to", &reference]);
    for command in [
        vec!["ls", "-R", "--digests"],
        vec!["cat", "/etc/link"],
        vec!["inspect", "--packages"],
    ] {
        let on = |image: &str| {
            let mut arguments = vec![command[0], image];
            arguments.extend(&command[1..]);
            let shown = prints(&arguments);
            // The names before the digests differ by design.
            match shown.split_once("digest ") {
                Some((_, rest)) => rest.to_owned(),
                None => shown,
            }
        };
        assert_eq!(on(&image), on(&reference), "{command:?}");
    }
    assert!(prints(&["verify", &reference]).starts_with("sound: 1 image"));
    let same = prints(&["diff", &reference, &image]);
    assert!(same.starts_with("no difference"), "{same}");
    let out = directory.path().join("saved.tar");
    let out = out.to_str().unwrap();
    prints(&["save", &reference, "--format", "docker", "--out", out]);
    let saved = prints_json(&["inspect", out, "--json"]);
    assert!(
        saved[0]["names"].to_string().contains(&reference),
        "{saved}"
    );
    let (code, error) = fails(&["inspect", &format!("{}/team/none:v1", registry.address)]);
    assert_eq!(code, 5, "{error}");
}

#[test]
fn several_platforms_are_chosen_from() {
    let directory = tempdir().unwrap();
    let one = make_image_for(directory.path(), "one", "1", "amd64");
    let other = make_image_for(directory.path(), "other", "2", "arm64");
    let spec =
        json!({"version": 1, "name": "demo", "references": ["demo:1.0"], "layouts": [one, other]});
    let out = directory.path().join("both");
    crateyard_image::multi::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
    let both = out.display().to_string();
    let mut places = vec![both.clone()];
    let registry = crateyard_testing::has("docker-registry").then(Registry::start);
    if registry.is_none() {
        skip(
            "several_platforms_are_chosen_from, in a registry",
            "docker-registry is not installed",
        );
    }
    if let Some(registry) = &registry {
        let reference = format!("{}/demo:both", registry.address);
        prints(&["push", &both, "--to", &reference]);
        places.push(reference);
    }
    for place in &places {
        assert_eq!(
            prints_json(&["inspect", place, "--json"])
                .as_array()
                .unwrap()
                .len(),
            2
        );
        let version = prints(&["cat", place, "/srv/version", "--platform", "linux/arm64"]);
        assert_eq!(version, "2");
        let (_, error) = fails(&["cat", place, "/srv/version"]);
        assert!(
            error.contains("linux/amd64") && error.contains("platform"),
            "{error}"
        );
        let (_, error) = fails(&["ls", place, "--platform", "linux/s390x"]);
        assert!(
            error.contains("linux/s390x") && error.contains("linux/arm64"),
            "{error}"
        );
        assert!(prints(&["verify", place]).starts_with("sound: 2 images"));
        // Docker's format holds one platform for each name.
        let out = directory.path().join("arm64.tar");
        let out = out.to_str().unwrap();
        let arm64 = [
            "--platform",
            "linux/arm64",
            "--format",
            "docker",
            "--out",
            out,
        ];
        prints(&[&["save", place], &arm64[..]].concat());
        assert_eq!(prints(&["cat", out, "/srv/version"]), "2");
    }
    let (_, error) = fails(&["ls", &one, "--platform", "linux/arm64"]);
    assert!(error.contains("linux/amd64"), "{error}");
}
