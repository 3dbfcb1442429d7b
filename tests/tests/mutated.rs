//! Readers of what comes from elsewhere accept or refuse any bytes, without panics, without aborts,
//! and in bounded memory.

use crateyard_attestation::provenance::{Statement, compare};
use crateyard_audit::subject::Subject;
use crateyard_cache::packs::PackIndex;
use crateyard_debian::release::Release;
use crateyard_fetch::package_lock;
use crateyard_image::attestation::spdx::Document;
use crateyard_nix::NarInfo;
use crateyard_oci::Digest;
use crateyard_signing::{
    Bundle, Keyless, SecretKey, Services, Token, TrustedRoot, Web, image_statement,
};
use crateyard_testing::mutations::survive;
use crateyard_testing::sigstore::{Sigstore, token};
use crateyard_toolchain::manifest::ChannelManifest;
use crateyard_unpack::deb::DebReader;
use std::io::{Cursor, Read};

/// Whole inputs.
const CHANNEL: &[u8] = include_bytes!("whole/channel.toml");
const NPM_LOCK: &[u8] = include_bytes!("whole/package-lock.json");
const NPM_MANIFEST: &[u8] = include_bytes!("whole/package.json");
const RELEASE: &[u8] = include_bytes!("whole/Release");
const PROVENANCE: &[u8] = include_bytes!("whole/provenance.json");
const BILL: &[u8] = include_bytes!("whole/sbom.spdx.json");

/// The number of bytes of an archive's content that are read.
const CONTENT: u64 = 1 << 20;

const NARINFO: &str = "StorePath: /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello-2.12\n\
    URL: nar/0000000000000000000000000000000000000000000000000000.nar.zst\nCompression: zstd\n\
    FileHash: sha256:0000000000000000000000000000000000000000000000000000\nFileSize: 512\n\
    NarHash: sha256:0000000000000000000000000000000000000000000000000000\nNarSize: 1024\n\
    References: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-glibc-2.36 cccccccccccccccccccccccccccccccc-size\n\
    Deriver: dddddddddddddddddddddddddddddddd-hello-2.12.drv\nSig: main-1:\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n";

const PACKAGES: &str = "\
Package: libc6
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4
Architecture: amd64
Multi-Arch: same
Priority: optional
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~) | libxcrypt
Breaks: nscd (<< 2.36)
Provides: libc (= 2.36), glibc
Filename: pool/main/g/glibc/libc6_2.36-9_amd64.deb
Size: 2757892
SHA256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
Description: GNU C Library
 Shared libraries.
 .
 More.

Package: mawk
Version: 1.3.4
Architecture: all
Filename: pool/m.deb
Size: 1
SHA256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

";

fn index() -> String {
    let pack = serde_json::json!({
        "digest": format!("sha256:{}", "0".repeat(64)),
        "size": 4096,
        "entries": [{ "narinfo": NARINFO, "offset": 1024 }],
    });
    let path = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello-2.12";
    let builds = serde_json::json!({ "main": { "pushed": 1_700_000_000, "paths": [path] } });
    serde_json::json!({ "version": 1, "packs": [pack], "builds": builds }).to_string()
}

/// Makes an `ar` archive with uncompressed parts, as dpkg takes it.
fn deb() -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    let control = tar(
        "./control",
        b"Package: thing\nVersion: 1\nArchitecture: all\n",
    );
    let data = tar("./usr/share/thing/file", &[b'x'; 600]);
    let parts: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control),
        ("data.tar", &data),
    ];
    for (name, content) in parts {
        let header = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            "100644",
            content.len()
        );
        archive.extend(header.as_bytes());
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive
}

fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\x000000000\x000000000\0");
    put(
        124,
        &format!("{:011o}\x0000000000000\0        0", content.len()),
    );
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

#[test]
fn narinfos() {
    survive("narinfos", &[NARINFO.into()], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let info = NarInfo::parse(&text, "here");
        info.is_ok_and(|info| NarInfo::parse(&info.to_string(), "here").is_ok())
    });
}

