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
    let binaries = fields.binaries.iter().flatten();
    let files = fields.files.iter().flatten();
    let mut claims: Vec<Claim> = binaries.filter_map(|it| of_binary(it, bin)).collect();
    claims.extend(files.flat_map(|it| of_file(it, sources)));
    claims.extend(fields.downloads.iter().flatten().map(|download| Claim {
        path: download.file.destination(),
        span: download.file.path.span(),
        what: own_part::shown(&download.name),
        open: download.part.is_unpacked(),
    }));
    claims.extend(fields.directories.iter().flatten().map(|directory| Claim {
        open: true,
        ..Claim::of(&directory.path, "a directory".to_string())
    }));
    let links = fields.links.iter().flatten();
    claims.extend(links.map(|it| Claim::of(&it.path, format!("a link to `{}`", it.target))));
    claims.extend(fields.charts.iter().flatten().map(of_chart));
    let images = fields.images.iter().flatten();
    let named = |it: &Bundled| format!("the image `{}`", it.image.get_ref());
    claims.extend(images.map(|it| Claim::of(&it.path, named(it))));
    claims
}

impl Claim {
    /// Returns the claim of something that is not a directory to the path where it is declared.
    fn of(path: &Spanned<String>, what: String) -> Claim {
        Claim {
            path: path.get_ref().clone(),
            span: path.span(),
            what,
            open: false,
        }
    }
}

fn of_binary(binary: &Binary, bin: &dyn Fn(&Binary) -> Option<String>) -> Option<Claim> {
    let declared = binary.bin.as_ref().map(|bin| bin.get_ref().clone());
    let name = declared.or_else(|| bin(binary));
    let shown = name.as_deref().unwrap_or(binary.package.get_ref());
    let what = format!("the binary `{shown}`");
    if let Some(path) = &binary.path {
        return Some(Claim::of(path, what));
    }
    name.map(|name| Claim {
        path: format!("/usr/bin/{name}"),
        span: binary.package.span(),
        what,
        open: false,
    })
}

/// Returns the claims of a file, and of the files in it if it is a directory.
fn of_file(file: &File, sources: &Sources) -> Vec<Claim> {
    let path = file.destination();
    let claim = |path: String, what: String, open: bool| Claim {
        path,
        span: file.path.span(),
        what,
        open,
    };
    let source = match file.content.get_ref() {
        Content::Text(_) => return vec![claim(path, "a text".to_string(), false)],
        // Only a build sees whether the part is a directory.
        Content::Part { name, .. } => return vec![claim(path, format!("the part `{name}`"), true)],
        Content::Source(source) => source,
    };
    let mut claims = Vec::new();
    let found = sources.find(source);
    if let Found::Directory(files) = &found {
        let top = path.trim_end_matches('/');
        claims.extend(
            files
                .iter()
                .map(|name| claim(format!("{top}/{name}"), format!("`{source}/{name}`"), false)),
        );
    }
    let is_file = matches!(found, Found::File);
    claims.push(claim(path, format!("`{source}`"), !is_file));
    claims
}

fn of_chart(chart: &Chart) -> Claim {
    let source = chart.source.get_ref();
    let mut claim = Claim::of(&chart.path, format!("the chart `{source}`"));
    if claim.path.ends_with('/') {
        claim.path += &format!("{}-VERSION.tgz", last_part(source));
    }
    claim
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
        if let Some(other) = same_path(earlier, claim) {
            problems.push(two_contents(source, image, other, claim));
        } else if let Some(other) = earlier
            .iter()
            .find(|other| !other.open && is_under(&claim.path, &other.path))
        {
            problems.push(under_file(source, other, claim));
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

/// Returns an earlier claim to the same path. A declared directory may also be a copied one: the
/// declaration then gives owner and mode.
fn same_path<'a>(earlier: &'a [Claim], claim: &Claim) -> Option<&'a Claim> {
    let is_declared = |claim: &Claim| claim.what == "a directory";
    let mut same = earlier
        .iter()
        .rev()
        .take_while(|other| other.path == claim.path);
    same.find(|other| !(other.open && claim.open && is_declared(other) != is_declared(claim)))
}

fn two_contents(source: &Source, image: &Image, one: &Claim, other: &Claim) -> Problem {
    let (first, second) = if one.span.start <= other.span.start {
        (one, other)
    } else {
        (other, one)
    };
    let message = format!(
        "`{}` in the image `{}` has two contents: {} and {}",
        second.path,
        image.name.get_ref(),
        first.what,
        second.what
    );
    source
        .problem(second.span.clone(), message)
        .note_at(source, first.span.clone(), "the first is")
        .help("give one of them another path")
}

fn under_file(source: &Source, file: &Claim, below: &Claim) -> Problem {
    let message = format!(
        "`{}` can't stand under `{}`, which is {} and no directory",
        below.path, file.path, file.what
    );
    source
        .problem(below.span.clone(), message)
        .note_at(source, file.span.clone(), "that is")
        .help("give one of them another path")
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
