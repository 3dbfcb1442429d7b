//! Chooses valid and unique names for images.

use std::path::Path;

use crate::image::{Image, Program};

/// Returns an image for each program, sorted by name.
pub(crate) fn images<'m>(programs: &[Program<'m>]) -> Vec<Image<'m>> {
    let mut images: Vec<Image> = Vec::new();
    for program in programs {
        let name = unique(wanted(program, programs), &images);
        images.push(Image {
            name,
            package: program.package,
            bin: program.bin,
            why: program.why.clone(),
            ports: Vec::new(),
            charts: Vec::new(),
            capabilities: Vec::new(),
            vendor: None,
        });
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    images
}

/// Returns the name for a program's image: the program's own, or with the package's name before it
/// if the name would not be unique.
fn wanted(program: &Program, programs: &[Program]) -> String {
    let own = valid(program.bin);
    let rivals: Vec<&Program> = programs
        .iter()
        .filter(|other| valid(other.bin) == own)
        .collect();
    let is_named = |program: &&&Program| program.bin == program.package.name;
    let is_only = rivals.len() == 1;
    let is_first = is_named(&&program) && rivals.iter().filter(is_named).count() == 1;
    match (is_only || is_first) && !crateyard_description::is_reserved(&own) {
        true => own,
        false if is_named(&&program) => format!("{own}-app"),
        false => valid(&format!("{}-{}", program.package.name, program.bin)),
    }
}

fn unique(name: String, images: &[Image]) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let is_free = |name: &String| images.iter().all(|image| image.name != *name);
    names.find(is_free).unwrap_or(name)
}

/// Turns a text into the name of an image: in lower case, with `-` for invalid characters.
fn valid(text: &str) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_') => c,
        _ => '-',
    };
    let name: String = text.chars().map(allowed).collect();
    let name = name.trim_matches(['-', '_']).replace("___", "_");
    match crateyard_description::image_name(&name) {
        Ok(()) => name,
        Err(_) => "app".to_owned(),
    }
}

/// Returns the image that a user most likely wants: the one named like the repository, the one of
/// `default-run`, the only one that a Dockerfile starts, or the only server.
pub(crate) fn main<'i, 'm>(
    images: &'i [Image<'m>],
    root: &Path,
    is_started: impl Fn(&Image<'_>) -> bool,
) -> Option<&'i Image<'m>> {
    let only = |wanted: &dyn Fn(&&Image) -> bool| {
        let mut found = images.iter().filter(wanted);
        found.next().filter(|_| found.next().is_none())
    };
    let is_named_like = |name: &str| {
        let name = plain(name);
        move |image: &&Image| plain(image.bin) == name || plain(&image.package.name) == name
    };
    let repositories = images
        .iter()
        .filter_map(|image| image.package.repository.as_deref());
    let repositories = repositories.map(|url| url.trim_end_matches('/').trim_end_matches(".git"));
    let mut names: Vec<&str> = repositories
        .filter_map(|url| url.rsplit('/').next())
        .collect();
    names.extend(root.file_name().and_then(|name| name.to_str()));
    let is_run = |image: &&Image| image.package.default_run.as_deref() == Some(image.bin);
    let named = names.iter().find_map(|name| {
        let of_binary = images.iter().find(|image| plain(image.bin) == plain(name));
        of_binary.or_else(|| only(&is_named_like(name)))
    });
    named
        .or_else(|| only(&is_run))
        .or_else(|| only(&|image| is_started(image)))
        .or_else(|| only(&|image| !image.ports.is_empty()))
        .or_else(|| only(&|image| image.package.directory() == root))
        .or_else(|| images.iter().find(|image| image.bin.ends_with("server")))
        .or(images.first())
}

/// Normalizes a name for comparisons: lower case, `-` for `_` and `.`, no `-rs` at its end.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace(['_', '.'], "-");
    name.trim_end_matches("-rs").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid() {
        for (text, name) in [
            ("Tool", "tool"),
            ("_x_", "x"),
            ("größe", "gr--e"),
            ("日本", "app"),
            ("a___b", "a_b"),
        ] {
            assert_eq!(valid(text), name);
            assert_eq!(crateyard_description::image_name(name), Ok(()));
        }
    }
}