#[test]
fn indexes_of_packs() {
    survive("indexes of packs", &[index().into()], |bytes| {
        PackIndex::parse(bytes, "here").is_ok_and(|index| index.infos("here").is_ok())
    });
}

#[test]
fn indexes_of_debian() {
    survive("Packages files", &[PACKAGES.into()], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let packages = crateyard_debian::index::parse(&text, "Packages", 0);
        packages.is_ok_and(|packages| {
            let relations = packages
                .iter()
                .map(|it| crateyard_debian::relation::parse_groups(&it.depends));
            relations.filter(Result::is_err).count() == 0
        })
    });
}

#[test]
fn packages_of_debian() {
    survive("Debian packages", &[deb()], |bytes| {
        let Ok(deb) = DebReader::new(Cursor::new(bytes)) else {
            return false;
        };
        let is_named = deb.required_field("Package").is_ok();
        let read = deb.into_data().take(CONTENT).read_to_end(&mut Vec::new());
        is_named && read.is_ok()
    });
}

#[test]
fn manifests_of_channels() {
    const HOST: &str = "x86_64-unknown-linux-gnu";
    survive("manifests of channels", &[CHANNEL.into()], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let manifest = ChannelManifest::parse(&text, "here");
        manifest.is_ok_and(|it| it.release().is_ok() && it.archive("rustc", HOST).is_ok())
    });
}

#[test]
fn locks_of_npm() {
    let manifest = std::str::from_utf8(NPM_MANIFEST).unwrap();
    survive("locks of npm", &[NPM_LOCK.into()], |bytes| {
        package_lock::check(manifest, &String::from_utf8_lossy(bytes)).is_ok()
    });
    let lock = std::str::from_utf8(NPM_LOCK).unwrap();
    survive("manifests of npm", &[NPM_MANIFEST.into()], |bytes| {
        package_lock::check(&String::from_utf8_lossy(bytes), lock).is_ok()
    });
}

#[test]
fn release_files() {
    survive("release files", &[RELEASE.into()], |bytes| {
        Release::parse(&String::from_utf8_lossy(bytes)).is_ok()
    });
}

#[test]
fn documents_about_images() {
    let whole = Statement::parse(PROVENANCE).unwrap();
    survive("provenances", &[PROVENANCE.into()], |bytes| {
        let read = Statement::parse(bytes);
        read.is_ok_and(|statement| {
            compare(&whole, &statement);
            compare(&statement, &statement).is_empty()
        })
    });
    let (digest, platform) = (Digest::of(b""), "linux/amd64".parse().unwrap());
    survive("bills of materials", &[BILL.into()], |bytes| {
        let read = Document::parse(bytes);
        read.is_ok_and(|bill| {
            Subject::new(&digest, &platform, &bill, Some(&whole));
            !bill.crates().is_empty()
        })
    });
}

#[test]
fn bundles_of_signatures() {
    let sigstore = Sigstore::start();
    let services = Services {
        fulcio: sigstore.url(),
        rekor: sigstore.url(),
        web: Web::default(),
    };
    let token = Token::parse(&token("team/shop/.github/workflows/a.yml@refs/heads/main")).unwrap();
    let digest = Digest::of(b"").to_string();
    let signer = Keyless::begin(&token, &services).unwrap();
    let bundle = signer.sign(&image_statement(&digest)).unwrap();
    let text = sigstore.trusted_root().to_string().into_bytes();
    let root = TrustedRoot::parse(&text).unwrap();
    let key = SecretKey::generate().public();
    survive("trusted roots", &[text], |bytes| {
        TrustedRoot::parse(bytes).is_ok()
    });
    survive("bundles", &[bundle.to_bytes()], |bytes| {
        let bundle = Bundle::parse(bytes);
        bundle.is_ok_and(|bundle| {
            let _ = bundle.verify(&key, &digest);
            let _ = bundle.verify_identity(&root, &digest);
            bundle.predicate_type().is_some() || bundle.has_certificate()
        })
    });
}
