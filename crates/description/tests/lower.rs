//! The layers that a description is lowered to.

use std::collections::HashSet;

use crateyard_description::normal::{Image, Placeholder};
use crateyard_description::{Description, Targets, Workspace};
use crateyard_spec::{Attributes, CAPABILITY_ATTRIBUTE, Capabilities, fill};
use serde_json::{Value, json};

const TARGETS: &str = r#"{ "version": 2, "packages": [
    { "name": "app", "version": "0.1.0", "manifestPath": "Cargo.toml",
      "targets": [{ "kind": ["bin"], "name": "app" }] }
] }"#;

/// Returns the image `app` of a description, where `debian.lock` has libraries of two crates.
fn lowered(image: &str) -> Image {
    lowered_as(image, "app")
}

/// Returns one of the images of that description.
fn lowered_as(image: &str, name: &str) -> Image {
    let text = format!("version = 1\n[images.app]\nbinaries = [\"app\"]\n{image}");
    let description = Description::parse(&text, "images.toml");
    let description = description.unwrap_or_else(|problems| panic!("{problems}"));
    let mut workspace = Workspace::new(Targets::from_json(TARGETS).unwrap());
    workspace.libraries = ["pq-sys", "openssl-sys"].map(str::to_owned).into();
    let normal = description.normalize(&workspace);
    let mut normal = normal.unwrap_or_else(|problems| panic!("{problems}"));
    normal.images.remove(name).unwrap()
}

fn names(image: &Image) -> Vec<&str> {
    let names = image.layers.iter().map(|layer| layer.name.as_str());
    names.collect()
}

#[test]
fn libraries_come_after_the_packages_and_before_the_programs() {
    let image = lowered("packages = [\"curl\"]");
    let expected = [
        "base",
        "packages",
        "libraries.openssl-sys",
        "libraries.pq-sys",
        "libraries.compiler",
        "accounts",
        "binary-app",
    ];
    assert_eq!(names(&image), expected);
    let optional = image.layers.iter().filter(|layer| layer.optional);
    assert_eq!(optional.count(), 3);
}

/// An edit of a program must not run steps that do not see the program.
#[test]
fn steps_come_after_what_they_see() {
    let image = lowered(
        "files = [{ text = \"x\", path = \"/etc/x\" }]\n\
         steps = [{ run = [\"late\"], after = \"binaries\" }, { run = [\"early\"] }]",
    );
    let names = names(&image);
    assert_eq!(
        names[names.len() - 4..],
        ["files", "step-2", "binary-app", "step-1"]
    );
    let [source] = &image.layers[names.len() - 1].sources[..] else {
        panic!("not one source");
    };
    let expected = json!({
        "kind": "step", "below": [{"placeholder": "below"}], "run": ["late"], "workdir": "/",
    });
    assert_eq!(serde_json::to_value(source).unwrap(), expected);
    assert!(
        image
            .layers
            .iter()
            .all(|it| it.may_override == it.name.starts_with("step-"))
    );
}

#[test]
fn without_debian_packages_there_is_nothing_for_libraries_to_stand_on() {
    let image = lowered("base = \"none\"\ntags = [\"1\"]\nuser = \"root\"");
    assert_eq!(names(&image), ["accounts", "binary-app"]);
}

/// The first of several sets provides the packages that they share. dpkg also learns of the
/// packages of all others.
#[test]
fn each_set_is_without_what_is_below() {
    let image = lowered("");
    let layer = &image.layers[2];
    assert_eq!(layer.name, "libraries.pq-sys");
    let source = serde_json::to_value(&layer.sources[0]).unwrap();
    let openssl = json!({"set": "libraries.openssl-sys", "linkedFrom": "openssl-sys"});
    let expected = json!([{
        "placeholder": "packages", "set": "libraries.pq-sys", "linkedFrom": "pq-sys",
        "beyond": [{"set": "base"}, openssl],
    }]);
    assert_eq!(source["packages"], expected);
    assert_eq!(
        source["alsoInstalled"][1]["beyond"],
        json!([{"set": "base"}])
    );
}

/// Placeholders stand for everything that is missing. Once they are filled in, the image program
/// can read the result.
#[test]
fn what_is_filled_in_is_a_specification() {
    let image = lowered("files = [{ source = \"etc/app\", path = \"/etc/app\", mode = \"0600\" }]");
    let mut seen = HashSet::new();
    let mut stand = |placeholder| {
        seen.insert(std::mem::discriminant(&placeholder));
        Ok::<Value, serde_json::Error>(match placeholder {
            Placeholder::Packages(_) => json!(["/a.deb", "/b.deb"]),
            Placeholder::Crates(_) => Value::Null,
            _ => json!("/path"),
        })
    };
    for layer in &image.layers {
        let spec = layer.spec(image.compression);
        let spec: crateyard_spec::LayerSpec = fill(&spec, &mut stand).unwrap();
        assert_eq!(spec.comment, layer.name);
        assert_eq!(spec.sources.len(), layer.sources.len());
    }
    assert_eq!(seen.len(), 4, "packages, crates, program, workspace");
}

/// Programs, copied files and texts get the attributes that the description sets.
#[test]
fn attributes_reach_their_files() {
    let capable = "capabilities = [\"cap_net_bind_service\"]";
    let text = format!(
        "files = [{{ source = \"tool\", path = \"/usr/bin/tool\", {capable}, \
         xattrs = {{ \"user.note\" = \"0x00ff\" }} }},\n\
         {{ part = \"web\", path = \"/srv/tool\", {capable} }},\n\
         {{ text = \"x\", path = \"/srv/text\", xattrs = {{ \"user.note\" = \"hi\" }} }}]\n\
         [images.app.variants.low]\nbinaries = [{{ package = \"app\", {capable} }}]"
    );
    let capability = Capabilities::named(["cap_net_bind_service"])
        .unwrap()
        .attribute();
    let xattrs = |image: &Image, path: &str| -> Attributes {
        let source = image.sources().find(|source| source.to() == Some(path));
        source.unwrap().xattrs().cloned().unwrap_or_default()
    };
    let image = lowered(&text);
    let note = |value: &[u8]| ("user.note".to_owned(), value.to_vec());
    let capabilities = (CAPABILITY_ATTRIBUTE.to_owned(), capability);
    for (path, expected) in [
        ("/usr/bin/tool", vec![capabilities.clone(), note(&[0, 255])]),
        ("/srv/tool", vec![capabilities.clone()]),
        ("/srv/text", vec![note(b"hi")]),
        ("/usr/bin/app", vec![]),
    ] {
        assert_eq!(
            xattrs(&image, path),
            expected.into_iter().collect(),
            "{path}"
        );
    }
    let low = lowered_as(&text, "app-low");
    assert_eq!(xattrs(&low, "/usr/bin/app"), [capabilities].into());
}
