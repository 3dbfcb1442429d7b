//! The calls of Cargo that a description leads to.

use std::collections::BTreeMap;

use crateyard_description::normal::Call;
use crateyard_description::{Description, Targets, Workspace, normal};

/// Packages with their binaries, and the features that these require.
const TARGETS: &str = r#"{ "version": 2, "packages": [
    { "name": "orders", "version": "0.1.0", "manifestPath": "orders/Cargo.toml",
      "targets": [{ "kind": ["bin"], "name": "daemon" }] },
    { "name": "stock", "version": "0.1.0", "manifestPath": "stock/Cargo.toml",
      "targets": [{ "kind": ["bin"], "name": "daemon" }, { "kind": ["bin"], "name": "count" }] },
    { "name": "tool", "version": "0.1.0", "manifestPath": "tool/Cargo.toml",
      "targets": [{ "kind": ["bin"], "name": "tool" },
                  { "kind": ["bin"], "name": "admin", "requiredFeatures": ["admin", "tls"] }] }
] }"#;

fn normalized(images: &str) -> normal::Description {
    let text = format!("version = 1\n{images}");
    let description = Description::parse(&text, "images.toml");
    let description = description.unwrap_or_else(|problems| panic!("{problems}"));
    let workspace = Workspace::new(Targets::from_json(TARGETS).unwrap());
    let normal = description.normalize(&workspace);
    normal.unwrap_or_else(|problems| panic!("{problems}"))
}

/// Returns the call of each binary of an image, by the binary's path.
fn calls_of(description: &normal::Description, image: &str) -> BTreeMap<String, String> {
    let programs = description.images[image].programs();
    programs
        .map(|(path, binary)| (path.to_owned(), binary.call.clone()))
        .collect()
}

fn words(call: &Call) -> String {
    call.cargo_arguments().join(" ")
}

#[test]
fn one_call_has_all_images_with_the_same_settings() {
    let description = normalized(
        "[images.a]\nbinaries = [\"orders\"]\n[images.b]\nbinaries = [\"tool\"]\nbuild = { profile \
         = \"release\" }\n",
    );
    let calls = &description.build.calls;
    assert_eq!(calls.keys().collect::<Vec<_>>(), ["release"]);
    let expected = "--profile release --package orders --package tool --bin daemon --bin tool";
    assert_eq!(words(&calls["release"]), expected);
}

#[test]
fn binaries_of_one_name_are_apart() {
    let description = normalized(
        "[images.a]\nbinaries = [\"orders\", { package = \"stock\", bin = \"daemon\", path = \
         \"/usr/bin/stock\" }]\n",
    );
    let calls = &description.build.calls;
    let said: Vec<String> = calls.values().map(words).collect();
    assert_eq!(
        said,
        [
            "--profile release --package orders --bin daemon",
            "--profile release --package stock --bin daemon"
        ]
    );
    let of = calls_of(&description, "a");
    assert_ne!(of["/usr/bin/daemon"], of["/usr/bin/stock"]);
}

/// `--bin daemon` would also build the binary of `stock`, which nobody asks for, at the same path.
#[test]
fn a_binary_that_nobody_asks_for_takes_no_place() {
    let description = normalized(
        "[images.a]\nbinaries = [\"orders\"]\n[images.b]\nbinaries = [\"stock/count\"]\n",
    );
    assert_eq!(description.build.calls.len(), 2);
}

#[test]
fn required_features_are_on_where_the_binary_is_asked_for() {
    let plain = normalized("[images.a]\nbinaries = [\"tool\"]\n");
    assert!(plain.build.calls["release"].settings.features.is_empty());
    let description = normalized("[images.a]\nbinaries = [\"tool\", \"tool/admin\"]\n");
    let call = &description.build.calls["release"];
    assert_eq!(call.settings.features, ["tool/admin", "tool/tls"]);
    assert!(description.build.settings.features.is_empty());
    let all = normalized("[build]\nall-features = true\n[images.a]\nbinaries = [\"tool/admin\"]\n");
    let call = all.build.calls.values().next().unwrap();
    assert!(call.settings.features.is_empty() && call.settings.all_features);
}

#[test]
fn an_image_has_a_profile_features_and_a_target_of_its_own() {
    let description = normalized(
        "[build]\nprofile = \"dist\"\nfeatures = [\"b\", \"a\"]\n[images.a]\nbinaries = \
         [\"tool\"]\n[images.a.variants.static]\nbuild = { target = \"x86_64-unknown-linux-musl\", \
         features = [] }\n[images.a.variants.small]\nbuild = { no-default-features = true, profile \
         = \"small\" }\n",
    );
    let of = |image: &str| {
        let name = calls_of(&description, image).into_values().next().unwrap();
        words(&description.build.calls[&name])
    };
    assert_eq!(
        of("a"),
        "--profile dist --features a,b --package tool --bin tool"
    );
    assert_eq!(
        of("a-static"),
        "--profile dist --target x86_64-unknown-linux-musl --package tool --bin tool"
    );
    assert_eq!(
        of("a-small"),
        "--profile small --features a,b --no-default-features --package tool --bin tool"
    );
    let platforms = &description.images["a-static"].platforms;
    assert_eq!(
        platforms
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["linux/amd64"]
    );
}

/// The provenance contains the names of the calls for an image's binaries, so another image must
/// not change them.
#[test]
fn the_name_of_a_call_depends_on_no_other_image() {
    let one = "[images.m]\nbinaries = [\"tool\"]\nbuild = { features = [\"x\"] }\n";
    let before = calls_of(&normalized(one), "m");
    let others = "[images.a]\nbinaries = [\"stock\", \"stock/count\"]\nbuild = { features = \
                  [\"w\"] }\n[images.z]\nbinaries = [\"orders\"]\n";
    let after = calls_of(
        &normalized(&format!("{one}{others}").replace("[\"stock\", ", "[")),
        "m",
    );
    assert_eq!(before, after);
}
