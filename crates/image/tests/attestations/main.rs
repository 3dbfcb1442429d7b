//! The documents beside an image about its ingredients.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod lookalikes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use common::*;
use crateyard_attestation::provenance::{Kind, Statement, compare};
use crateyard_attestation::{PROVENANCE, SBOM, SBOM_CYCLONEDX};
use crateyard_image::attestation::spdx;
use crateyard_oci::Layout;
use serde_json::{Value, json};
use tempfile::tempdir;

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: Debian
License: GPL-2+
";

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn unit(package: &str, version: &str, more: Value) -> Value {
    let mut unit = json!({
        "package": package, "version": version, "source": CRATES_IO, "checksum": "00ff",
        "license": "MIT/Apache-2.0", "kind": "lib", "forTarget": true,
        "options": ["opt-level=3"], "settings": ["feature=\"std\"", "has_atomics"],
    });
    for (key, value) in more.as_object().unwrap() {
        unit[key] = value.clone();
    }
    unit
}

/// Returns a package that npm has installed, perhaps only for development.
fn npm_package(name: &str, dev: bool) -> Value {
    let url = format!("https://registry.npmjs.org/{name}/-/b-1.0.0.tgz");
    json!({"name": name, "version": "1.0.0", "url": url, "dev": dev, "license": "MIT",
           "integrity": "sha1-AAECAwQFBgcICQoLDA0ODxAREhM="})
}

/// Returns the inputs of an image with one program of three crates.
fn inputs(workspace: &Path) -> Value {
    let own = json!({"origin": "crates/app", "source": "", "checksum": null, "kind": "bin",
        "settings": [],
        "uses": ["serde"], "repository": "https://github.com/example/app"});
    let serde =
        json!({"uses": ["core"], "authors": "Erick Tryzelaar <erick@example.org>:David Tolnay"});
    let macros = json!({"kind": "proc-macro", "forTarget": false});
    json!({
        "description": {"name": "demo", "config": {"user": "app"}},
        "build": {"profile": "release", "target": "x86_64-unknown-linux-gnu"},
        "tools": {"image": "0000-image"},
        "packages": [
            {"role": "toolchain", "name": "rustc-web", "architecture": "amd64", "version": "1.85.0",
                "sha256": "aa"},
            {"role": "image", "name": "base-files", "architecture": "amd64",
                "version": "12.4+deb12u1", "sha256": "bb"},
            {"role": "image", "name": "agent", "architecture": "amd64", "version": "3",
                "sha256": "dd",
             "archive": {"name": "vendor", "url": "https://apt.example"}},
        ],
        "units": {
            "app": unit("app", "0.1.0", own),
            "serde": unit("serde", "1.0.1", serde),
            "core": unit("serde_core", "1.0.1", json!({"license": ""})),
            "macros": unit("macros", "2.0.0", macros),
        },
        "programs": [{"path": "/usr/bin/app", "package": "app", "bin": "app", "unit": "app",
            "units": ["app", "serde", "core", "macros"]}],
        "sources": [{"path": "crates/app", "from": workspace}],
        "downloads": [{"part": "tool", "url": "https://h.example/tool", "sha256": "cc"}],
        "parts": [
            {"name": "tool", "from": workspace.join("src/main.rs"), "inImage": true},
            {"name": "web", "path": "dist", "from": workspace, "crates": ["serde", "macros"],
             "npm": {"isBuilt": true, "packages": [npm_package("@a/b", false),
                 npm_package("esbuild", true)]}},
            {"name": "unseen", "from": workspace, "crates": ["macros"]},
        ],
    })
}

fn workspace(directory: &Path) -> std::path::PathBuf {
    let workspace = directory.join("workspace");
    fs::create_dir_all(workspace.join("src")).unwrap();
    fs::write(workspace.join("src/main.rs"), "fn main() {}").unwrap();
    workspace
}

