//! The parts of an image, by the tools that define them: packages, documents, attributes.

use super::*;

#[test]
fn dpkg_knows_its_packages() {
    let test = "dpkg_knows_its_packages";
    if !has_tool(test, "dpkg-query") || !has_tool(test, "tar") {
        return;
    }
    let directory = tempdir().unwrap();
    demo_image(directory.path());
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    for layer in ["one.layer", "two.layer"] {
        let blob = directory.path().join(layer).join("blob");
        run(Command::new("tar")
            .arg("-xzf")
            .arg(blob)
            .arg("-C")
            .arg(&root)
            .arg("--no-same-owner"));
    }
    let data = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let listed = stdout(Command::new("dpkg-query").args([
        &data,
        "-W",
        "-f",
        "${Package} ${Version} ${db:Status-Abbrev}\n",
    ]));
    assert_eq!(listed, "base-demo 1.0-1 ii \nextra-demo 2.0 ii \n");
    let owner = stdout(Command::new("dpkg-query").args([&data, "-S", "/usr/lib/extra.so"]));
    assert_eq!(owner, "extra-demo: /usr/lib/extra.so\n");
    let conffiles =
        stdout(Command::new("dpkg-query").args([&data, "-W", "-f", "${Conffiles}", "base-demo"]));
    assert!(conffiles.contains("/etc/demo.conf "), "{conffiles}");
    assert_eq!(stdout(Command::new("dpkg").args([&data, "--audit"])), "");
}

#[test]
fn packages_of_dpkg_deb_are_read_in_every_compression() {
    let test = "packages_of_dpkg_deb_are_read_in_every_compression";
    if !has_tool(test, "dpkg-deb") {
        return;
    }
    let directory = tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/share/demo")).unwrap();
    fs::write(
        tree.join("DEBIAN/control"),
        "Package: demo\nVersion: 1:2.3-4\nArchitecture: all\nMaintainer: Nobody \
         <n@example.org>\nDescription: d\n",
    )
    .unwrap();
    let long = "n".repeat(150);
    fs::write(tree.join("usr/share/demo").join(&long), "content").unwrap();
    for compression in ["xz", "gzip", "zstd", "none"] {
        let deb = directory.path().join(format!("{compression}.deb"));
        let built = Command::new("dpkg-deb")
            .arg("--root-owner-group")
            .arg(format!("-Z{compression}"))
            .arg("--build")
            .arg(&tree)
            .arg(&deb)
            .output()
            .unwrap();
        if !built.status.success() {
            eprintln!("SKIPPED: {test}: this dpkg-deb does not know {compression}");
            continue;
        }
        let out = directory.path().join(compression);
        let record = make_layer(
            json!([{"kind": "debian", "packages": [deb]}]),
            "none",
            &out,
            1,
        );
        assert_eq!(record.debian_packages[0].version, "1:2.3-4");
        let tar = layer_tar(&out, &record);
        let wanted = format!("usr/share/demo/{long}");
        assert!(
            tar.windows(wanted.len())
                .any(|window| window == wanted.as_bytes())
        );
        // A flipped bit of the data is detected.
        let mut bytes = fs::read(&deb).unwrap();
        if compression != "none" {
            let at = bytes.len() - 100;
            bytes[at] ^= 4;
            fs::write(&deb, &bytes).unwrap();
            let spec = layer_spec(json!([{"kind": "debian", "packages": [deb]}]), "none");
            let result = crateyard_image::layer::make(&spec, &directory.path().join("damaged"), 1);
            let error = result.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(&format!("{compression}.deb")), "{error}");
        }
    }
}

