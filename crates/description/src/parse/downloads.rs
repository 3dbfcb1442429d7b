//! Files from the web: `download` of `[parts.NAME]`, and the fields that `downloads` of images and
//! crates share with it. nix/download reads the same fields.

use toml::Spanned;
use toml::de::DeValue;

use super::{accept, npm, positive};
use crate::model::{Download, DownloadedPart};
use crate::reader::{Fields, Reader};
use crate::{schema, value};

/// The maximum of `strip`, a number of directories.
const MAX_STRIP: i64 = 16;

/// Reads the downloads of the part with that name.
pub(super) fn read(part: &Fields, name: &str) -> Option<DownloadedPart> {
    refuse_npms_fields(part);
    let reader = part.reader;
    let value = part.value("download")?;
    let place = part.place_of("download");
    let (tables, place): (Vec<&Spanned<DeValue>>, String) = match value.get_ref().as_array() {
        Some(array) => (array.iter().collect(), format!("an element of {place}")),
        None => (vec![value], place),
    };
    if tables.is_empty() {
        let message = format!("{} is empty", part.place_of("download"));
        let problem = reader.problem(value.span(), message);
        reader.report(problem.help("add `{ url = \"https://…\" }`"));
    }
    let read = |table| read_one(&reader.table(table, &schema::DOWNLOAD, &place)?);
    let downloads: Vec<Download> = tables.into_iter().filter_map(read).collect();
    let part = DownloadedPart {
        place: part.place.clone(),
        file: name.to_owned(),
        downloads,
    };
    check_architectures(reader, &part);
    Some(part)
}

fn refuse_npms_fields(part: &Fields) {
    for name in npm::FIELDS {
        let Some(key) = part.key(name) else { continue };
        let message = format!(
            "`{name}` is for parts that npm makes, and {} is downloaded",
            part.place
        );
        let problem = part.reader.problem(key, message);
        part.reader.report(problem.help(format!("drop `{name}`")));
    }
}

/// Reads the fields of one download.
pub(super) fn read_one(fields: &Fields) -> Option<Download> {
    let reader = fields.reader;
    let url = fields.required("url", fields.string("url"), "\"https://…\"");
    let sha256 = fields.string("sha256");
    if let Some(sha256) = &sha256 {
        accept(reader, sha256, value::sha256(sha256.get_ref()));
    }
    let architecture = fields.string("architecture");
    if let Some(architecture) = &architecture {
        let verdict = value::debian_architecture(architecture.get_ref());
        accept(reader, architecture, verdict);
    }
    let unpack = fields.boolean("unpack").unwrap_or(false);
    positive(fields, "strip", 1..=MAX_STRIP);
    if let Some(key) = fields.key("strip").filter(|_| !unpack) {
        let problem = reader.problem(key, "`strip` leaves out directories of an archive");
        reader.report(problem.help("add `unpack = true`, or drop `strip`"));
    }
    let url = url?;
    accept(reader, &url, address(url.get_ref()))?;
    Some(Download {
        architecture: architecture.map(Spanned::into_inner),
        url,
        sha256: sha256.map(Spanned::into_inner),
        unpack,
        key: fields.key("url")?,
    })
}

/// Checks an address, which is printed and becomes a word of commands.
fn address(text: &str) -> Result<(), String> {
    let rest = value::after_scheme(text)?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err(
            "holds a user name or password, which everyone with the workspace could read; \
             download the file yourself, and pass it as a part from the flake"
                .to_owned(),
        );
    }
    let fits = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    match !host.is_empty() && rest.chars().all(fits) {
        true => Ok(()),
        false => Err(
            "is not an address: a host, and a path in which other characters than those of \
             addresses are written as `%` and two hexadecimal digits"
                .to_owned(),
        ),
    }
}

