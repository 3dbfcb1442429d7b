//! What the parts of a description say about each other: users, sets, images and paths that must be there, or must not.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::*;
use crate::parse::built_in_users;
use crate::problem::{Problem, Source, quoted_list, suggestion};
use crate::sources::{Found, Sources};
use crate::value::{self, last_part};

/// All problems that show without the workspace's packages and files.
pub(crate) fn references(description: &Description) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_toolchain(description, &mut problems);
    check_sets(description, &mut problems);
    check_user_numbers(description, &mut problems);
    for image in description.images.values() {
        check_name(description, image, &mut problems);
        check_base(description, image, &mut problems);
        check_users(description, image, &mut problems);
        check_platforms(description, image, &mut problems);
        check_target(description, image, &mut problems);
        check_bundled(description, image, &mut problems);
        let claims = claims(image, &|_| None, &Sources::Unknown);
        check_paths(&description.source, image, claims, &mut problems);
    }
    check_cycles(description, &mut problems);
    problems
}

fn check_toolchain(description: &Description, problems: &mut Vec<Problem>) {
    // The linker and the C compiler are in it, whoever provides the compiler.
    let set = &description.toolchain.set;
    if !description.debian.sets.contains_key(set.get_ref()) {
        problems.push(missing_set(
            description,
            set.get_ref(),
            set.span(),
            "the toolchain",
        ));
    }
}

/// Every set that another goes beyond is there, and none goes beyond itself.
fn check_sets(description: &Description, problems: &mut Vec<Problem>) {
    let sets = &description.debian.sets;
    for (name, set) in sets {
        let Some(beyond) = &set.beyond else { continue };
        if !sets.contains_key(beyond.get_ref()) {
            let user = format!("the set `{name}`");
            problems.push(missing_set(
                description,
                beyond.get_ref(),
                beyond.span(),
                &user,
            ));
            continue;
        }
        let below = |name: &String| {
            sets.get(name)?
                .beyond
                .as_ref()
                .map(|beyond| beyond.get_ref().clone())
        };
        let way = std::iter::successors(Some(beyond.get_ref().clone()), below).take(sets.len());
        if way.into_iter().any(|below| below == *name) {
            let problem = description.source.problem(
                beyond.span(),
                format!("the set `{name}` would go beyond itself"),
            );
            problems.push(problem.help("drop one of these `beyond`"));
        }
    }
}

fn missing_set(description: &Description, set: &str, span: Range<usize>, user: &str) -> Problem {
    let names: Vec<&str> = description.debian.sets.keys().map(String::as_str).collect();
    let message =
        format!("{user} wants the set of packages `{set}`, which [debian.sets] does not have");
    let help = format!(
        "add [debian.sets.{set}] with its `packages`; {}",
        suggestion(set, "sets", names.iter().copied())
    );
    description.source.problem(span, message).help(help)
}

fn check_user_numbers(description: &Description, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<u32, &Spanned<User>> = BTreeMap::new();
    let built_in = built_in_users().map(|user| Spanned::new(0..0, user));
    // One that takes a built-in name was told so.
    let taken = |user: &&Spanned<User>| {
        let name = &user.get_ref().name;
        built_in
            .iter()
            .any(|built_in| built_in.get_ref().name == *name)
    };
    let own = description.users.iter().filter(|user| !taken(user));
    for user in built_in.iter().chain(own) {
        let number = user.get_ref().uid;
        if let Some(other) = seen.insert(number, user) {
            let message = format!(
                "the users `{}` and `{}` have one number, {number}",
                other.get_ref().name,
                user.get_ref().name
            );
            problems.push(
                description
                    .source
                    .problem(user.span(), message)
                    .help("give each its own `uid`"),
            );
        }
    }
}

/// Names that Crateyard gives to things of its own where it gives those of images.
const RESERVED: [(&str, &str); 3] = [
    (
        "base",
        "`nix build .#base-image` is what Dockerfile.images begins images with",
    ),
    (
        "builder",
        "`nix build .#builder-image` is what Dockerfile.images compiles with",
    ),
    (
        "default",
        "`docker buildx bake` builds the group of that name, all images, where none is asked for",
    ),
];

/// Whether an image can't have that name because Crateyard gives it to something of its own.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|(reserved, _)| *reserved == name)
}