#[test]
fn documents_fit_the_schemas() {
    let test = "documents_fit_the_schemas";
    let schemas =
        PathBuf::from("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema");
    let python = Path::new("/usr/bin/python3");
    if !schemas.join("defs.json").is_file() {
        eprintln!(
            "SKIPPED: {test}: the schemas are not installed \
             (golang-github-opencontainers-image-spec-dev)"
        );
        return;
    }
    let has_module = Command::new(python)
        .args(["-c", "import jsonschema"])
        .output();
    if !has_module.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {test}: python3-jsonschema is not installed");
        return;
    }
    let directory = tempdir().unwrap();
    let layout = demo_image(directory.path());
    let manifest = layout.image(None, None).unwrap().descriptor;
    let config = layout.manifest(&manifest).unwrap().config;
    let spec = serde_json::from_value(
        json!({"version": 1, "name": "demo", "references": ["demo:1"], "layouts": [layout.path()],
            "annotations": {"a": "b"}}),
    );
    let both = directory.path().join("index");
    let index = crateyard_image::multi::make(&spec.unwrap(), &both).unwrap();
    let blob = |root: &Path, descriptor: &crateyard_oci::Descriptor| {
        root.join(descriptor.digest.blob_path())
    };
    let documents = [
        ("image-index-schema.json", layout.path().join("index.json")),
        ("image-index-schema.json", blob(&both, &index)),
        ("image-layout-schema.json", layout.path().join("oci-layout")),
        ("image-manifest-schema.json", blob(layout.path(), &manifest)),
        ("config-schema.json", blob(layout.path(), &config)),
    ];
    for (schema, document) in documents {
        run(Command::new(python)
            .arg("-c")
            .arg(VALIDATE)
            .arg(&schemas)
            .arg(schema)
            .arg(&document));
    }
    // The check itself must be able to fail.
    let broken = directory.path().join("broken.json");
    fs::write(
        &broken,
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":-1}]}"#,
    )
    .unwrap();
    let output = Command::new(python)
        .arg("-c")
        .arg(VALIDATE)
        .arg(&schemas)
        .arg("image-index-schema.json")
        .arg(&broken)
        .output();
    let errors = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(errors.contains("ValidationError"), "{errors}");
}

/// Validates a document against a schema. The schemas refer to each other by addresses whose last
/// part is the file name.
const VALIDATE: &str = r#"
import json, os, sys
import jsonschema
directory, name, document = sys.argv[1:]
class Local(jsonschema.RefResolver):
    def resolve_remote(self, uri):
        return json.load(open(os.path.join(directory, os.path.basename(uri))))
schema = json.load(open(os.path.join(directory, name)))
resolver = Local(base_uri=schema.get("id", ""), referrer=schema)
jsonschema.Draft4Validator(schema, resolver=resolver).validate(json.load(open(document)))
"#;

/// Returns a file's attributes with these capabilities, in a specification's format.
fn in_base64(capabilities: &Capabilities) -> Value {
    let all = [(CAPABILITY_ATTRIBUTE.to_owned(), capabilities.attribute())];
    base64_values::serialize(&all.into(), serde_json::value::Serializer).unwrap()
}

/// Each capability that setcap writes equals ours, and getcap reads ours.
#[test]
fn setcap_and_getcap_agree_on_every_capability() {
    let test = "setcap_and_getcap_agree_on_every_capability";
    let tools = ["setcap", "getcap", "tar"];
    if !is_root(test) || !tools.iter().all(|tool| has_tool(test, tool)) {
        return;
    }
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let one = |name: &&'static str| vec![*name];
    let mut sets: Vec<Vec<&str>> = CAPABILITY_NAMES.iter().map(one).collect();
    sets.push(vec!["cap_net_bind_service", "cap_sys_nice", "cap_bpf"]);
    let ours = |set: &Vec<&str>| Capabilities::named(set.iter().copied()).unwrap();
    fs::create_dir(path("theirs")).unwrap();
    let mut sources = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        let file = path("theirs").join(number.to_string());
        fs::write(&file, "").unwrap();
        run(Command::new("setcap")
            .arg(format!("{}=ep", set.join(",")))
            .arg(&file));
        sources.push(
            json!({"kind": "text", "to": format!("/{number}"), "text": "",
                            "xattrs": in_base64(&ours(set))}),
        );
    }
    let kept = ["--format=pax", "--xattrs", "--xattrs-include=*", "-C"];
    let mut pack = Command::new("tar");
    let theirs = run(pack.args(kept).arg(path("theirs")).args(["-c", "."])).stdout;
    let mut reader = crateyard_oci::tar::Reader::new(&theirs[..]);
    let mut compared = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        let name = String::from_utf8(entry.path.clone()).unwrap();
        let Ok(number) = name.trim_start_matches("./").parse::<usize>() else {
            continue;
        };
        let attribute = &entry.xattrs[CAPABILITY_ATTRIBUTE];
        assert_eq!(
            *attribute,
            ours(&sets[number]).attribute(),
            "{:?}",
            sets[number]
        );
        compared += 1;
    }
    assert_eq!(compared, sets.len());
    make_layer(Value::Array(sources), "none", &path("layer"), 1);
    fs::create_dir(path("ours")).unwrap();
    run(Command::new("tar")
        .args(kept)
        .arg(path("ours"))
        .arg("-xf")
        .arg(path("layer/blob")));
    for (number, set) in sets.iter().enumerate() {
        let file = path("ours").join(number.to_string());
        let said = stdout(Command::new("getcap").arg(&file));
        let expected = format!("{} {}", file.display(), ours(set));
        assert_eq!(said.trim(), expected);
    }
}