/// Makes an image of one layer from these inputs, and reads the documents beside it.
fn make(directory: &Path, name: &str, inputs: &Value) -> (Layout, Vec<u8>, Vec<u8>) {
    let layer = directory.join("one.layer");
    if !layer.exists() {
        let mut package = Package::new("base-files", "12.4+deb12u1");
        package.file(
            "./usr/share/doc/base-files/copyright",
            0o644,
            COPYRIGHT.as_bytes(),
        );
        let deb = package.write(&directory.join("base-files.deb"));
        // The program is a source of its own.
        let program =
            json!({"kind": "file", "from": std::env::current_exe().unwrap(), "to": "/usr/bin/app"});
        let packages =
            json!({"kind": "debian", "packages": [deb], "exclude": ["usr/share/doc/**"]});
        let libraries = [
            "libc.so.6",
            "libgcc_s.so.1",
            "libm.so.6",
            "ld-linux-x86-64.so.2",
        ];
        let library = |name| json!({"kind": "text", "to": format!("/usr/lib/{name}"), "text": ""});
        let mut sources = vec![packages, program];
        sources.extend(libraries.map(library));
        make_layer(json!(sources), "gzip", &layer, 1);
    }
    let spec = image_spec(&[&layer], json!({"inputs": inputs}));
    let out = directory.join(name);
    crateyard_image::layout::make(&spec, &out).unwrap();
    let layout = Layout::open(&out).unwrap();
    let read = |name| {
        crateyard_attestation::read(&layout, &spec.platform, name)
            .unwrap()
            .unwrap()
    };
    let (sbom, provenance) = (read(SBOM), read(PROVENANCE));
    (layout, sbom, provenance)
}

#[test]
fn the_index_names_the_image_alone_and_the_documents_name_the_image() {
    let directory = tempdir().unwrap();
    let inputs = inputs(&workspace(directory.path()));
    let (layout, sbom, provenance) = make(directory.path(), "a", &inputs);
    let images = layout.images().unwrap();
    assert_eq!(images.len(), 1);
    let digest = &images[0].descriptor.digest;
    let sbom: spdx::Document = serde_json::from_slice(&sbom).unwrap();
    assert!(sbom.is_about(digest));
    assert!(Statement::parse(&provenance).unwrap().is_about(digest));
    let report = crateyard_image::verify::verify_layout(&layout);
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_other_inputs_the_same_image() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    let (one, sbom, provenance) = make(directory.path(), "a", &inputs);
    let (_, same_sbom, same_provenance) = make(directory.path(), "b", &inputs);
    assert_eq!((&sbom, &provenance), (&same_sbom, &same_provenance));
    inputs["build"]["profile"] = json!("dev");
    let (other, _, changed) = make(directory.path(), "c", &inputs);
    assert_ne!(provenance, changed);
    assert_eq!(one.index(), other.index(), "the image is what it was");
}

#[test]
fn the_bill_of_materials_says_which_crates_are_in_which_program() {
    let directory = tempdir().unwrap();
    let inputs = inputs(&workspace(directory.path()));
    let (_, bytes, _) = make(directory.path(), "a", &inputs);
    let sbom: spdx::Document = serde_json::from_slice(&bytes).unwrap();
    let crates = sbom.crates();
    let names: Vec<_> = crates["/usr/bin/app"]
        .iter()
        .map(|it| (&it.name[..], &it.version[..]))
        .collect();
    assert_eq!(
        names,
        [("serde", "1.0.1"), ("serde_core", "1.0.1")],
        "what only ran at build time is not in it"
    );
    let text = String::from_utf8(bytes).unwrap();
    for purl in [
        "pkg:cargo/serde@1.0.1",
        "pkg:deb/debian/base-files@12.4%2Bdeb12u1?arch=amd64&distro=debian-12",
    ] {
        assert!(text.contains(purl), "{purl}");
    }
    assert!(
        !text.contains("rustc-web"),
        "a compiler that made nothing of it is not in it"
    );
    assert!(text.contains("MIT OR Apache-2.0"));
}

