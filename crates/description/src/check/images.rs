//! Checks what images refer to: sets, users, platforms, other images.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::{RESERVED, missing_set};
use crate::model::*;
use crate::problem::{Problem, quoted_list, suggestion};

pub(super) fn check_name(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    let name = image.name.get_ref();
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
        let message = format!("an image can't be named `{name}`");
        let problem = description.source.problem(image.name.span(), message);
        let help = format!("give it another name, for instance `app-{name}`");
        problems.push(problem.note(*why).help(help));
    }
}

pub(super) fn check_base(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    let (base, span) = match &image.fields.base {
        Some(base) => (base.get_ref().clone(), base.span()),
        None => (Base::Set("base".to_string()), image.name.span()),
    };
    if let Base::Set(set) = &base {
        if !description.debian.sets.contains_key(set) {
            let user = format!("the image `{}`", image.name.get_ref());
            let problem = missing_set(description, set, span.clone(), &user);
            problems.push(match image.fields.base {
                Some(_) => problem,
                None => problem.note(
                    "every image is based on the set `base` unless it has a `base` of its own",
                ),
            });
        }
    }
    let packages = image.fields.packages.as_deref().unwrap_or_default();
    if base.is_foreign() && !packages.is_empty() {
        let message = format!(
            "the image `{}` adds Debian packages to a base that is not made of them",
            image.name.get_ref()
        );
        problems.push(
            description
                .source
                .problem(span, message)
                .note(
                    "the packages of the base are unknown, so no packages can be resolved on top \
                     of it",
                )
                .help("drop `packages`, or take a set of packages as the base"),
        );
    }
}

pub(super) fn check_users(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    let users = description.all_users();
    for name in image.fields.account_names() {
        if description.account(name.get_ref()).is_none() {
            let known = users.iter().map(|user| user.name.as_str());
            let help = suggestion(name.get_ref(), "users", known);
            let message = format!("there is no user `{}`", name.get_ref());
            let problem = description.source.problem(name.span(), message);
            problems.push(problem.help(format!(
                "add [users.{}] with its `uid`, or write a number; {help}",
                name.get_ref()
            )));
        }
    }
}

/// Reports a platform whose architecture `[debian]` does not list: it has neither a base nor a
/// compiler.
pub(super) fn check_platforms(
    description: &Description,
    image: &Image,
    problems: &mut Vec<Problem>,
) {
    let fields = &image.fields;
    let base = fields.base.as_ref().map(|base| base.get_ref());
    let compiles = fields.binaries.as_ref().is_some_and(|it| !it.is_empty());
    if base == Some(&Base::None) && !compiles {
        return;
    }
    let platforms = fields.platforms.iter().flatten();
    let mut wanted: Vec<_> = platforms.map(|it| (it.get_ref(), it.span())).collect();
    let target = fields
        .build
        .as_ref()
        .and_then(|build| build.target.as_ref());
    if let Some(target) = target.filter(|_| fields.platforms.is_none()) {
        wanted.push((&target.get_ref().1, target.span()));
    }
    for (platform, span) in wanted {
        let architecture = platform.debian().to_string();
        if !description.debian.architectures.contains(&architecture) {
            let message = format!(
                "the platform `{platform}` needs Debian's architecture `{architecture}`, which \
                 [debian] does not list"
            );
            let problem = description.source.problem(span, message);
            problems.push(problem.help(format!(
                "add \"{architecture}\" to `architectures` in [debian], then run `assemble lock`"
            )));
        }
    }
}

/// Reports an image that is also for platforms other than its target's: they could not run its
/// programs.
pub(super) fn check_target(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    let build = image.fields.build.as_ref();
    let Some(target) = build.and_then(|build| build.target.as_ref()) else {
        return;
    };
    let (name, platform) = target.get_ref();
    let others = description.platforms(image).into_iter();
    let others: Vec<String> = others
        .filter(|it| it != platform)
        .map(|it| it.to_string())
        .collect();
    if !others.is_empty() {
        let message = format!(
            "the target `{name}` is for {platform}, and the image `{}` for {} too",
            image.name.get_ref(),
            quoted_list(&others)
        );
        let problem = description.source.problem(target.span(), message);
        problems.push(problem.help(format!("write `platforms = [\"{platform}\"]`")));
    }
}

pub(super) fn check_bundled(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    for bundled in image.fields.images.iter().flatten() {
        let name = bundled.image.get_ref();
        match description.images.get(name) {
            None => {
                let known = description.images.keys().map(String::as_str);
                let problem = description
                    .source
                    .problem(bundled.image.span(), format!("there is no image `{name}`"));
                problems.push(problem.help(suggestion(name, "images", known)));
            }
            Some(other) => {
                let has = description.platforms(other);
                let missing: Vec<String> = description
                    .platforms(image)
                    .iter()
                    .filter(|platform| !has.contains(platform))
                    .map(ToString::to_string)
                    .collect();
                if !missing.is_empty() {
                    let message = format!(
                        "the image `{name}` is not built for {}, which `{}` is",
                        quoted_list(&missing),
                        image.name.get_ref()
                    );
                    let problem = description.source.problem(bundled.image.span(), message);
                    problems.push(problem.help(format!(
                        "add {} to the `platforms` of `{name}`",
                        quoted_list(&missing)
                    )));
                }
            }
        }
    }
}

