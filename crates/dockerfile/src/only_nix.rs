//! Finds features of a description that no Dockerfile can build.

use crateyard_description::normal::{Description, Source};
use crateyard_description::own_part;
use crateyard_spec::CAPABILITY_ATTRIBUTE;

/// Returns them all, for people, in the order of the description.
pub(crate) fn things(description: &Description) -> Vec<String> {
    let crates = description.crates.iter().flat_map(|(name, each)| {
        let parts = each.parts.iter();
        parts.map(move |it| format!("{} of the crate `{name}`", own_part::shown(&it.part)))
    });
    let images = description.images.iter().flat_map(|(name, image)| {
        let parts = image.parts();
        let parts = parts.map(own_part::shown);
        let attributes = image.sources().filter_map(attributes);
        let things = parts.chain(attributes);
        things.map(move |thing| format!("{thing} of the image `{name}`"))
    });
    let steps = description.images.iter().flat_map(|(name, image)| {
        let steps = image.steps();
        steps.map(move |run| format!("the step `{}` of the image `{name}`", run.join(" ")))
    });
    crates.chain(images).chain(steps).collect()
}

/// Names the attributes that a source gives its file; `COPY` can't give any.
fn attributes(source: &Source) -> Option<String> {
    let what = match source.xattrs()?.contains_key(CAPABILITY_ATTRIBUTE) {
        true => "capabilities",
        false => "extended attributes",
    };
    Some(format!(
        "the {what} of `{}`",
        source.to().unwrap_or_default()
    ))
}
