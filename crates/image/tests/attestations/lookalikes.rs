//! Components that are easily taken for others, or left out.

use std::fs;
use std::path::Path;

use crateyard_attestation::SBOM;
use crateyard_image::attestation::spdx;
use crateyard_oci::{Digest, Layout};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::common::*;
use super::{CRATES_IO, inputs, make, package, sbom_over, unit, workspace};

/// Makes an image of these inputs, and returns its bill of materials.
fn sbom(directory: &Path, inputs: &Value) -> spdx::Document {
    let (_, bytes, _) = make(directory, "image", inputs);
    serde_json::from_slice(&bytes).unwrap()
}

/// The workspace and crates.io have a crate of the same name and version. Both are in the program.
#[test]
fn a_package_of_the_workspace_is_not_the_crate_of_that_name() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    let own = json!({"source": "", "origin": "vendor/serde", "checksum": null, "license": "ISC"});
    inputs["units"]["own"] = unit("serde", "1.0.1", own);
    inputs["units"]["app"]["uses"] = json!(["serde", "own"]);
    let sbom = sbom(directory.path(), &inputs);
    let both = sbom.packages.iter().filter(|it| it.name == "serde");
    let both: Vec<_> = both
        .map(|it| (it.purl().unwrap(), it.license_declared.as_str()))
        .collect();
    assert_eq!(
        both,
        [
            ("pkg:cargo/serde@1.0.1", "MIT OR Apache-2.0"),
            (
                "pkg:cargo/serde@1.0.1?download_url=file%3A%2F%2Fvendor%2Fserde",
                "ISC"
            ),
        ]
    );
}

/// Two versions of a crate have files of licences, with other texts.
#[test]
fn two_licences_without_a_name_both_have_their_text() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    for (key, version, text) in [("serde", "1.0.1", "First."), ("other", "2.0.0", "Second.")] {
        let git = directory.path().join(key);
        fs::create_dir_all(git.join("crates/serde")).unwrap();
        fs::write(git.join("COPYING"), text).unwrap();
        let more = json!({"license": "", "licenseFile": "crates/serde/../../COPYING",
            "licenseSource": git, "source": CRATES_IO});
        inputs["units"][key] = unit("serde", version, more);
    }
    inputs["units"]["app"]["uses"] = json!(["serde", "other"]);
    let sbom = sbom(directory.path(), &inputs);
    for (version, text) in [("1.0.1", "First."), ("2.0.0", "Second.")] {
        let is_it =
            |it: &&spdx::Package| it.name == "serde" && it.version_info.as_deref() == Some(version);
        let found = sbom.packages.iter().find(is_it).unwrap();
        let mut texts = sbom.has_extracted_licensing_infos.iter();
        let named = texts.find(|it| it.license_id == found.license_declared);
        assert_eq!(named.unwrap().extracted_text, text);
    }
}

/// A licence's file may lie above its package, but not outside of the repository.
#[test]
fn no_file_outside_of_a_repository_is_a_licence() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    let git = directory.path().join("git");
    fs::create_dir_all(&git).unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "hush").unwrap();
    for file in ["../secret", secret.to_str().unwrap(), "a/../../secret"] {
        inputs["units"]["serde"]["license"] = json!("");
        inputs["units"]["serde"]["licenseFile"] = json!(file);
        inputs["units"]["serde"]["licenseSource"] = json!(git);
        let (_, bytes, _) = make(
            directory.path(),
            &Digest::of(file.as_bytes()).hex()[..8],
            &inputs,
        );
        assert!(
            !String::from_utf8(bytes).unwrap().contains("hush"),
            "{file}"
        );
    }
}

