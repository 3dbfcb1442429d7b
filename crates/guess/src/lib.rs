//! Guesses a first `images.toml` from the files of a workspace, with an image for each program that
//! the workspace ships.
//!
//! Every guess has a reason, and so has every program without an image. A reader quickly sees which
//! guesses to correct.

mod charts;
mod dockerfiles;
mod files;
mod image;
mod metadata;
mod modules;
mod names;
mod ports;
mod revision;
mod setcap;
mod shipped;
mod sources;
mod text;
mod tree;

use std::collections::BTreeMap;

use dockerfiles::Dockerfile;
use image::Image;
use metadata::Metadata;
use text::Inputs;

/// A guessed description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The text of `images.toml`.
    pub text: String,
    /// The names of its images.
    pub images: Vec<String>,
    /// The image that a user most likely wants.
    pub main: Option<String>,
    /// The reasons for the guesses, as sentences.
    pub reasons: Vec<String>,
}

/// Guesses a description from the output of `cargo metadata --no-deps` and the workspace's files.
/// `owner` is the owner of the repository. It is the vendor of images whose packages name nobody.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut cargo = std::process::Command::new("cargo");
/// cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
/// let guess = crateyard_guess::guess(&String::from_utf8(cargo.output()?.stdout)?, None)?;
/// std::fs::write("images.toml", guess.text)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Fails if the metadata is malformed.
pub fn guess(metadata: &str, owner: Option<&str>) -> Result<Guess, serde_json::Error> {
    let metadata: Metadata = serde_json::from_str(metadata)?;
    let root = metadata.workspace_root.clone();
    let mut reasons = Vec::new();
    let dockerfiles = dockerfiles::below(&root);
    let shipped = shipped::select(&metadata, &dockerfiles);
    let mut images = names::images(&shipped.programs);
    let is_started = |image: &Image| dockerfiles.iter().any(|file| is_started(image, file));
    let main = names::main(&images, &root, is_started).map(|image| image.name.clone());
    let directories: Vec<_> = metadata.packages.iter().map(|p| p.directory()).collect();
    let mut crates = BTreeMap::new();
    for package in &metadata.packages {
        let sources = sources::of(package, &directories);
        let own = images
            .iter_mut()
            .filter(|image| image.package.id == package.id);
        for image in own {
            reasons.push(format!("image {}: {}", image.name, image.why));
            let is_main = main.as_ref() == Some(&image.name);
            if let Some(owner) = owner.filter(|_| !package.has_supplier()) {
                image.vendor = Some(owner.to_owned());
                reasons.push(format!(
                    "image {}: the vendor {owner}, who owns git's remote origin: its manifest \
                     names neither authors nor a repository",
                    image.name
                ));
            }
            image.capabilities = capabilities_of(image, &dockerfiles, &mut reasons);
            image.ports = ports_of(image, is_main, &dockerfiles, &sources, &mut reasons);
        }
        // Packages that no image needs are not built, so ignore their files.
        if !shipped.closure.contains(&package.id) {
            continue;
        }
        let inputs = Inputs {
            files: files::outside(package, &root, &sources, &mut reasons),
            revision: revision::is_asked(package, &sources, &mut reasons),
        };
        if inputs.revision || !inputs.files.is_empty() {
            crates.insert(package.name.clone(), inputs);
        }
    }
    charts::assign(&mut images, charts::below(&root), &mut reasons);
    reasons.extend(
        shipped
            .left_out
            .iter()
            .map(|left| format!("no image for {left}")),
    );
    Ok(Guess {
        text: text::images_toml(&images, &crates, &shipped.left_out),
        main: names::main(&images, &root, is_started).map(|image| image.name.clone()),
        images: images.into_iter().map(|image| image.name).collect(),
        reasons,
    })
}

/// Whether a Dockerfile ships an image's program, and starts it by name.
fn is_started(image: &Image<'_>, file: &Dockerfile) -> bool {
    let ships = file.holds(image.package, image.bin);
    let stage = file.stage_of(image.bin).filter(|_| ships);
    // A stage that names no program starts any, also one without a name.
    stage.is_some_and(|stage| stage.starts(image.bin) && !stage.starts(""))
}

/// Returns the capabilities that an image's Dockerfile gives its program.
fn capabilities_of(
    image: &Image<'_>,
    dockerfiles: &[Dockerfile],
    reasons: &mut Vec<String>,
) -> Vec<String> {
    let mut files = dockerfiles.iter();
    let own = files.find_map(|file| Some((file, file.capabilities.get(image.bin)?)));
    let Some((file, capabilities)) = own else {
        return Vec::new();
    };
    let capabilities: Vec<String> = capabilities.iter().cloned().collect();
    reasons.push(format!(
        "image {}: {}, which {} gives {} by setcap",
        image.name,
        capabilities.join(", "),
        file.path,
        image.bin
    ));
    capabilities
}

/// Returns the ports that an image's Dockerfile exposes, or the port in its program's sources.
fn ports_of(
    image: &Image<'_>,
    is_main: bool,
    dockerfiles: &[Dockerfile],
    sources: &[sources::Source],
    reasons: &mut Vec<String>,
) -> Vec<crateyard_spec::Port> {
    let own = dockerfiles
        .iter()
        .find(|file| file.holds(image.package, image.bin))
        .and_then(|file| Some((file, file.stage_of(image.bin)?)));
    // If a stage holds several programs, only the one that it starts listens. A script may
    // start the main one.
    if own.is_some_and(|(_, stage)| !is_main && !stage.starts(image.bin)) {
        return Vec::new();
    }
    if let Some((file, stage)) = own.filter(|(_, stage)| !stage.ports.is_empty()) {
        let ports: Vec<_> = stage.ports.iter().copied().collect();
        reasons.push(format!(
            "image {}: {}, which {} exposes",
            image.name,
            text::ports(&ports),
            file.path
        ));
        return ports;
    }
    match ports::of(image.package, image.bin, sources) {
        ports::Found::One(ports, place) => {
            reasons.push(format!(
                "image {}: {}, which {place} names",
                image.name,
                text::ports(&ports)
            ));
            ports
        }
        ports::Found::Several(places) => {
            reasons.push(format!(
                "image {}: no port, because its sources name several ({}): add `ports`",
                image.name,
                places.join(", ")
            ));
            Vec::new()
        }
        ports::Found::None => Vec::new(),
    }
}