/// Makes a bill of materials of programs that all depend on the first of these crates. Each crate
/// depends on the `each` next ones.
fn linked(programs: usize, crates: usize, each: usize) -> Value {
    let element = |id: String| {
        json!({"SPDXID": id, "name": id, "downloadLocation": "", "filesAnalyzed": false,
            "licenseConcluded": "", "licenseDeclared": "", "copyrightText": ""})
    };
    let relate = |from: String, to: String| {
        json!({"spdxElementId": from, "relationshipType": "DEPENDS_ON",
            "relatedSpdxElement": to})
    };
    let mut packages: Vec<Value> = (0..crates).map(|at| element(format!("C{at}"))).collect();
    let below = |at| (1..=each).map(move |next| (at, (at + next) % crates));
    let below = (0..crates).flat_map(below);
    let mut relationships: Vec<Value> = below
        .map(|(at, next)| relate(format!("C{at}"), format!("C{next}")))
        .collect();
    for at in 0..programs {
        let mut program = element(format!("P{at}"));
        program["packageFileName"] = format!("/usr/libexec/application/program-{at:03}").into();
        packages.push(program);
        relationships.push(relate(format!("P{at}"), "C0".to_owned()));
    }
    json!({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": "x", "documentNamespace": "x", "creationInfo": {"created": "x", "creators": []},
        "packages": packages, "relationships": relationships})
}

#[test]
fn a_hundred_programs_of_two_thousand_crates_are_read() {
    let parse = |bill: Value| spdx::Document::parse(bill.to_string().as_bytes());
    let large = parse(linked(100, 2_000, 6)).unwrap();
    let below = large.below_programs().unwrap();
    assert!(below.len() == 100 && below.iter().all(|(_, crates)| crates.len() == 2_000));
    let error = parse(linked(200, 2_000, 6)).unwrap_err();
    assert!(error.contains("too many crates"), "{error}");
    // Few crates, and more relations between them than anybody has.
    let error = parse(linked(200, 200, 110)).unwrap_err();
    assert!(error.contains("too many crates"), "{error}");
}

/// Returns the package of that name.
fn package<'a>(sbom: &'a spdx::Document, name: &str) -> &'a spdx::Package {
    let mut packages = sbom.packages.iter();
    packages.find(|it| it.name == name).unwrap()
}

#[test]
fn the_bill_of_materials_says_who_gave_what_and_how_it_hangs_together() {
    let directory = tempdir().unwrap();
    let inputs = inputs(&workspace(directory.path()));
    let (layout, bytes, _) = make(directory.path(), "a", &inputs);
    let sbom: spdx::Document = serde_json::from_slice(&bytes).unwrap();
    let supplier = |name: &str| package(&sbom, name).supplier.clone().unwrap();
    assert_eq!(
        supplier("serde"),
        "Person: Erick Tryzelaar (erick@example.org)"
    );
    assert_eq!(supplier("serde_core"), "Organization: crates.io");
    assert_eq!(supplier("demo"), "Organization: example");
    assert_eq!(
        supplier("base-files"),
        "Organization: Nobody (nobody@example.org)"
    );
    assert_eq!(
        package(&sbom, "base-files").license_declared,
        "GPL-2.0-or-later"
    );
    let related = |one: &str, how: &str, other: &str| {
        let (one, other) = (&package(&sbom, one).spdx_id, &package(&sbom, other).spdx_id);
        let mut all = sbom.relationships.iter();
        all.any(|it| {
            it.spdx_element_id == *one
                && it.relationship_type == how
                && it.related_spdx_element == *other
        })
    };
    assert!(related("app", "DEPENDS_ON", "serde") && related("serde", "DEPENDS_ON", "serde_core"));
    assert!(!related("app", "DEPENDS_ON", "serde_core"), "not directly");
    assert!(related("demo", "CONTAINS", "app") && related("app", "STATIC_LINK", "rust-std"));
    assert!(related("rustc", "BUILD_TOOL_OF", "app"));
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let digest = crateyard_oci::Digest::of(&program);
    assert_eq!(
        package(&sbom, "app").checksums[0].checksum_value,
        digest.hex()
    );
    assert_eq!(package(&sbom, "demo").version_info.as_deref(), Some("1.0"));
    let platform = "linux/amd64".parse().unwrap();
    let other = crateyard_attestation::read(&layout, &platform, SBOM_CYCLONEDX);
    let other: Value = serde_json::from_slice(&other.unwrap().unwrap()).unwrap();
    let names = |list: &Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter();
        names
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut all = names(&other["components"]);
    all.extend(names(&other["formulation"][0]["components"]));
    all.push("demo".to_owned());
    all.sort();
    let mut same: Vec<String> = sbom.packages.iter().map(|it| it.name.clone()).collect();
    same.sort();
    assert_eq!(all, same, "both forms are of one model");
    let [spdx, cyclonedx] = [edges_of_spdx(&sbom), edges_of_cyclonedx(&other)];
    assert_eq!(spdx, cyclonedx);
    assert!(spdx.contains("app uses rust-std") && spdx.contains("web/dist uses @a/b"));
}

