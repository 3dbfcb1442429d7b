//! Checks references between the parts of a description: users, sets, images and paths that must
//! exist, or must not.

use std::collections::BTreeMap;
use std::ops::Range;

use self::images::{
    check_base, check_bundled, check_cycles, check_name, check_platforms, check_target, check_users,
};
use crate::model::*;
use crate::own_part;
use crate::parse::built_in_users;
use crate::problem::{Problem, suggestion};
use crate::sources::Sources;
use crate::value::{self, last_part};

mod claims;
mod images;

pub(crate) use self::claims::{check_paths, claims};

/// Returns all problems that show without the workspace's packages and files.
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
    // The set holds the linker and the C compiler, no matter who provides the Rust compiler.
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

/// Checks that every set that another one goes beyond exists, and that none goes beyond itself.
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
                format!("the set `{name}` would extend itself"),
            );
            problems.push(problem.help("drop one of these `beyond`"));
        }
    }
}

fn missing_set(description: &Description, set: &str, span: Range<usize>, user: &str) -> Problem {
    let names: Vec<&str> = description.debian.sets.keys().map(String::as_str).collect();
    let message =
        format!("{user} needs the set of packages `{set}`, which [debian.sets] does not have");
    let help = format!(
        "add [debian.sets.{set}] with its `packages`; {}",
        suggestion(set, "sets", names.iter().copied())
    );
    description.source.problem(span, message).help(help)
}

fn check_user_numbers(description: &Description, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<u32, &Spanned<User>> = BTreeMap::new();
    let built_in = built_in_users().map(|user| Spanned::new(0..0, user));
    // A user with a built-in name has been reported already.
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
                "the users `{}` and `{}` have the same number, {number}",
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

/// Names that Crateyard uses for its own outputs, in the same places as the names of images.
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
        "`docker buildx bake` builds the group of that name, all images, if no group is named",
    ),
];

/// Whether Crateyard uses this name for an output of its own, so that no image can have it.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|(reserved, _)| *reserved == name)
}

impl Description {
    /// Returns all accounts, the built-in ones first.
    pub(crate) fn all_users(&self) -> Vec<User> {
        let own = self.users.iter().map(|user| user.get_ref().clone());
        built_in_users().into_iter().chain(own).collect()
    }

    /// Returns the user and group numbers of `name`, which is the name of an account, `UID` or
    /// `UID:GID`.
    pub(crate) fn account(&self, name: &str) -> Option<(u32, u32)> {
        if let Some(user) = self.all_users().into_iter().find(|user| user.name == name) {
            return Some((user.uid, user.gid));
        }
        let (uid, gid) = name.split_once(':').unwrap_or((name, name));
        Some((value::account_number(uid)?, value::account_number(gid)?))
    }
}

impl File {
    /// Returns the path in the image: the given path, with the source's own name added if it ends
    /// in `/`.
    pub(crate) fn destination(&self) -> String {
        let path = self.path.get_ref();
        match self.content.get_ref() {
            Content::Source(source) if path.ends_with('/') => {
                format!("{path}{}", last_part(source))
            }
            Content::Part { name, from } if path.ends_with('/') => match from.as_str() {
                // The path is that of the directory itself: `/`.
                "" if own_part::is_own(name) => path.clone(),
                "" => format!("{path}{name}"),
                from => format!("{path}{}", last_part(from)),
            },
            _ => path.clone(),
        }
    }
}