fn check_name(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    let name = image.name.get_ref();
    if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
        let message = format!("an image can't be named `{name}`");
        let problem = description.source.problem(image.name.span(), message);
        let help = format!("give it another name, for instance `app-{name}`");
        problems.push(problem.note(*why).help(help));
    }
}

fn check_base(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
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
                None => problem
                    .note("every image stands on the set `base` unless it has a `base` of its own"),
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
                    "what the base already has is not known, so nothing can be resolved against it",
                )
                .help("drop `packages`, or take a set of packages as the base"),
        );
    }
}

impl Description {
    /// All accounts, those built in first.
    pub fn all_users(&self) -> Vec<User> {
        let own = self.users.iter().map(|user| user.get_ref().clone());
        built_in_users().into_iter().chain(own).collect()
    }

    /// The numbers of user and group that `name` stands for: the name of an account, `UID` or `UID:GID`.
    pub(crate) fn account(&self, name: &str) -> Option<(u32, u32)> {
        if let Some(user) = self.all_users().into_iter().find(|user| user.name == name) {
            return Some((user.uid, user.gid));
        }
        let (uid, gid) = name.split_once(':').unwrap_or((name, name));
        Some((value::account_number(uid)?, value::account_number(gid)?))
    }
}

fn check_users(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
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

fn check_platforms(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
    if image
        .fields
        .base
        .as_ref()
        .is_some_and(|base| *base.get_ref() == Base::None)
    {
        return;
    }
    for platform in image.fields.platforms.iter().flatten() {
        let architecture = platform.get_ref().debian().to_string();
        if !description.debian.architectures.contains(&architecture) {
            let message = format!(
                "the platform `{}` needs Debian's architecture `{architecture}`, which [debian] does not list",
                platform.get_ref()
            );
            let problem = description.source.problem(platform.span(), message);
            problems.push(problem.help(format!(
                "add \"{architecture}\" to `architectures` in [debian], then run `assemble lock`"
            )));
        }
    }
}

/// A target is for one platform, and an image for another could not run its programs.
fn check_target(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
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

fn check_bundled(description: &Description, image: &Image, problems: &mut Vec<Problem>) {
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

/// Every image that holds itself, by however long a way, told once for each way.
fn check_cycles(description: &Description, problems: &mut Vec<Problem>) {
    for start in description.images.keys() {
        if let Some((way, span)) = cycle(description, start) {
            // Each image of a cycle finds it; the first by name tells it.
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

/// The shortest way from `start` back to itself, and the entry that it begins with.
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

/// A path that an image's description puts something at.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    path: String,
    span: Range<usize>,
    what: String,
    /// Whether other things may stand under it.
    open: bool,
}

/// All paths that `image` claims. `bin` gives the name of a binary that is not named; where it can't yet, the binary claims
/// nothing. Directories of the workspace are looked into as far as `sources` knows them.
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
            // Only a build sees whether it is a directory.
            Content::Part { name, .. } => {
                claim(path, file.path.span(), format!("the part `{name}`"), true)
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
                    claim(path, file.path.span(), format!("`{source}`"), true)
                }
            },
        }
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

/// Two things at one path, things under a file, and things behind one of Debian's links.
pub(crate) fn check_paths(
    source: &Source,
    image: &Image,
    mut claims: Vec<Claim>,
    problems: &mut Vec<Problem>,
) {
    claims.sort_by(|a, b| (&a.path, a.span.start).cmp(&(&b.path, b.span.start)));
    for (index, claim) in claims.iter().enumerate() {
        let earlier = &claims[..index];
        // A directory that is declared may also be one that is copied: the declaration then gives owner and mode.
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
                "two things at `{}` in the image `{}`: {} and {}",
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

/// In Debian `/bin` and its like are links into `/usr`; a layer that has a directory there would cover the link, and all behind it.
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

impl File {
    /// The path in the image: the one given, with the source's own name behind a `/` at its end.
    pub(crate) fn destination(&self) -> String {
        let path = self.path.get_ref();
        match self.content.get_ref() {
            Content::Source(source) if path.ends_with('/') => {
                format!("{path}{}", last_part(source))
            }
            Content::Part { name, from } if path.ends_with('/') => match from.as_str() {
                "" => format!("{path}{name}"),
                from => format!("{path}{}", last_part(from)),
            },
            _ => path.clone(),
        }
    }
}
