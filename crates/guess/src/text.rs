//! Writes the text of `images.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crateyard_spec::Port;

use crate::image::Image;
use crate::shipped::LeftOut;

/// What a package's units see besides its own files.
#[derive(Debug, PartialEq)]
pub(crate) struct Inputs {
    /// Files and directories, relative to the package.
    pub files: BTreeSet<String>,
    /// Whether they see the revision.
    pub revision: bool,
}

/// Returns the text of the whole file.
pub(crate) fn images_toml(
    images: &[Image<'_>],
    crates: &BTreeMap<String, Inputs>,
    left_out: &[LeftOut],
) -> String {
    let mut text = "# The images. Every field: \
                    https://github.com/crateyard/crateyard/blob/main/docs/images-toml.md\nversion \
                    = 1\n"
        .to_string();
    // Writing to a string cannot fail.
    for image in images {
        let _ = write!(
            text,
            "\n[images.{}]\nbinaries = [{}]\n",
            image.name,
            binary(image)
        );
        if !image.ports.is_empty() {
            let ports: Vec<String> = image.ports.iter().map(port).collect();
            let _ = writeln!(text, "ports = [{}]", ports.join(", "));
        }
        text += &charts(&image.charts);
        if let Some(vendor) = &image.vendor {
            let label = "org.opencontainers.image.vendor";
            let _ = writeln!(text, "labels = {{ \"{label}\" = {} }}", string(vendor));
        }
    }
    for (name, inputs) in crates {
        let _ = writeln!(text, "\n[crates.{}]", key(name));
        let files: Vec<String> = inputs.files.iter().map(|file| string(file)).collect();
        if !files.is_empty() {
            let _ = writeln!(text, "files = [{}]", files.join(", "));
        }
        if inputs.revision {
            text += "revision = true\n";
        }
    }
    if !left_out.is_empty() {
        text += "\n# No images for:\n";
        for left in left_out {
            let _ = writeln!(text, "#   {left}");
        }
    }
    text
}

/// Returns the element of `binaries`: a string if that is enough.
fn binary(image: &Image<'_>) -> String {
    let package = &image.package.name;
    if image.capabilities.is_empty() {
        return string(&match image.target() {
            None => package.clone(),
            Some(bin) => format!("{package}/{bin}"),
        });
    }
    let bin = image.target();
    let bin = bin.map_or(String::new(), |bin| format!("bin = {}, ", string(bin)));
    let names: Vec<String> = image.capabilities.iter().map(|it| string(it)).collect();
    let (package, names) = (string(package), names.join(", "));
    format!("{{ package = {package}, {bin}capabilities = [{names}] }}")
}

fn charts(charts: &[String]) -> String {
    let chart = |chart: &String| {
        let source = string(chart);
        format!("{{ source = {source}, path = \"/usr/share/charts/\" }}")
    };
    let charts: Vec<String> = charts.iter().map(chart).collect();
    match charts.as_slice() {
        [] => String::new(),
        [only] => format!("charts = [{only}]\n"),
        several => format!("charts = [\n  {},\n]\n", several.join(",\n  ")),
    }
}

/// Writes a port as in `images.toml`.
fn port(port: &Port) -> String {
    match port.is_tcp() {
        true => port.number().to_string(),
        false => format!("\"{port}\""),
    }
}

/// Writes ports for a sentence.
pub(crate) fn ports(ports: &[Port]) -> String {
    let written: Vec<String> = ports.iter().map(|it| port(it).replace('"', "")).collect();
    match written.as_slice() {
        [only] => format!("port {only}"),
        several => format!("ports {}", several.join(", ")),
    }
}

/// Writes a TOML string on one line.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Writes a TOML key, bare if possible.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => string(name),
    }
}
