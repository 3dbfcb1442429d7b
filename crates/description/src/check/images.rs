//! Checks what images refer to: sets, users, platforms, other images.

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
    for start in description.images.keys() {
        if let Some((way, span)) = cycle(description, start) {
            // Each image of a cycle finds it; the first by name reports it.
            if way.iter().min() == Some(start) {
                let told: Vec<&str> = way.iter().chain([start]).map(String::as_str).collect();
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

/// Returns the shortest way from `start` back to itself, and the place of its first entry.
fn cycle(description: &Description, start: &String) -> Option<(Vec<String>, Range<usize>)> {
    let bundled = |name: &String| {
        let image = description.images.get(name);
        image
            .into_iter()
            .flat_map(|image| image.fields.images.iter().flatten())
    };
    let mut ways: Vec<(Vec<String>, Option<Range<usize>>)> = vec![(vec![start.clone()], None)];
    let mut seen = vec![];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for (way, first) in ways {
            let last = way.last()?;
            for entry in bundled(last) {
                let first = first.clone().unwrap_or_else(|| entry.image.span());
                let name = entry.image.get_ref();
                if name == start {
                    return Some((way, first));
                }
                if !seen.contains(name) {
                    seen.push(name.clone());
                    longer.push((
                        [way.as_slice(), std::slice::from_ref(name)].concat(),
                        Some(first),
                    ));
                }
            }
        }
        ways = longer;
    }
    None
}
