//! Collects the paths that an image's contents claim, and checks that they fit together.

use std::ops::Range;

use crate::model::*;
use crate::own_part;
use crate::problem::{Problem, Source};
use crate::sources::{Found, Sources};
use crate::value::last_part;

/// A path at which an image's description puts something.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    path: String,
    span: Range<usize>,
    what: String,
    /// Whether other things may be under it.
    open: bool,
}

/// Returns all paths that `image` claims. `bin` gives the name of a binary that the description
/// does not name; if it can't yet, the binary claims nothing. Looks into directories of the
/// workspace as far as `sources` knows them.
pub(crate) fn claims(
    image: &Image,
    bin: &dyn Fn(&Binary) -> Option<String>,
    sources: &Sources,
) -> Vec<Claim> {
    let fields = &image.fields;
    let mut claims = Vec::new();
    let mut claim = |path: String, span: Range<usize>, what: String, open: bool| {
        claims.push(Claim {
            path,
            span,
            what,
            open,
        });
    };
    for binary in fields.binaries.iter().flatten() {
        let name = binary
            .bin
            .as_ref()
            .map(|bin| bin.get_ref().clone())
            .or_else(|| bin(binary));
        let what = format!(
            "the binary `{}`",
            name.as_deref().unwrap_or(binary.package.get_ref())
        );
        match (&binary.path, name) {
            (Some(path), _) => claim(path.get_ref().clone(), path.span(), what, false),
            (None, Some(name)) => claim(
                format!("/usr/bin/{name}"),
                binary.package.span(),
                what,
                false,
            ),
            (None, None) => {}
        }
    }
    for file in fields.files.iter().flatten() {
        let path = file.destination();
        match file.content.get_ref() {
            Content::Text(_) => claim(path, file.path.span(), "a text".to_string(), false),
            // Only a build sees whether the part is a directory.
            Content::Part { name, .. } => {
                claim(path, file.path.span(), format!("the part `{name}`"), true);
            }
            Content::Source(source) => match sources.find(source) {
                Found::Directory(files) => {
                    for name in files {
                        claim(
                            format!("{}/{name}", path.trim_end_matches('/')),
                            file.path.span(),
                            format!("`{source}/{name}`"),
                            false,
                        );
                    }
                    claim(path, file.path.span(), format!("`{source}`"), true);
                }
                Found::File => claim(path, file.path.span(), format!("`{source}`"), false),
                Found::Unknown | Found::Nothing => {
                    claim(path, file.path.span(), format!("`{source}`"), true);
                }
            },
        }
    }
    for download in fields.downloads.iter().flatten() {
        claim(
            download.file.destination(),
            download.file.path.span(),
            own_part::shown(&download.name),
            download.part.is_unpacked(),
        );
    }
    for directory in fields.directories.iter().flatten() {
        claim(
            directory.path.get_ref().clone(),
            directory.path.span(),
            "a directory".to_string(),
            true,
        );
    }
    for link in fields.links.iter().flatten() {
        claim(
            link.path.get_ref().clone(),
            link.path.span(),
            format!("a link to `{}`", link.target),
            false,
        );
    }
    for chart in fields.charts.iter().flatten() {
        let path = chart.path.get_ref();
        let path = match path.ends_with('/') {
            true => format!("{path}{}-VERSION.tgz", last_part(chart.source.get_ref())),
            false => path.clone(),
        };
        claim(
            path,
            chart.path.span(),
            format!("the chart `{}`", chart.source.get_ref()),
            false,
        );
    }
    for bundled in fields.images.iter().flatten() {
        claim(
            bundled.path.get_ref().clone(),
            bundled.path.span(),
            format!("the image `{}`", bundled.image.get_ref()),
            false,
        );
    }
    claims
}

/// Reports two things at one path, things under a file, and things behind one of Debian's links.
pub(crate) fn check_paths(
    source: &Source,
    image: &Image,
    mut claims: Vec<Claim>,
    problems: &mut Vec<Problem>,
) {
    claims.sort_by(|a, b| (&a.path, a.span.start).cmp(&(&b.path, b.span.start)));
    for (index, claim) in claims.iter().enumerate() {
        let earlier = &claims[..index];
        // A declared directory may also be a copied one: the declaration then gives owner and mode.
        let same = earlier
            .iter()
            .rev()
            .take_while(|other| other.path == claim.path)
            .find(|other| {
                !(other.open
                    && claim.open
                    && (other.what == "a directory") != (claim.what == "a directory"))
            });
        if let Some(other) = same {
            let (first, second) = if other.span.start <= claim.span.start {
                (other, claim)
            } else {
                (claim, other)
            };
            let message = format!(
                "`{}` in the image `{}` has two contents: {} and {}",
                claim.path,
                image.name.get_ref(),
                first.what,
                second.what
            );
            problems.push(
                source
                    .problem(second.span.clone(), message)
                    .note_at(source, first.span.clone(), "the first is")
                    .help("give one of them another path"),
            );
            continue;
        }
        let above = earlier
            .iter()
            .find(|other| !other.open && is_under(&claim.path, &other.path));
        if let Some(other) = above {
            let message = format!(
                "`{}` can't stand under `{}`, which is {} and no directory",
                claim.path, other.path, other.what
            );
            problems.push(
                source
                    .problem(claim.span.clone(), message)
                    .note_at(source, other.span.clone(), "that is")
                    .help("give one of them another path"),
            );
        }
    }
    let foreign = image
        .fields
        .base
        .as_ref()
        .is_some_and(|base| base.get_ref().is_foreign() || *base.get_ref() == Base::None);
    if !foreign {
        check_merged_usr(source, &claims, problems);
    }
}

/// Reports paths behind Debian's links from `/bin` and similar paths into `/usr`: a layer with a
/// directory there would cover the link, and everything behind it.
fn check_merged_usr(source: &Source, claims: &[Claim], problems: &mut Vec<Problem>) {
    for claim in claims {
        let link = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]
            .into_iter()
            .find(|link| claim.path == *link || is_under(&claim.path, link));
        if let Some(link) = link {
            let message = format!(
                "`{}` would cover `{link}`, which is a link to `/usr{link}` in Debian",
                claim.path
            );
            problems.push(
                source
                    .problem(claim.span.clone(), message)
                    .help(format!("write `/usr{}`", claim.path)),
            );
        }
    }
}

fn is_under(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}
