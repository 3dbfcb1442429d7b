//! Manifests of clusters and hosts, and the images that they name.
#![no_main]

use std::collections::BTreeMap;

use crateyard_deploy::manifest::{DeployManifest, Names, Pushed, Syntax};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mapping = BTreeMap::from([("docker.io/team/app".to_owned(), "app".to_owned())]);
    let names = Names::new(&["app".to_owned()], &mapping).unwrap();
    let image = Pushed {
        repository: "registry.example/team/app".parse().unwrap(),
        tag: "0123456789ab".to_owned(),
        digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
    };
    let pushed = BTreeMap::from([("app".to_owned(), image)]);
    for syntax in [Syntax::Yaml, Syntax::Unit] {
        if let Ok(manifest) = DeployManifest::parse(text, syntax, &names) {
            let (resolved, edits) = manifest.resolve(&pushed).unwrap();
            assert!(!edits.is_empty() || resolved == text);
        }
    }
});
