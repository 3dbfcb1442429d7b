//! `downloads` of images and crates. The elements for one path are one part, and the element says
//! where it goes.

use std::collections::BTreeMap;

use toml::Spanned;

use super::content::{read_mode, read_owner, read_replace};
use super::field::{accept, file_path, required_path, tables, trim_slash};
use super::{attributes, downloads, parts};
use crate::model::*;
use crate::reader::Fields;
use crate::{own_part, schema, value};

/// An element of `downloads`, and the thing that it becomes.
struct Element<T> {
    /// The path, from which the part has its name.
    path: Spanned<String>,
    download: Download,
    entry: T,
}

/// Reads `downloads` of an image. `table` is the image's own: `images.NAME`.
pub(super) fn of_image(image: &Fields, table: &str) -> Option<Vec<ImageDownload>> {
    let read = |fields: &Fields| read_image_element(fields, table);
    let elements = tables(image, "downloads", &schema::IMAGE_DOWNLOAD, read)?;
    let parts = joined(image, table, elements, is_same_file);
    let download = |(name, part, file)| ImageDownload { name, part, file };
    Some(parts.into_iter().map(download).collect())
}

/// Reads `downloads` of a crate: the parts by name, and their places in the package's directory.
pub(super) fn of_crate(
    fields: &Fields,
    table: &str,
) -> (BTreeMap<String, DownloadedPart>, Vec<CratePart>) {
    let read = |fields: &Fields| read_crate_element(fields, table);
    let elements = tables(fields, "downloads", &schema::CRATE_DOWNLOAD, read).unwrap_or_default();
    let is_same = |one: &CratePart, other: &CratePart| one.from == other.from;
    let parts = joined(fields, table, elements, is_same);
    let both = parts
        .into_iter()
        .map(|(name, part, place)| ((name, part), place));
    both.unzip()
}

fn read_image_element(fields: &Fields, table: &str) -> Option<Element<File>> {
    let download = downloads::read_one(fields);
    let path = required_path(fields, "path");
    let (mode, owner) = (read_mode(fields), read_owner(fields));
    let attributes = attributes::read(fields);
    let from = read_from(fields);
    let (path, download) = (path?, download?);
    let own = own_path(fields, &path);
    let name = own_part::name(table, own.get_ref());
    let place = match (download.unpack, from.as_str()) {
        (false, _) => file_path(fields.reader, path.clone()),
        (true, "") => Spanned::new(path.span(), trim_slash(path.get_ref())),
        (true, _) => path.clone(),
    };
    let file = File {
        content: Spanned::new(path.span(), Content::Part { name, from }),
        path: place,
        mode,
        owner,
        replace: read_replace(fields),
        attributes,
    };
    Some(Element {
        path: own,
        download,
        entry: file,
    })
}

fn read_crate_element(fields: &Fields, table: &str) -> Option<Element<CratePart>> {
    let download = downloads::read_one(fields);
    let path = fields.required("path", fields.string("path"), "\"data/file\"");
    let from = read_from(fields);
    let (path, download) = (path?, download?);
    let place = accept(fields.reader, &path, value::inner_path(path.get_ref()))?;
    let own = own_path(fields, &path);
    let name = own_part::name(table, own.get_ref());
    let entry = CratePart {
        part: Spanned::new(path.span(), name),
        path: Spanned::new(path.span(), place),
        from,
    };
    Some(Element {
        path: own,
        download,
        entry,
    })
}

/// Returns the path from which the part has its name. Refuses `:`, which separates directories
/// there.
fn own_path(fields: &Fields, path: &Spanned<String>) -> Spanned<String> {
    let from = fields.value("from").and_then(|it| it.get_ref().as_str());
    let own = own_part::path(path.get_ref(), from.unwrap_or_default());
    if own.contains(':') {
        let problem = fields
            .reader
            .problem(path.span(), format!("`{own}` holds `:`"));
        let help = "give the download another path; a file with this name can be a part";
        fields.reader.report(problem.help(help));
    }
    Spanned::new(path.span(), own)
}

/// Reads `from`, a path in an archive.
fn read_from(fields: &Fields) -> String {
    let is_unpacked = fields.boolean("unpack").unwrap_or(false);
    if let Some(key) = fields.key("from").filter(|_| !is_unpacked) {
        let problem = fields.reader.problem(key, "`from` is a path in an archive");
        let help = "add `unpack = true`, or drop `from`";
        fields.reader.report(problem.help(help));
    }
    parts::read_from(fields, true)
}