/// A program's own package has a build script that compiles C.
#[test]
fn the_program_is_linked_from_the_library_of_its_own_build_script() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    let output = directory.path().join("output");
    fs::create_dir_all(output.join("files/out")).unwrap();
    fs::write(output.join("files/out/libadder.a"), "!<arch>").unwrap();
    let directives = json!({"linkSearch": [], "linkLibs": ["static=adder", "static=z"],
        "linkArgs": [], "cfgs": [], "checkCfgs": [], "env": [], "metadata": [], "warnings": []});
    fs::write(output.join("directives.json"), directives.to_string()).unwrap();
    inputs["units"]["app"]["buildOutput"] = json!(output);
    let sbom = sbom(directory.path(), &inputs);
    let library = package(&sbom, "adder");
    assert_eq!(
        library.checksums[0].checksum_value,
        Digest::of(b"!<arch>").hex()
    );
    let app = &package(&sbom, "app").spdx_id;
    let is_linked = sbom.relationships.iter().any(|it| {
        it.spdx_element_id == *app
            && it.relationship_type == "STATIC_LINK"
            && it.related_spdx_element == library.spdx_id
    });
    assert!(is_linked, "{:?}", sbom.relationships);
    let comment = |name: &str| package(&sbom, name).comment.clone().unwrap();
    assert!(comment("adder").contains("Compiled by the build script"));
    assert!(comment("z").contains("system's libraries"));
}

/// The labels name a vendor. Somebody else wrote a package of the workspace.
#[test]
fn the_vendor_supplies_the_packages_of_the_workspace() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    inputs["units"]["app"]["authors"] = json!("Ann Author <ann@example.org>");
    let layer = directory.path().join("one.layer");
    let text = json!([{"kind": "text", "to": "/usr/bin/app", "text": "x", "mode": "0755"}]);
    make_layer(text, "gzip", &layer, 1);
    let labels = json!({"org.opencontainers.image.vendor": "Shop (Europe) Ltd"});
    let mut spec = image_spec(&[&layer], json!({"inputs": inputs}));
    spec.config.labels = serde_json::from_value(labels).unwrap();
    let out = directory.path().join("image");
    crateyard_image::layout::make(&spec, &out).unwrap();
    let bytes = crateyard_attestation::read(&Layout::open(&out).unwrap(), &spec.platform, SBOM);
    let sbom: spdx::Document = serde_json::from_slice(&bytes.unwrap().unwrap()).unwrap();
    let app = package(&sbom, "app");
    assert_eq!(
        app.supplier.as_deref(),
        Some("Organization: Shop Europe Ltd")
    );
    assert_eq!(
        app.originator.as_deref(),
        Some("Person: Ann Author (ann@example.org)")
    );
}

/// Debian's package `gcc` only holds a link to the compiler.
#[test]
fn the_compiler_is_the_package_that_holds_it() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    // The program is this test, whose startup code is of this machine's compiler.
    let said = package(&sbom(directory.path(), &inputs), "gcc").clone();
    let version = said.version_info.unwrap();
    let major = version.split('.').next().unwrap();
    let (holder, full) = (format!("gcc-{major}"), format!("{version}-14+deb12u1"));
    let list = inputs["packages"].as_array_mut().unwrap();
    for (name, version) in [("gcc", &format!("4:{version}-3")), (&*holder, &full)] {
        list.push(
            json!({"role": "toolchain", "name": name, "architecture": "amd64",
            "version": version, "sha256": format!("hash of {name}")}),
        );
    }
    let (_, bytes, _) = make(directory.path(), "again", &inputs);
    let sbom: spdx::Document = serde_json::from_slice(&bytes).unwrap();
    let gcc = package(&sbom, "gcc");
    assert_eq!(gcc.version_info.as_ref(), Some(&full));
    assert_eq!(gcc.checksums[0].checksum_value, format!("hash of {holder}"));
    assert!(
        gcc.purl().unwrap().contains(&format!("/{holder}@")),
        "{gcc:?}"
    );
}

/// The base is Ubuntu's, and the image adds a package of Debian's.
#[test]
fn packages_of_another_distribution_are_not_debians() {
    let directory = tempdir().unwrap();
    let mut release = Package::new("base-files", "12ubuntu4.6");
    release.file(
        "./usr/lib/os-release",
        0o644,
        b"ID=ubuntu\nVERSION_ID=\"22.04\"\n",
    );
    let own = json!([{"role": "image", "name": "tini", "architecture": "amd64",
        "version": "0.19.0-1", "sha256": "bb"}]);
    let sbom = sbom_over(directory.path(), release, own);
    let purl = |name: &str| package(&sbom, name).purl().unwrap().to_owned();
    assert_eq!(
        purl("base-files"),
        "pkg:deb/ubuntu/base-files@12ubuntu4.6?arch=amd64&distro=ubuntu-22.04"
    );
    assert_eq!(purl("tini"), "pkg:deb/debian/tini@0.19.0-1?arch=amd64");
}