/// Checks that either one download is for all architectures, or each is for a different one.
pub(super) fn check_architectures(reader: &Reader, part: &DownloadedPart) {
    let DownloadedPart {
        place, downloads, ..
    } = part;
    for (index, download) in downloads.iter().enumerate() {
        let span = download.url.span();
        let Some(architecture) = &download.architecture else {
            if downloads.len() > 1 {
                let message =
                    format!("{place} has several downloads, but this one names no architecture");
                let problem = reader.problem(span, message);
                reader.report(problem.help("add `architecture = \"amd64\"`"));
            }
            continue;
        };
        let earlier = downloads[..index]
            .iter()
            .find(|other| other.architecture == download.architecture);
        if let Some(earlier) = earlier {
            let message = format!("{place} has two downloads for `{architecture}`");
            let problem = reader.problem(span, message);
            let problem = problem.note_at(reader.source, earlier.url.span(), "the first is");
            reader.report(problem.help("drop one of them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Description;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(part: &str) -> Result<Description, String> {
        let text = format!("version = 1\n[parts.tool]\n{part}\n[images]\n");
        Description::parse(&text, "images.toml").map_err(|problems| problems.to_string())
    }

    #[test]
    fn downloads_are_read() {
        let one = format!("download = {{ url = \"https://h/a%20b?c=d&e\", sha256 = \"{HASH}\" }}");
        let described = read(&one).expect("a description");
        let [download] = &described.downloads["tool"].downloads[..] else {
            panic!("{:?}", described.downloads);
        };
        assert_eq!(download.url.get_ref(), "https://h/a%20b?c=d&e");
        assert_eq!(download.sha256.as_deref(), Some(HASH));
        assert!(
            !described.package_sets().contains_key("npm"),
            "npm has no part in it"
        );
        let two = "download = [\n  { architecture = \"amd64\", url = \"https://h/a\" },\n  { \
                   architecture = \"arm64\", url = \"https://h/b\", unpack = true, strip = 1 },\n]";
        let described = read(two).expect("a description");
        let architectures = described.downloads["tool"].downloads.iter();
        let architectures: Vec<_> = architectures.map(|it| it.architecture.as_deref()).collect();
        assert_eq!(architectures, [Some("amd64"), Some("arm64")]);
    }

    #[test]
    fn wrong_downloads_are_refused() {
        let one = |fields: &str| format!("download = {{ url = \"https://h/a\", {fields} }}");
        for (part, expected) in [
            ("download = {}".to_owned(), "has no `url`"),
            ("download = []".to_owned(), "is empty"),
            ("download = \"https://h/a\"".to_owned(), "must be a table"),
            ("npm = \"ui\"\ndownload = {}".to_owned(), "has both"),
            (
                format!("{}\nscripts = []", one("unpack = true")),
                "`scripts` is for parts that npm makes",
            ),
            (one("sha = \"\""), "unknown key `sha`"),
            (one("sha256 = \"abc\""), "is not a SHA-256"),
            (
                one(&format!("sha256 = \"{}\"", HASH.to_uppercase())),
                "is not a SHA-256",
            ),
            (one("architecture = \"x86_64\""), "architecture of Debian's"),
            (one("strip = 1"), "add `unpack = true`"),
            (one("unpack = true, strip = 0"), "is not a possible"),
            (one("unpack = true, strip = 17"), "is not a possible"),
            (
                "download = [{ url = \"https://h/a\" }, { url = \"https://h/b\" }]".to_owned(),
                "this one names no architecture",
            ),
            (
                "download = [{ architecture = \"amd64\", url = \"https://h/a\" }, \
                 { architecture = \"amd64\", url = \"https://h/b\" }]"
                    .to_owned(),
                "two downloads for `amd64`",
            ),
        ] {
            let error = read(&part).expect_err(&part);
            assert!(error.contains(expected), "{part}: {error}");
            assert!(
                error.contains("images.toml:3:") || part.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn addresses_are_of_the_web_and_hold_no_secret() {
        for (url, expected) in [
            ("file:///etc/shadow", "begins with `https://`"),
            ("ftp://h/a", "begins with `https://`"),
            ("--store", "begins with `https://`"),
            ("https://", "is not an address"),
            ("https:///a", "is not an address"),
            ("https://h/a b", "is not an address"),
            ("https://h/a\\nb", "is not an address"),
            ("https://h/ä", "is not an address"),
            ("https://me:secret@h/a", "user name or password"),
        ] {
            let part = format!("download = {{ url = \"{url}\" }}");
            let error = read(&part).expect_err(url);
            assert!(error.contains(expected), "{url}: {error}");
        }
        let at = "download = { url = \"https://h/@scope/a@1.0\" }";
        assert!(read(at).is_ok(), "`@` in a path is not a user");
    }
}