/// A program of a package that names the file of its licence, and a crate of the workspace.
#[test]
fn the_bill_of_materials_has_the_text_of_a_licence_that_only_a_file_names() {
    let directory = tempdir().unwrap();
    let mut inputs = inputs(&workspace(directory.path()));
    let file = directory.path().join("COPYING");
    fs::write(&file, "Do what you like.\n").unwrap();
    for unit in ["app", "core"] {
        inputs["units"][unit]["license"] = json!("");
        inputs["units"][unit]["source"] = json!("");
        inputs["units"][unit]["origin"] = json!("crates/app");
        inputs["units"][unit]["licenseFile"] = json!("../COPYING");
        inputs["units"][unit]["licenseSource"] = json!(file);
    }
    let (_, bytes, _) = make(directory.path(), "a", &inputs);
    let sbom: spdx::Document = serde_json::from_slice(&bytes).unwrap();
    for name in ["app", "serde_core"] {
        let id = &package(&sbom, name).license_declared;
        let texts = &sbom.has_extracted_licensing_infos;
        let text = texts.iter().find(|it| it.license_id == *id);
        assert_eq!(text.unwrap().extracted_text, "Do what you like.", "{name}");
    }
}

/// Returns what holds or uses what by SPDX, by names. CycloneDX has compilers elsewhere.
fn edges_of_spdx(sbom: &spdx::Document) -> BTreeSet<String> {
    let packages = sbom.packages.iter();
    let names: BTreeMap<&str, &str> = packages.map(|it| (&*it.spdx_id, &*it.name)).collect();
    let others = ["DESCRIBES", "BUILD_TOOL_OF"];
    let relations = sbom.relationships.iter();
    relations
        .filter(|it| !others.contains(&&*it.relationship_type))
        .map(|it| {
            let [one, other] = [&*it.spdx_element_id, &*it.related_spdx_element];
            format!("{} uses {}", names[one], names[other])
        })
        .collect()
}

/// Returns the same by CycloneDX.
fn edges_of_cyclonedx(sbom: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let components = sbom["components"].as_array().unwrap().iter();
    let components = components.chain([&sbom["metadata"]["component"]]);
    let names: BTreeMap<String, String> = components
        .map(|it| (text(&it["bom-ref"]), text(&it["name"])))
        .collect();
    let mut edges = BTreeSet::new();
    for entry in sbom["dependencies"].as_array().unwrap() {
        for used in entry["dependsOn"].as_array().into_iter().flatten() {
            let [one, other] = [&entry["ref"], used].map(|it| &names[&text(it)]);
            edges.insert(format!("{one} uses {other}"));
        }
    }
    edges
}