/// Reports every image that holds itself, directly or through others, once for each cycle.
pub(super) fn check_cycles(description: &Description, problems: &mut Vec<Problem>) {
    for start in endless(description) {
        if let Some((way, span)) = cycle(description, start) {
            // Each image of a cycle finds it; the first by name reports it.
            if way.iter().min() == Some(&start) {
                let told: Vec<&str> = way.iter().chain([&start]).map(|it| it.as_str()).collect();
                let message = format!(
                    "the image `{start}` would hold itself: {}",
                    told.join(" → ")
                );
                problems.push(
                    description
                        .source
                        .problem(span, message)
                        .help("drop one of these `images` entries"),
                );
            }
        }
    }
}

/// Who holds whom.
type Held<'d> = BTreeMap<&'d String, Vec<&'d String>>;

/// Returns the images that may be in a cycle. A long chain takes no longer than its images one by
/// one.
fn endless(description: &Description) -> Vec<&String> {
    let names = description.images.keys();
    let all: Held = names
        .map(|name| {
            let held = bundled(description, name).map(|entry| entry.image.get_ref());
            let known = held.filter(|held| description.images.contains_key(*held));
            (name, known.collect())
        })
        .collect();
    // An image in a cycle holds another one, and another one holds it.
    let holding = without_ends(all);
    let held = without_ends(reversed(&holding));
    held.into_keys().collect()
}

/// Drops the images that hold no other image, again and again.
fn without_ends(mut all: Held) -> Held {
    let mut holders = reversed(&all);
    let mut left: BTreeMap<&String, usize> =
        all.iter().map(|(name, held)| (*name, held.len())).collect();
    let ends = left.iter().filter(|(_, count)| **count == 0);
    let mut ends: Vec<&String> = ends.map(|(name, _)| *name).collect();
    while let Some(end) = ends.pop() {
        left.remove(end);
        for holder in holders.remove(end).into_iter().flatten() {
            let count = left.entry(holder).or_default();
            *count -= 1;
            if *count == 0 {
                ends.push(holder);
            }
        }
    }
    all.retain(|name, _| left.contains_key(name));
    for held in all.values_mut() {
        held.retain(|name| left.contains_key(name));
    }
    all
}

/// Returns by whom each image is held.
fn reversed<'d>(all: &Held<'d>) -> Held<'d> {
    let mut holders: Held = all.keys().map(|name| (*name, Vec::new())).collect();
    for (holder, held) in all {
        for name in held {
            holders.entry(name).or_default().push(holder);
        }
    }
    holders
}

/// Returns the shortest way from `start` back to itself, and the place of its first entry.
fn cycle<'d>(
    description: &'d Description,
    start: &'d String,
) -> Option<(Vec<&'d String>, Range<usize>)> {
    // Who holds an image, and where it says so.
    let mut found: BTreeMap<&String, (&String, Range<usize>)> = BTreeMap::new();
    let mut pending = VecDeque::from([start]);
    while let Some(holder) = pending.pop_front() {
        for entry in bundled(description, holder) {
            let (name, span) = (entry.image.get_ref(), entry.image.span());
            if name == start {
                return Some(back(start, holder, span, &found));
            }
            if !found.contains_key(name) {
                found.insert(name, (holder, span));
                pending.push_back(name);
            }
        }
    }
    None
}

/// Returns the way from `start` to `last`, and the place of its first entry. `span` is the place
/// where `last` holds `start`.
fn back<'d>(
    start: &'d String,
    last: &'d String,
    span: Range<usize>,
    found: &BTreeMap<&'d String, (&'d String, Range<usize>)>,
) -> (Vec<&'d String>, Range<usize>) {
    let (mut way, mut first) = (vec![last], span);
    let mut name = last;
    while name != start {
        let (holder, span) = &found[name];
        (name, first) = (holder, span.clone());
        way.push(name);
    }
    way.reverse();
    (way, first)
}

/// Returns the entries `images` of an image.
fn bundled<'d>(description: &'d Description, name: &str) -> impl Iterator<Item = &'d Bundled> {
    let image = description.images.get(name).into_iter();
    image.flat_map(|image| image.fields.images.iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_long_chain_of_images_is_searched_once() {
        let last = 3_000;
        let image = |number: usize, held: usize| {
            format!(
                "[images.i{number}]\nbinaries = [\"a\"]\nimages = [{{ image = \"i{held}\", path = \
                 \"/x\" }}]\n"
            )
        };
        let chain: String = (1..=last).map(|number| image(number, number - 1)).collect();
        let text = |first: String| format!("version = 1\n{first}{chain}");
        let begin = Instant::now();
        let sound = text("[images.i0]\nbinaries = [\"a\"]\n".to_owned());
        Description::parse(&sound, "images.toml").unwrap();
        // To copy the way from each image to each one that it leads to took minutes.
        assert!(begin.elapsed() < Duration::from_secs(60));

        // Many images that lead to a cycle are not in it.
        let problems = Description::parse(&text(image(0, 2)), "images.toml").unwrap_err();
        let told = problems.to_string();
        assert_eq!(problems.iter().count(), 1, "{told}");
        assert!(
            told.contains("the image `i0` would hold itself: i0 → i2 → i1 → i0"),
            "{told}"
        );
    }
}
