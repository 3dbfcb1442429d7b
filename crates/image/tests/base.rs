//! Bases out of layouts that have several images.
#![allow(missing_docs)]

use std::path::Path;

use crateyard_image::base;
use crateyard_image::spec::BaseSpec;
use crateyard_oci::Layout;
use serde_json::{Value, json};

fn take(layout: &Path, digest: &str, out: &Path) -> Result<Vec<String>, String> {
    let spec = json!({"version": 1, "layout": layout, "digest": digest});
    let spec: BaseSpec = serde_json::from_value(spec).unwrap();
    let made = base::make(&spec, out).map_err(|error| error.to_string())?;
    assert_eq!(made.digest.to_string(), digest);
    let taken = Layout::open(out).unwrap();
    let images = taken.images().unwrap();
    for image in &images {
        let manifest = taken.manifest(&image.descriptor).unwrap();
        let mut blobs = manifest.blobs();
        assert!(blobs.all(|blob| taken.blob(blob).is_ok()));
    }
    Ok(images
        .iter()
        .map(|it| it.descriptor.digest.to_string())
        .collect())
}

#[test]
fn a_digest_names_an_image_or_an_index() {
    let mut layout = crateyard_testing::Layout::new();
    let platforms = [(1, "amd64"), (2, "amd64"), (3, "arm64")];
    let images = platforms.map(|(byte, platform)| layout.image(&[vec![byte; 512]], platform));
    let index = layout.index(&images[1..]);
    layout.list(images[0].clone());
    layout.list(index.clone());
    let digest = |it: &Value| it["digest"].as_str().unwrap().to_owned();
    let [first, second, third] = images.each_ref().map(digest);
    let place = tempfile::tempdir().unwrap();
    let out = |name: &str| place.path().join(name);
    let taken = |digest: &str, name: &str| take(layout.path(), digest, &out(name));

    let amd64 = "linux/amd64".parse().unwrap();
    let whole = Layout::open(layout.path()).unwrap();
    whole.image(None, Some(&amd64)).expect_err("it has two");
    assert_eq!(
        taken(&first, "first").unwrap(),
        std::slice::from_ref(&first)
    );
    assert_eq!(
        taken(&third, "third").unwrap(),
        std::slice::from_ref(&third)
    );
    let both = taken(&digest(&index), "both").unwrap();
    assert_eq!(both, [second.clone(), third]);
    let both = Layout::open(&out("both")).unwrap();
    let chosen = both.image(None, Some(&amd64)).unwrap();
    assert_eq!(chosen.descriptor.digest.to_string(), second);

    let other = format!("sha256:{}", "0".repeat(64));
    let error = taken(&other, "other").unwrap_err();
    assert!(error.contains(&format!("has no image {other}")), "{error}");
    assert!(error.contains(&first), "{error}");
    assert!(!out("other").exists());
}
