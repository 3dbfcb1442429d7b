//! The labels that a description leads to.

use crateyard_description::{Description, Targets, Workspace};
use serde_json::json;

/// Returns the label `source` of an image of the package `app`, in a workspace where `app` and two
/// other packages name these repositories.
fn source(repositories: [Option<&str>; 3]) -> Option<String> {
    let packages = ["app", "one", "two"].into_iter().zip(repositories);
    let packages = packages.map(|(name, repository)| {
        json!({"name": name, "version": "0.1.0", "manifestPath": format!("{name}/Cargo.toml"),
            "repository": repository, "targets": [{"kind": ["bin"], "name": name}]})
    });
    let targets = json!({"version": 2, "packages": packages.collect::<Vec<_>>()}).to_string();
    let text = "version = 1\n[images.app]\nbinaries = [\"app\"]\n";
    let description = Description::parse(text, "images.toml").unwrap();
    let workspace = Workspace::new(Targets::from_json(&targets).unwrap());
    let mut normal = description.normalize(&workspace).unwrap();
    let mut image = normal.images.remove("app").unwrap();
    image
        .config
        .labels
        .remove("org.opencontainers.image.source")
}

#[test]
fn the_source_is_the_package_s_repository_or_the_only_one_of_the_workspace() {
    let (shop, fork) = (
        Some("https://x.example/shop"),
        Some("https://x.example/fork"),
    );
    for (repositories, expected) in [
        ([shop, fork, None], shop),
        ([None, shop, None], shop),
        ([None, shop, shop], shop),
        ([None, shop, fork], None),
        ([None, None, None], None),
    ] {
        assert_eq!(
            source(repositories).as_deref(),
            expected,
            "{repositories:?}"
        );
    }
}
