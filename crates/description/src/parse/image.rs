//! Reads images.

use std::collections::BTreeMap;
use std::ops::Range;

use crateyard_spec::{Compression, CompressionAlgorithm, Port};
use toml::Spanned;
use toml::de::DeValue;

use super::content::{
    read_bundled, read_chart, read_directory, read_file, read_link, read_replace,
};
use super::field::{
    accept, checked, choice, file_path, image_path, packages, plain, positive, tables,
};
use super::named;
use super::{attributes, own_downloads, steps};
use crate::model::*;
use crate::reader::{Fields, Reader};
use crate::{schema, value};

pub(super) fn read_images(top: &Fields) -> BTreeMap<String, Image> {
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
        // The names come sorted, not in the order of the text; the problem belongs to the later
        // place.
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

/// Reads an image and its variants.
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
    let table = format!("images.{}", name.get_ref());
    let own = read_image_fields(&fields, &table);
    let image = name.get_ref().clone();
    let variants = named(
        &fields,
        "variants",
        &format!("images.{image}.variants"),
        |reader, variant, value, place| {
            accept(reader, &variant, value::image_name(variant.get_ref()));
            let fields = reader.table(value, &schema::VARIANT, place)?;
            let table = format!("{table}-{}", variant.get_ref());
            Some(Image {
                name: Spanned::new(variant.span(), format!("{image}-{}", variant.get_ref())),
                variant_of: Some(image.clone()),
                fields: read_image_fields(&fields, &table).over(&own),
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

/// Reads the fields of an image. `table` is `images.NAME`, with the whole name of a variant.
fn read_image_fields(fields: &Fields, table: &str) -> ImageFields {
    ImageFields {
        base: read_base(fields),
        binaries: read_binaries(fields),
        build: read_image_build(fields),
        packages: packages(fields, "packages"),
        files: tables(fields, "files", &schema::FILE, read_file),
        downloads: own_downloads::of_image(fields, table),
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
        labels: read_map(fields, "labels", value::label),
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
                "write \"none\", { set = \"…\" }, { layout = \"…\" } or { reference = \
                 \"…@sha256:…\" }",
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

/// Reads a reference and its digest, which follows `@` or is a field of its own.
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

/// Reads a binary from `package` or `package/bin`.
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

pub(super) fn read_map(
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
    // Engines take an interval or timeout of zero to mean "not given".
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

fn read_platforms(image: &Fields) -> Option<Vec<Spanned<value::TargetPlatform>>> {
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
    let names: Vec<&str> = CompressionAlgorithm::ALL
        .iter()
        .map(|it| it.name())
        .collect();
    let named = |name: String| {
        CompressionAlgorithm::ALL
            .into_iter()
            .find(|it| it.name() == name)
    };
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