/// Joins elements with one path: each is the part's download for another architecture. Only their
/// downloads may differ.
fn joined<T>(
    fields: &Fields,
    table: &str,
    elements: Vec<Element<T>>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Vec<(String, DownloadedPart, T)> {
    let mut parts: Vec<(String, DownloadedPart, T)> = Vec::new();
    for Element {
        path,
        download,
        entry,
    } in elements
    {
        let name = own_part::name(table, path.get_ref());
        let known = parts.iter_mut().find(|(other, ..)| *other == name);
        let Some((_, part, first)) = known else {
            let part = DownloadedPart {
                place: format!("`{}`", path.get_ref()),
                file: own_part::file(path.get_ref()),
                downloads: vec![download],
            };
            parts.push((name, part, entry));
            continue;
        };
        if !is_same(first, &entry) {
            let message = format!(
                "the downloads to `{}` differ in more than their files",
                path.get_ref()
            );
            let problem = fields.reader.problem(path.span(), message);
            let help = "give all of them the same fields besides `architecture`, `url`, `sha256`, \
                        `unpack` and `strip`";
            fields.reader.report(problem.help(help));
        }
        part.downloads.push(download);
    }
    for (_, part, _) in &parts {
        downloads::check_architectures(fields.reader, part);
    }
    parts
}

/// Whether two elements with one path make the same file.
fn is_same_file(one: &File, other: &File) -> bool {
    let fields = |file: &File| {
        (
            file.content.get_ref().clone(),
            file.mode,
            file.owner.clone(),
            file.replace,
            file.attributes.all.clone(),
        )
    };
    fields(one) == fields(other)
}

#[cfg(test)]
mod tests {
    use crate::{Content, Description};

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(tables: &str) -> Result<Description, String> {
        let text = format!("version = 1\n{tables}\n");
        Description::parse(&text, "images.toml").map_err(|problems| problems.to_string())
    }

    #[test]
    fn downloads_for_one_path_are_one_part() {
        let tables = "[crates.geo]\ndownloads = [{ url = \"https://h/c\", path = \"in/c\" }]\n\
                      [images.a]\ndownloads = [\n\
                      { architecture = \"amd64\", url = \"https://h/a\", path = \"/usr/bin/a\" },\n\
                      { url = \"https://h/k\", path = \"/opt/k/\", unpack = true },\n\
                      { architecture = \"arm64\", url = \"https://h/b\", path = \"/usr/bin/a\" },\n\
                      ]\n[images.a.variants.v]\ntags = [\"v\"]\n\
                      [images.a.variants.w]\ndownloads = []\n";
        let described = read(tables).expect("a description");
        let names: Vec<&String> = described.downloads.keys().collect();
        assert_eq!(
            names,
            ["crates.geo:in:c", "images.a:opt:k", "images.a:usr:bin:a"]
        );
        let tool = &described.downloads["images.a:usr:bin:a"];
        assert_eq!(
            (tool.place.as_str(), tool.file.as_str()),
            ("`/usr/bin/a`", "a")
        );
        assert_eq!(tool.downloads.len(), 2);
        let held = |image: &str| -> Vec<(String, &Content)> {
            let files = described.images[image].fields.all_files();
            files
                .map(|it| (it.destination(), it.content.get_ref()))
                .collect()
        };
        let part = |name: &str| Content::Part {
            name: name.to_owned(),
            from: String::new(),
        };
        let expected = [part("images.a:usr:bin:a"), part("images.a:opt:k")];
        let expected = [
            ("/usr/bin/a".to_owned(), &expected[0]),
            ("/opt/k".to_owned(), &expected[1]),
        ];
        assert_eq!(held("a"), expected);
        assert_eq!(held("a-v"), expected, "a variant has its image's downloads");
        assert!(held("a-w").is_empty(), "a variant's own replace them");
        let geo = &described.crates[0].parts[0];
        assert_eq!(
            (geo.part.get_ref().as_str(), geo.path.get_ref().as_str()),
            ("crates.geo:in:c", "in/c")
        );
    }

    #[test]
    fn wrong_downloads_are_refused() {
        let url = "url = \"https://h/a\"";
        let image = |fields: &str| format!("[images.a]\ndownloads = [{{ {url}, {fields} }}]\n");
        let other = |fields: &str| {
            let amd64 = format!("{{ architecture = \"amd64\", {url}, path = \"/a\"{fields} }}");
            let arm64 = format!("{{ architecture = \"arm64\", {url}, path = \"/a\" }}");
            format!("[images.a]\ndownloads = [{amd64}, {arm64}]\n")
        };
        let geo = |fields: &str| {
            format!("images = {{}}\n[crates.geo]\ndownloads = [{{ {url}, {fields} }}]\n")
        };
        for (tables, expected) in [
            (image("unpack = true"), "has no `path`"),
            (
                "[images.a]\ndownloads = [{ path = \"/a\" }]".to_owned(),
                "has no `url`",
            ),
            (image("path = \"usr/bin/a\""), "is not absolute"),
            (image("path = \"/srv/../etc/a\""), "write `/etc/a`"),
            (image("path = \"/proc/a\""), "would be hidden"),
            (image("path = \"/usr/bin/\""), "names a directory"),
            (image("path = \"/a:b\""), "holds `:`"),
            (image("path = \"/bin/a\""), "write `/usr/bin/a`"),
            (image("path = \"/a\", mode = 755"), "write \"0755\""),
            (image("path = \"/a\", user = \"me\""), "`me`"),
            (image("path = \"/a\", from = \"b\""), "add `unpack = true`"),
            (
                image("path = \"/a\", unpack = true, from = \"../b\""),
                "leads out",
            ),
            (image("path = \"/a\", sha256 = \"abc\""), "is not a SHA-256"),
            (
                image("path = \"/a\", source = \"b\""),
                "unknown key `source`",
            ),
            (
                other(", mode = \"0755\""),
                "differ in more than their files",
            ),
            (
                other(", user = \"nonroot\""),
                "differ in more than their files",
            ),
            (
                other("").replace("arm64", "amd64"),
                "`/a` has two downloads for `amd64`",
            ),
            (
                other("").replace("architecture = \"arm64\", ", ""),
                "but this one names no architecture",
            ),
            (
                image("path = \"/a\"") + "files = [{ text = \"t\", path = \"/a\" }]",
                "the download of `/a` and a text",
            ),
            (
                image("path = \"/a\"") + "files = [{ text = \"t\", path = \"/a/b\" }]",
                "which is the download of `/a` and no directory",
            ),
            (geo("path = \"/a\""), "is absolute"),
            (geo("path = \"../a\""), "leads out"),
            (geo("path = \"a\", mode = \"0755\""), "unknown key `mode`"),
        ] {
            let error = read(&tables).expect_err(&tables);
            assert!(error.contains(expected), "{tables}: {error}");
        }
        let pinned = image(&format!("path = \"/a\", sha256 = \"{HASH}\""));
        assert!(read(&pinned).is_ok());
    }
}
