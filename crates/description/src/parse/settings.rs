//! Reads the tables besides images: Debian, the build, the toolchain, crates, users.

use toml::Spanned;
use toml::de::DeValue;

use super::field::{accept, checked, choice, packages, packages_or_none, plain, tables};
use super::image::read_map;
use super::named;
use super::{archives, own_downloads, parts};
use crate::model::*;
use crate::reader::{Fields, Reader};
use crate::{schema, value};

pub(super) fn read_debian(reader: &Reader, value: &Spanned<DeValue>) -> Option<Debian> {
    let fields = reader.table(value, &schema::DEBIAN, "[debian]")?;
    let suites = checked(&fields, "suites", value::suite);
    let defaults = Debian::default();
    let architectures = checked(&fields, "architectures", value::debian_architecture);
    let sets = named(
        &fields,
        "sets",
        "debian.sets",
        |reader, name, value, place| {
            let fields = reader.table(value, &schema::SET, place)?;
            let packages = packages(&fields, "packages");
            let set = Set {
                packages: fields
                    .required("packages", packages, "[\"…\"]")
                    .unwrap_or_default(),
                omit: checked(&fields, "omit", value::package_name).unwrap_or_default(),
                beyond: fields.string("beyond"),
                architectures: checked(&fields, "architectures", value::debian_architecture),
                dependencies: fields.boolean("dependencies").unwrap_or(true),
            };
            Some((name.into_inner(), set))
        },
    );
    let described = Debian {
        suites: suites.unwrap_or(defaults.suites),
        architectures: architectures.unwrap_or(defaults.architectures),
        sets: sets.into_iter().collect(),
        sources: archives::read(&fields),
    };
    Some(described.with_default_sets())
}

pub(super) fn read_build(top: &Fields) -> Build {
    let table = top
        .value("build")
        .and_then(|value| top.reader.table(value, &schema::BUILD, "[build]"));
    let flag = |name| table.as_ref().and_then(|table| table.boolean(name));
    let profile = table.as_ref().and_then(|table| table.string("profile"));
    let features = table.as_ref().and_then(|table| table.strings("features"));
    Build {
        profile: profile.map_or_else(|| "release".to_string(), Spanned::into_inner),
        locked: flag("locked").unwrap_or(true),
        features: plain(features.unwrap_or_default()),
        all_features: flag("all-features").unwrap_or(false),
        no_default_features: flag("no-default-features").unwrap_or(false),
        crate_list: flag("crate-list").unwrap_or(true),
    }
}

pub(super) fn read_toolchain(top: &Fields) -> Toolchain {
    let table = top
        .value("toolchain")
        .and_then(|value| top.reader.table(value, &schema::TOOLCHAIN, "[toolchain]"));
    let provider = table
        .as_ref()
        .and_then(|table| choice(table, "provider", &["release", "debian"]));
    let linker = table
        .as_ref()
        .and_then(|table| choice(table, "linker", &["lld", "mold"]));
    let release = table.as_ref().and_then(|table| table.string("release"));
    let set = table.as_ref().and_then(|table| table.string("set"));
    Toolchain {
        provider: provider.unwrap_or_else(|| "release".to_string()),
        release,
        linker,
        set: set.unwrap_or_else(|| Spanned::new(0..0, "toolchain".to_string())),
        packages: table
            .as_ref()
            .map_or_else(Vec::new, |table| packages_or_none(table, "packages")),
    }
}

pub(super) fn read_crate(
    reader: &Reader,
    name: Spanned<String>,
    value: &Spanned<DeValue>,
    place: &str,
) -> Option<Crate> {
    let fields = reader.table(value, &schema::CRATE, place)?;
    let table = format!("crates.{}", name.get_ref());
    let parts = tables(
        &fields,
        "parts",
        &schema::CRATE_PART,
        parts::read_crate_part,
    );
    let (downloads, own_parts) = own_downloads::of_crate(&fields, &table);
    Some(Crate {
        name,
        packages: packages_or_none(&fields, "packages"),
        files: fields.strings("files").unwrap_or_default(),
        environment: read_map(&fields, "environment", value::crate_variable).unwrap_or_default(),
        revision: fields.boolean("revision").unwrap_or(false),
        parts: parts.into_iter().flatten().chain(own_parts).collect(),
        downloads,
    })
}

pub(super) fn read_user(
    reader: &Reader,
    name: Spanned<String>,
    value: &Spanned<DeValue>,
    place: &str,
) -> Option<Spanned<User>> {
    let fields = reader.table(value, &schema::USER, place)?;
    accept(reader, &name, value::user_name(name.get_ref()));
    if built_in_users()
        .iter()
        .any(|user| user.name == *name.get_ref())
    {
        let problem = reader.problem(
            name.span(),
            format!("the user `{}` is built in", name.get_ref()),
        );
        reader.report(problem.help("drop this table, or give the user another name"));
    }
    let number = |field| {
        let number = fields.integer(field)?;
        let value = u32::try_from(*number.get_ref())
            .ok()
            .filter(|n| *n < u32::MAX);
        if value.is_none() {
            let what = format!(
                "`{}` is not the number of a user or group",
                number.get_ref()
            );
            reader.report(
                reader
                    .problem(number.span(), what)
                    .help("they go from 0 to 4294967294"),
            );
        }
        value
    };
    let uid = fields.required("uid", number("uid"), "10001")?;
    let text = |field, default: &str| {
        let text = fields.string(field);
        if let Some(text) = &text {
            let fits = text.get_ref().starts_with('/') && !text.get_ref().contains([':', '\n']);
            let verdict = fits
                .then_some(())
                .ok_or("is not an absolute path without `:`".to_string());
            accept(reader, text, verdict);
        }
        text.map_or_else(|| default.to_string(), Spanned::into_inner)
    };
    let span = name.span();
    let user = User {
        name: name.into_inner(),
        uid,
        gid: number("gid").unwrap_or(uid),
        home: text("home", "/nonexistent"),
        shell: text("shell", "/usr/sbin/nologin"),
    };
    Some(Spanned::new(span, user))
}

/// Returns the accounts that every image has by default.
pub(crate) fn built_in_users() -> [User; 2] {
    let user = |name: &str, id, home: &str| User {
        name: name.to_string(),
        uid: id,
        gid: id,
        home: home.to_string(),
        shell: "/usr/sbin/nologin".to_string(),
    };
    [
        user("root", 0, "/root"),
        user("nonroot", 65532, "/nonexistent"),
    ]
}
