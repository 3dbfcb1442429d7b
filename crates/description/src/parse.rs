//! From the text of an `images.toml` to a [`Description`]: every field's type and form.

mod archives;
mod attributes;

use std::collections::BTreeMap;
use std::ops::Range;

use crateyard_spec::{Algorithm, ArchiveFormat, Compression, Mode, Port};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::check;
use crate::dialect;
use crate::model::*;
use crate::problem::{Problem, Problems, Source, suggestion};
use crate::reader::{Fields, Reader};
use crate::{schema, value};

mod downloads;
mod npm;
mod parts;
mod steps;

/// The version of the file's form that this crate reads.
const VERSION: i64 = 1;

impl Description {
    /// Reads `text`; `path` is what messages call it.
    ///
    /// # Errors
    /// All that is wrong with the text by itself: its syntax, unknown keys, wrong types and forms, references to users,
    /// sets and images that it does not have, two things at one path. What needs the workspace's packages or files
    /// is checked by [`Description::normalize`].
    pub fn parse(text: &str, path: &str) -> Result<Description, Problems> {
        let source = Source::new(path, text);
        let (document, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            return Err(Problems::new(syntax_problems(&source, &syntax)));
        }
        let reader = Reader::new(&source);
        check_version(&reader, document.get_ref())?;
        let top = reader.fields(document.get_ref(), 0..0, &schema::TOP, "images.toml");
        let description = read(&top, &source);
        let mut problems = reader.into_problems();
        problems.extend(dialect::problems(&source, document.get_ref()));
        problems.extend(check::references(&description));
        Problems::or(problems, description)
    }
}

fn syntax_problems(source: &Source, errors: &[toml::de::Error]) -> Vec<Problem> {
    errors
        .iter()
        .map(|error| source.problem(error.span().unwrap_or(0..0), error.message()))
        .collect()
}

fn read(top: &Fields, source: &Source) -> Description {
    top.required("version", top.value("version"), "1");
    let toolchain = read_toolchain(top);
    let debian = top
        .value("debian")
        .and_then(|value| read_debian(top.reader, value))
        .unwrap_or_default();
    let (npm_parts, downloads) = parts::read(top);
    Description {
        source: source.clone(),
        debian: debian
            .with_toolchain(&toolchain)
            .with_lints(&toolchain.set)
            .with_npm(!npm_parts.is_empty()),
        build: read_build(top),
        toolchain,
        crates: named(top, "crates", "crates", read_crate),
        npm_parts,
        downloads,
        users: named(top, "users", "users", read_user),
        images: read_images(top),
    }
}

/// Of a file in a later form nothing else can be said.
fn check_version(reader: &Reader, document: &DeTable) -> Result<(), Problems> {
    let Some(value) = document.get("version") else {
        return Ok(());
    };
    match reader.integer(value, "`version`") {
        Some(version) if *version.get_ref() != VERSION => {
            let message = format!("version {} is not known", version.get_ref());
            let problem = reader.problem(version.span(), message);
            let help = format!("this program reads version {VERSION}");
            Err(Problems::new(vec![problem.help(help)]))
        }
        _ => Ok(()),
    }
}

/// The tables of a table of tables, each read by `read`.
fn named<T>(
    top: &Fields,
    field: &str,
    place: &str,
    read: impl Fn(&Reader, Spanned<String>, &Spanned<DeValue>, &str) -> Option<T>,
) -> Vec<T> {
    let Some(value) = top.value(field) else {
        return Vec::new();
    };
    let entries = top.reader.named(value, &format!("`{field}`"));
    entries
        .into_iter()
        .filter_map(|(name, value)| {
            let place = format!("[{place}.{}]", name.get_ref());
            read(top.reader, name, value, &place)
        })
        .collect()
}

