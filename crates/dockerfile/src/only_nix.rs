//! What a description may ask for, and no Dockerfile can build.

use crateyard_description::normal::Description;

/// All of it, for people, in the order of the description.
pub(crate) fn things(description: &Description) -> Vec<String> {
    let crates = description.crates.iter().flat_map(|(name, each)| {
        let parts = each.parts.iter();
        parts.map(move |part| format!("the part `{}` of the crate `{name}`", part.part))
    });
    let images = description.images.iter().flat_map(|(name, image)| {
        let parts = image.parts();
        parts.map(move |part| format!("the part `{part}` of the image `{name}`"))
    });
    crates.chain(images).collect()
}