/// Parts appear with their content and address, the files that hold them, and the packages that npm
/// made them of. A vendor's package does not count as Debian's.
#[test]
fn the_bill_of_materials_names_parts_and_vendors() {
    let directory = tempdir().unwrap();
    let inputs = inputs(&workspace(directory.path()));
    let (layout, bytes, provenance) = make(directory.path(), "a", &inputs);
    let sbom: spdx::Document = serde_json::from_slice(&bytes).unwrap();
    let tool = package(&sbom, "tool");
    // sha256sum of the file.
    let content = "ef32637cb9c3ec2e3968c9cbdf26a5e9c172be94f88af533e14bd43f892d5297";
    assert_eq!(tool.checksums[0].checksum_value, content);
    assert_eq!(tool.download_location, "https://h.example/tool");
    let purl = "pkg:generic/tool?checksum=sha256%3Acc&download_url=https%3A%2F%2Fh.example%2Ftool";
    assert_eq!(tool.purl(), Some(purl));
    let web = package(&sbom, "web/dist");
    let scoped = package(&sbom, "@a/b");
    assert_eq!(scoped.purl(), Some("pkg:npm/%40a/b@1.0.0"));
    assert_eq!(scoped.license_declared, "MIT");
    let hash = &scoped.checksums[0];
    assert_eq!(hash.algorithm, "SHA1");
    assert_eq!(
        hash.checksum_value,
        "000102030405060708090a0b0c0d0e0f10111213"
    );
    let related = |from: &str, how: &str, to: &str| {
        sbom.relationships.iter().any(|it| {
            (
                &*it.spdx_element_id,
                &*it.relationship_type,
                &*it.related_spdx_element,
            ) == (from, how, to)
        })
    };
    assert!(related("SPDXRef-image", "CONTAINS", &tool.spdx_id));
    assert!(related(
        &package(&sbom, "serde").spdx_id,
        "CONTAINS",
        &web.spdx_id
    ));
    assert!(related(&web.spdx_id, "DEPENDS_ON", &scoped.spdx_id));
    let names: Vec<&str> = sbom.packages.iter().map(|it| it.name.as_str()).collect();
    assert!(
        !names.contains(&"unseen") && !names.contains(&"esbuild"),
        "{names:?}"
    );
    let agent = package(&sbom, "agent").purl().unwrap();
    assert_eq!(
        agent,
        "pkg:deb/vendor/agent@3?arch=amd64&repository_url=https%3A%2F%2Fapt.example"
    );

    let platform = "linux/amd64".parse().unwrap();
    let cyclonedx = crateyard_attestation::read(&layout, &platform, SBOM_CYCLONEDX).unwrap();
    let cyclonedx: Value = serde_json::from_slice(&cyclonedx.unwrap()).unwrap();
    let components = cyclonedx["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(named("tool")["type"], "file");
    assert_eq!(
        named("tool")["externalReferences"][0]["type"],
        "distribution"
    );
    assert_eq!(named("@a/b")["hashes"][0]["alg"], "SHA-1");

    let provenance = Statement::parse(&provenance).unwrap();
    let inputs = provenance.predicate.build_definition.resolved_dependencies;
    let of_npm = inputs.iter().filter(|it| it.annotations["role"] == "npm");
    let of_npm: Vec<&str> = of_npm.filter_map(|it| it.name.as_deref()).collect();
    assert_eq!(of_npm, ["@a/b", "esbuild"]);
    let uris: Vec<&str> = inputs.iter().filter_map(|it| it.uri.as_deref()).collect();
    assert!(uris.contains(&agent), "{uris:?}");
}

/// Makes an image over a base that consists of one Debian package. `packages` are those of the
/// image itself. Returns the image's bill of materials.
fn sbom_over(directory: &Path, base: Package, packages: Value) -> spdx::Document {
    let deb = base.write(&directory.join("base.deb"));
    let layer = directory.join("base.layer");
    let content = json!([{"kind": "debian", "packages": [deb]}]);
    make_layer(content, "gzip", &layer, 1);
    let base = directory.join("base");
    crateyard_image::layout::make(&image_spec(&[&layer], json!({})), &base).unwrap();
    let mut inputs = inputs(&workspace(directory));
    inputs["packages"] = packages;
    inputs["programs"] = json!([]);
    let own = directory.join("own.layer");
    let text = json!([{"kind": "text", "to": "/app", "text": "x"}]);
    make_layer(text, "gzip", &own, 1);
    let spec = image_spec(&[&own], json!({"inputs": inputs, "base": base}));
    let out = directory.join("out");
    crateyard_image::layout::make(&spec, &out).unwrap();
    let bytes = crateyard_attestation::read(&Layout::open(&out).unwrap(), &spec.platform, SBOM);
    serde_json::from_slice(&bytes.unwrap().unwrap()).unwrap()
}

#[test]
fn packages_and_crates_of_a_base_are_in_the_bill_of_materials() {
    let directory = tempdir().unwrap();
    let mut package = Package::new("libc6", "2.36-9");
    package.file(
        "./usr/share/doc/libc6/copyright",
        0o644,
        b"All of it is free.",
    );
    let sbom = sbom_over(directory.path(), package, json!([]));
    let libc = self::package(&sbom, "libc6");
    assert_eq!(libc.version_info.as_deref(), Some("2.36-9"));
    assert_eq!(libc.license_declared, "LicenseRef-libc6");
    assert_eq!(
        sbom.has_extracted_licensing_infos[0].extracted_text,
        "All of it is free."
    );
}

#[test]
fn every_sort_of_change_has_its_name() {
    let directory = tempdir().unwrap();
    let workspace = workspace(directory.path());
    let before = inputs(&workspace);
    let (_, _, old) = make(directory.path(), "a", &before);
    let old = Statement::parse(&old).unwrap();
    assert_eq!(compare(&old, &old), []);
    let changes: [(&str, Value, Kind, &str); 8] = [
        (
            "/parts/1/npm/packages/0/version",
            json!("1.0.1"),
            Kind::Npm,
            "@a/b",
        ),
        (
            "/description/config/user",
            json!("root"),
            Kind::Description,
            "config.user",
        ),
        ("/build/profile", json!("dev"), Kind::Profile, "profile"),
        (
            "/packages/0/version",
            json!("1.86.0"),
            Kind::Toolchain,
            "rustc-web",
        ),
        (
            "/packages/1/version",
            json!("12.5"),
            Kind::Package,
            "base-files",
        ),
        (
            "/units/serde/version",
            json!("1.0.2"),
            Kind::Dependency,
            "serde",
        ),
        (
            "/units/serde/settings",
            json!(["has_atomics"]),
            Kind::Features,
            "serde 1.0.1",
        ),
        (
            "/units/serde/options",
            json!(["opt-level=2"]),
            Kind::Options,
            "serde 1.0.1",
        ),
    ];
    for (number, (pointer, value, kind, name)) in changes.into_iter().enumerate() {
        let mut after = before.clone();
        *after.pointer_mut(pointer).unwrap() = value;
        let (_, _, new) = make(directory.path(), &format!("new{number}"), &after);
        let found = compare(&old, &Statement::parse(&new).unwrap());
        let found: Vec<_> = found.iter().map(|it| (it.kind, &it.name[..])).collect();
        assert_eq!(found, [(kind, name)], "{pointer}");
    }
    fs::write(workspace.join("src/main.rs"), "fn main() { }").unwrap();
    let (_, _, new) = make(directory.path(), "source", &before);
    let found = compare(&old, &Statement::parse(&new).unwrap());
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].kind, &found[0].name[..]),
        (Kind::Source, "crates/app/src/main.rs")
    );
}

#[test]
fn an_index_over_platforms_keeps_the_documents_of_each() {
    let directory = tempdir().unwrap();
    let inputs = inputs(&workspace(directory.path()));
    let (_, sbom, _) = make(directory.path(), "a", &inputs);
    let spec = json!({"version": 1, "name": "demo", "layouts": [directory.path().join("a")]});
    let out = directory.path().join("index");
    crateyard_image::multi::make(&serde_json::from_value(spec).unwrap(), &out).unwrap();
    let kept = fs::read(out.join("attestations/linux-amd64/sbom.spdx.json")).unwrap();
    assert_eq!(kept, sbom);
}