fn read_debian(reader: &Reader, value: &Spanned<DeValue>) -> Option<Debian> {
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

fn read_build(top: &Fields) -> Build {
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

fn read_toolchain(top: &Fields) -> Toolchain {
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

fn read_crate(
    reader: &Reader,
    name: Spanned<String>,
    value: &Spanned<DeValue>,
    place: &str,
) -> Option<Crate> {
    let fields = reader.table(value, &schema::CRATE, place)?;
    Some(Crate {
        name,
        packages: packages_or_none(&fields, "packages"),
        files: fields.strings("files").unwrap_or_default(),
        environment: read_map(&fields, "environment", value::crate_variable).unwrap_or_default(),
        revision: fields.boolean("revision").unwrap_or(false),
        parts: tables(
            &fields,
            "parts",
            &schema::CRATE_PART,
            parts::read_crate_part,
        )
        .unwrap_or_default(),
    })
}

fn read_user(
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

/// The accounts that every image knows without a word.
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

fn read_images(top: &Fields) -> BTreeMap<String, Image> {
    let mut images = BTreeMap::new();
    let Some(value) = top.required("images", top.value("images"), "{ … }") else {
        return images;
    };
    for (name, value) in top.reader.named(value, "`images`") {
        let place = format!("[images.{}]", name.get_ref());
        for image in read_image(top.reader, name, value, &place) {
            add_image(top.reader, &mut images, image);
        }
    }
    images
}

fn add_image(reader: &Reader, images: &mut BTreeMap<String, Image>, image: Image) {
    if let Some(other) = images.get(image.name.get_ref()) {
        // The names come sorted, not in the order of the text: the later place is the one to complain about.
        let (first, second) = if other.name.span().start < image.name.span().start {
            (other, &image)
        } else {
            (&image, other)
        };
        reader.report(
            reader
                .problem(
                    second.name.span(),
                    format!("there are two images `{}`", image.name.get_ref()),
                )
                .note("a variant is an image too; its name is the image's, `-` and its own")
                .note_at(reader.source, first.name.span(), "the first is"),
        );
        return;
    }
    images.insert(image.name.get_ref().clone(), image);
}

/// An image and its variants.
fn read_image(
    reader: &Reader,
    name: Spanned<String>,
    value: &Spanned<DeValue>,
    place: &str,
) -> Vec<Image> {
    accept(reader, &name, value::image_name(name.get_ref()));
    let Some(fields) = reader.table(value, &schema::IMAGE, place) else {
        return Vec::new();
    };
    let own = read_image_fields(&fields);
    let image = name.get_ref().clone();
    let variants = named(
        &fields,
        "variants",
        &format!("images.{image}.variants"),
        |reader, variant, value, place| {
            accept(reader, &variant, value::image_name(variant.get_ref()));
            let fields = reader.table(value, &schema::VARIANT, place)?;
            Some(Image {
                name: Spanned::new(variant.span(), format!("{image}-{}", variant.get_ref())),
                variant_of: Some(image.clone()),
                fields: read_image_fields(&fields).over(&own),
            })
        },
    );
    let own = Image {
        name,
        variant_of: None,
        fields: own,
    };
    std::iter::once(own).chain(variants).collect()
}

fn read_image_fields(fields: &Fields) -> ImageFields {
    ImageFields {
        base: read_base(fields),
        binaries: read_binaries(fields),
        build: read_image_build(fields),
        packages: packages(fields, "packages"),
        files: tables(fields, "files", &schema::FILE, read_file),
        directories: tables(fields, "directories", &schema::DIRECTORY, read_directory),
        links: tables(fields, "links", &schema::LINK, read_link),
        charts: tables(fields, "charts", &schema::CHART, read_chart),
        images: tables(fields, "images", &schema::BUNDLED, read_bundled),
        steps: steps::read(fields),
        user: fields.string("user"),
        workdir: fields
            .string("workdir")
            .map(|path| image_path(fields.reader, path).into_inner()),
        entrypoint: fields.strings("entrypoint").map(plain),
        command: fields.strings("command").map(plain),
        environment: read_map(fields, "environment", value::variable),
        ports: read_ports(fields),
        volumes: checked(fields, "volumes", value::image_path),
        labels: read_map(fields, "labels", |key| {
            if key.is_empty() {
                Err("can't name a label".to_string())
            } else {
                Ok(())
            }
        }),
        stop_signal: fields
            .string("stop-signal")
            .and_then(|text| accept(fields.reader, &text, value::signal(text.get_ref()))),
        health_check: read_health_check(fields),
        platforms: read_platforms(fields),
        compression: read_compression(fields),
        tags: read_tags(fields),
    }
}

fn read_base(image: &Fields) -> Option<Spanned<Base>> {
    let value = image.value("base")?;
    let reader = image.reader;
    if let DeValue::String(text) = value.get_ref() {
        if text != "none" {
            let problem = reader.problem(value.span(), format!("\"{text}\" is not a base"));
            reader.report(problem.help(
                "write \"none\", { set = \"…\" }, { layout = \"…\" } or { reference = \"…@sha256:…\" }",
            ));
            return None;
        }
        return Some(Spanned::new(value.span(), Base::None));
    }
    let fields = reader.table(value, &schema::BASE, &image.place_of("base"))?;
    let digest = fields.string("digest").inspect(|digest| {
        accept(reader, digest, value::digest(digest.get_ref()));
    });
    let base = match (
        fields.string("set"),
        fields.string("layout"),
        fields.string("reference"),
    ) {
        (Some(set), None, None) => Base::Set(set.into_inner()),
        (None, Some(layout), None) => Base::Layout {
            path: accept(reader, &layout, value::workspace_path(layout.get_ref()))?,
            digest: digest.map(Spanned::into_inner),
        },
        (None, None, Some(reference)) => read_reference(reader, &reference, digest)?,
        _ => {
            let problem = reader.problem(
                value.span(),
                "a base is one of `set`, `layout` and `reference`",
            );
            reader.report(problem.help("give exactly one of them"));
            return None;
        }
    };
    Some(Spanned::new(value.span(), base))
}

/// A reference with its digest, which stands behind `@` or beside it.
fn read_reference(
    reader: &Reader,
    reference: &Spanned<String>,
    beside: Option<Spanned<String>>,
) -> Option<Base> {
    let (name, digest) = match (reference.get_ref().split_once('@'), beside) {
        (Some((name, digest)), None) => {
            accept(reader, reference, value::digest(digest))?;
            (name, digest.to_string())
        }
        (None, Some(digest)) => (reference.get_ref().as_str(), digest.into_inner()),
        (Some(_), Some(_)) => {
            reader.report(reader.problem(reference.span(), "the digest is given twice"));
            return None;
        }
        (None, None) => {
            let what = format!("the base `{}` has no digest", reference.get_ref());
            reader.report(
                reader
                    .problem(reference.span(), what)
                    .note("a tag may name something else tomorrow")
                    .help("add `@sha256:…` behind it"),
            );
            return None;
        }
    };
    Some(Base::Reference {
        reference: name.to_string(),
        digest,
    })
}

fn read_binaries(image: &Fields) -> Option<Vec<Binary>> {
    let elements = image.elements("binaries", "an array of strings or tables")?;
    let place = format!("an element of {}", image.place_of("binaries"));
    let read = |element: &Spanned<DeValue>| match element.get_ref() {
        DeValue::String(text) => Some(short_binary(text, element.span())),
        DeValue::Table(_) => read_binary(&image.reader.table(element, &schema::BINARY, &place)?),
        _ => {
            image.reader.string(element, &place);
            None
        }
    };
    Some(elements.into_iter().filter_map(read).collect())
}

/// `package` or `package/bin`.
fn short_binary(text: &str, span: Range<usize>) -> Binary {
    let (package, bin) = match text.split_once('/') {
        Some((package, bin)) => (package, Some(bin)),
        None => (text, None),
    };
    Binary {
        package: Spanned::new(span.clone(), package.to_string()),
        bin: bin.map(|bin| Spanned::new(span, bin.to_string())),
        path: None,
        replace: false,
        attributes: FileAttributes::default(),
    }
}

fn read_binary(fields: &Fields) -> Option<Binary> {
    let package = fields.required("package", fields.string("package"), "\"…\"");
    let bin = fields.string("bin");
    let path = fields
        .string("path")
        .map(|path| file_path(fields.reader, path));
    Some(Binary {
        package: package?,
        bin,
        path,
        replace: read_replace(fields),
        attributes: attributes::read(fields),
    })
}

fn read_image_build(image: &Fields) -> Option<BuildFields> {
    let value = image.value("build")?;
    let place = image.place_of("build");
    let fields = image.reader.table(value, &schema::IMAGE_BUILD, &place)?;
    let target = fields.string("target").and_then(|text| {
        let platform = accept(fields.reader, &text, value::rust_target(text.get_ref()))?;
        Some(Spanned::new(text.span(), (text.into_inner(), platform)))
    });
    Some(BuildFields {
        profile: fields.string("profile").map(Spanned::into_inner),
        features: fields.strings("features").map(plain),
        all_features: fields.boolean("all-features"),
        no_default_features: fields.boolean("no-default-features"),
        target,
    })
}

/// An array of tables, each read by `read`.
fn tables<T>(
    fields: &Fields,
    name: &str,
    schema: &'static schema::Table,
    read: impl Fn(&Fields) -> Option<T>,
) -> Option<Vec<T>> {
    let elements = fields.elements(name, "an array of tables")?;
    let place = format!("an element of {}", fields.place_of(name));
    Some(
        elements
            .into_iter()
            .filter_map(|element| read(&fields.reader.table(element, schema, &place)?))
            .collect(),
    )
}

fn read_file(fields: &Fields) -> Option<File> {
    let path = required_path(fields, "path");
    let mode = read_mode(fields);
    let owner = read_owner(fields);
    let attributes = attributes::read(fields);
    let content = read_content(fields)?;
    let path = match content.get_ref() {
        Content::Text(_) => {
            attributes::refuse_of_text(fields);
            file_path(fields.reader, path?)
        }
        Content::Source(_) | Content::Part { .. } => path?,
    };
    Some(File {
        path,
        content,
        mode,
        owner,
        replace: read_replace(fields),
        attributes,
    })
}

fn read_content(fields: &Fields) -> Option<Spanned<Content>> {
    let names = ["source", "text", "part"];
    let given = names.iter().filter(|name| fields.value(name).is_some());
    let given: Vec<&str> = given.copied().collect();
    let reader = fields.reader;
    let &[name] = given.as_slice() else {
        let (span, has) = match given.get(1) {
            Some(second) => (
                fields.value(second).map_or(fields.span(), Spanned::span),
                "several",
            ),
            None => (fields.span(), "none"),
        };
        let what = format!("a file has a `source`, a `text` or a `part`, this has {has}");
        let help = match given.is_empty() {
            true => "add `source = \"path/in/the/workspace\"`, `text = \"…\"` or `part = \"…\"`",
            false => "keep one of them",
        };
        reader.report(reader.problem(span, what).help(help));
        return None;
    };
    let from = parts::read_from(fields, name == "part");
    let text = fields.string(name)?;
    let content = match name {
        "source" => Content::Source(accept(
            reader,
            &text,
            value::workspace_path(text.get_ref()),
        )?),
        "part" => {
            accept(reader, &text, value::part_name(text.get_ref()))?;
            let name = text.get_ref().clone();
            Content::Part { name, from }
        }
        _ => Content::Text(text.get_ref().clone()),
    };
    Some(Spanned::new(text.span(), content))
}

fn read_owner(fields: &Fields) -> Owner {
    Owner {
        user: fields.string("user"),
        group: fields.string("group"),
    }
}

fn read_replace(fields: &Fields) -> bool {
    fields.boolean("replace").unwrap_or(false)
}

fn read_mode(fields: &Fields) -> Option<Mode> {
    let value = fields.value("mode")?;
    if let DeValue::Integer(digits) = value.get_ref() {
        let problem = fields
            .reader
            .problem(value.span(), "`mode` must be a string, this is an integer");
        let help = format!("write \"{:0>4}\"", digits.as_str());
        fields.reader.report(problem.help(help));
        return None;
    }
    let text = fields.string("mode")?;
    accept(fields.reader, &text, value::mode(text.get_ref()))
}

fn read_directory(fields: &Fields) -> Option<Directory> {
    let mode = read_mode(fields).unwrap_or(Mode(0o755));
    let owner = read_owner(fields);
    let path = required_path(fields, "path")?;
    let path = Spanned::new(path.span(), trim_slash(path.get_ref()));
    Some(Directory { path, mode, owner })
}

fn read_link(fields: &Fields) -> Option<Link> {
    let target = fields.required("target", fields.string("target"), "\"…\"");
    let path = required_path(fields, "path").map(|path| file_path(fields.reader, path));
    Some(Link {
        path: path?,
        target: target?.into_inner(),
        replace: read_replace(fields),
    })
}

fn read_chart(fields: &Fields) -> Option<Chart> {
    let source = fields.required("source", fields.string("source"), "\"path/to/chart\"");
    let path = required_path(fields, "path");
    let source = source?;
    let clean = accept(
        fields.reader,
        &source,
        value::workspace_path(source.get_ref()),
    )?;
    Some(Chart {
        source: Spanned::new(source.span(), clean),
        path: path?,
    })
}

fn read_bundled(fields: &Fields) -> Option<Bundled> {
    let image = fields.required("image", fields.string("image"), "\"…\"");
    let path = required_path(fields, "path").map(|path| file_path(fields.reader, path));
    // There is one; anything else is refused.
    choice(fields, "format", &["oci"]);
    let reference = fields.string("reference").map(Spanned::into_inner);
    Some(Bundled {
        image: image?,
        path: path?,
        format: ArchiveFormat::Oci,
        reference,
    })
}

fn read_map(
    fields: &Fields,
    name: &str,
    verdict: impl Fn(&str) -> Result<(), String>,
) -> Option<BTreeMap<String, String>> {
    let entries = fields.map(name)?;
    for (key, _) in &entries {
        accept(fields.reader, key, verdict(key.get_ref()));
    }
    let plain = entries
        .into_iter()
        .map(|(key, value)| (key.into_inner(), value.into_inner()));
    Some(plain.collect())
}

fn read_ports(image: &Fields) -> Option<Vec<Port>> {
    let elements = image.elements("ports", "an array of integers or strings")?;
    let place = format!("an element of {}", image.place_of("ports"));
    let read = |element: &Spanned<DeValue>| {
        let text = match element.get_ref() {
            DeValue::Integer(digits) => Spanned::new(element.span(), digits.to_string()),
            _ => image.reader.string(element, &place)?,
        };
        let verdict = text
            .get_ref()
            .parse()
            .map_err(|wrong: crateyard_spec::Wrong| wrong.to_string());
        accept(image.reader, &text, verdict)
    };
    Some(elements.into_iter().filter_map(read).collect())
}

fn read_health_check(image: &Fields) -> Option<HealthCheck> {
    let value = image.value("health-check")?;
    let place = image.place_of("health-check");
    if value.get_ref().as_str() == Some("none") {
        return Some(HealthCheck::None);
    }
    let fields = image.reader.table(value, &schema::HEALTH_CHECK, &place)?;
    let command = fields.required("command", fields.strings("command"), "[\"/usr/bin/…\"]");
    let time = |name, default| duration(&fields, name).unwrap_or(default);
    let (interval, timeout) = (
        time("interval", 30_000_000_000),
        time("timeout", 30_000_000_000),
    );
    let start_period = time("start-period", 0);
    let retries = positive(&fields, "retries", 1..=1000).unwrap_or(3);
    Some(HealthCheck::Command {
        command: plain(command?),
        interval,
        timeout,
        start_period,
        retries,
    })
}

fn duration(fields: &Fields, name: &str) -> Option<u64> {
    let text = fields.string(name)?;
    let nanoseconds = accept(fields.reader, &text, value::duration(text.get_ref()))?;
    // Engines take an interval or timeout of zero for "not given".
    if nanoseconds == 0 && name != "start-period" {
        let problem = fields
            .reader
            .problem(text.span(), format!("`{name}` can't be zero"));
        fields
            .reader
            .report(problem.help(format!("drop `{name}` to get the default")));
    }
    Some(nanoseconds)
}

fn read_platforms(image: &Fields) -> Option<Vec<Spanned<value::Platform>>> {
    let texts = image.strings("platforms")?;
    if texts.is_empty() {
        let span = image.value("platforms").map_or(0..0, Spanned::span);
        let problem = image
            .reader
            .problem(span, "an image has at least one platform");
        image
            .reader
            .report(problem.help("add one, or drop `platforms` to get the default"));
    }
    let read = |text: Spanned<String>| {
        let platform = accept(image.reader, &text, value::platform(text.get_ref()))?;
        Some(Spanned::new(text.span(), platform))
    };
    Some(texts.into_iter().filter_map(read).collect())
}

fn read_compression(image: &Fields) -> Option<Compression> {
    let names: Vec<&str> = Algorithm::ALL.iter().map(|it| it.name()).collect();
    let named = |name: String| Algorithm::ALL.into_iter().find(|it| it.name() == name);
    let value = image.value("compression")?;
    if !value.get_ref().is_table() {
        return choice(image, "compression", &names)
            .and_then(named)
            .map(Compression::of);
    }
    let place = image.place_of("compression");
    let fields = image.reader.table(value, &schema::COMPRESSION, &place)?;
    fields.required("algorithm", fields.value("algorithm"), "\"zstd\"");
    let default = choice(&fields, "algorithm", &names)
        .and_then(named)
        .map(Compression::of)?;
    let most = default.algorithm.levels().map_or(0, |(most, _)| most);
    let level = positive(&fields, "level", 1..=i64::from(most)).or(default.level);
    Some(Compression { level, ..default })
}

fn read_tags(image: &Fields) -> Option<Vec<String>> {
    let tags = checked(image, "tags", value::tag)?;
    if tags.is_empty() {
        let span = image.value("tags").map_or(0..0, Spanned::span);
        let problem = image.reader.problem(span, "an image has at least one tag");
        image
            .reader
            .report(problem.help("add one, or drop `tags` to get the package's version"));
    }
    Some(tags)
}

/// A string that is one of `choices`.
fn choice(fields: &Fields, name: &str, choices: &[&str]) -> Option<String> {
    let text = fields.string(name)?;
    if !choices.contains(&text.get_ref().as_str()) {
        let what = format!(
            "`{}` is not a possible {}",
            text.get_ref(),
            fields.place_of(name)
        );
        let help = suggestion(text.get_ref(), "possible ones", choices.iter().copied());
        fields
            .reader
            .report(fields.reader.problem(text.span(), what).help(help));
        return None;
    }
    Some(text.into_inner())
}

/// An integer in `range`.
fn positive(fields: &Fields, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<u32> {
    let number = fields.integer(name)?;
    let fits = range.contains(number.get_ref());
    if !fits {
        let what = format!(
            "{} is not a possible {}",
            number.get_ref(),
            fields.place_of(name)
        );
        let help = format!("it goes from {} to {}", range.start(), range.end());
        fields
            .reader
            .report(fields.reader.problem(number.span(), what).help(help));
    }
    u32::try_from(number.into_inner()).ok().filter(|_| fits)
}

/// Strings that `verdict` finds nothing wrong with.
fn checked(
    fields: &Fields,
    name: &str,
    verdict: impl Fn(&str) -> Result<(), String>,
) -> Option<Vec<String>> {
    let texts = fields.strings(name)?;
    for text in &texts {
        accept(fields.reader, text, verdict(text.get_ref()));
    }
    report_repeated(fields, name, &texts);
    Some(plain(texts))
}

fn report_repeated(fields: &Fields, name: &str, texts: &[Spanned<String>]) {
    for (index, text) in texts.iter().enumerate() {
        let earlier = texts[..index]
            .iter()
            .find(|other| other.get_ref() == text.get_ref());
        if let Some(earlier) = earlier {
            let what = format!("{} names `{}` twice", fields.place_of(name), text.get_ref());
            let problem = fields.reader.problem(text.span(), what);
            let problem = problem.note_at(fields.reader.source, earlier.span(), "first named");
            fields.reader.report(problem.help("drop one of them"));
        }
    }
}

fn packages(fields: &Fields, name: &str) -> Option<Vec<String>> {
    checked(fields, name, value::package)
}

fn packages_or_none(fields: &Fields, name: &str) -> Vec<String> {
    packages(fields, name).unwrap_or_default()
}

fn required_path(fields: &Fields, name: &str) -> Option<Spanned<String>> {
    let path = fields.required(name, fields.string(name), "\"/…\"")?;
    Some(image_path(fields.reader, path))
}

/// Reports a path that can't be one of an image, and returns it as it is: what else is wrong is to be found too.
fn image_path(reader: &Reader, path: Spanned<String>) -> Spanned<String> {
    accept(reader, &path, value::image_path(path.get_ref()));
    path
}

/// A path that names a file itself, not the directory to put it into.
fn file_path(reader: &Reader, path: Spanned<String>) -> Spanned<String> {
    if path.get_ref().ends_with('/') {
        let problem = reader.problem(
            path.span(),
            format!("`{}` names a directory", path.get_ref()),
        );
        reader.report(problem.help("give the whole path, the name of the file included"));
    }
    path
}

fn trim_slash(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_string(),
        trimmed => trimmed.to_string(),
    }
}

/// The value that `verdict` found, or nothing and a problem that quotes `text`.
fn accept<T>(reader: &Reader, text: &Spanned<String>, verdict: Result<T, String>) -> Option<T> {
    match verdict {
        Ok(value) => Some(value),
        Err(wrong) => {
            reader.report(reader.problem(text.span(), format!("`{}` {wrong}", text.get_ref())));
            None
        }
    }
}

fn plain(texts: Vec<Spanned<String>>) -> Vec<String> {
    texts.into_iter().map(Spanned::into_inner).collect()
}
