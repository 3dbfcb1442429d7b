//! Adds the hashes of downloads to the text of images.toml, for `assemble lock`. The rest of the
//! text stays as it is.

use crate::model::{Description, Download, DownloadedPart};
use crate::problem::{Problem, Problems};

impl Description {
    /// Returns the downloads without a hash, each with its part.
    pub fn unpinned(&self) -> impl Iterator<Item = (&DownloadedPart, &Download)> {
        let all = self.downloads.values().flat_map(|part| {
            let downloads = part.downloads.iter();
            downloads.map(move |download| (part, download))
        });
        all.filter(|(_, download)| download.sha256.is_none())
    }

    /// Returns the text with a hash added beside the `url` of each download that has none. `hashes`
    /// are in the order of [`Description::unpinned`].
    ///
    /// # Errors
    /// Lists the downloads if the new text does not describe the same ones: they are written in a
    /// form that this function does not know.
    pub fn with_hashes(&self, hashes: &[String]) -> Result<String, Problems> {
        let unpinned: Vec<(&Download, &String)> = self
            .unpinned()
            .map(|(_, download)| download)
            .zip(hashes)
            .collect();
        let text = self.source.text();
        let insertions = unpinned.iter();
        let mut insertions: Vec<(usize, String)> = insertions
            .map(|(download, hash)| insertion(text, download, hash))
            .collect();
        insertions.sort();
        let mut pinned = text.to_owned();
        for (at, addition) in insertions.iter().rev() {
            pinned.insert_str(*at, addition);
        }
        let read = Description::parse(&pinned, self.source.name());
        if read.is_ok_and(|read| is_pinned(self, &read, hashes)) {
            return Ok(pinned);
        }
        let by_hand = |(download, hash): &(&Download, &String)| -> Problem {
            let message = "the hash of this download can't be added here";
            let problem = self.source.problem(download.url.span(), message);
            problem.help(format!("add `sha256 = \"{hash}\"` yourself"))
        };
        Err(Problems::new(unpinned.iter().map(by_hand).collect()))
    }
}

/// Returns the place and the text to insert: after the address in an inline table, otherwise on a
/// line below. The new key has the same prefix as the key `url`: spaces, or the first parts of a
/// dotted key.
fn insertion(text: &str, download: &Download, hash: &str) -> (usize, String) {
    let (key, value) = (&download.key, download.url.span());
    let line = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    let before = &text[line..key.start];
    if let Some(at) = before.rfind(['{', ',']) {
        let prefix = before[at + 1..].trim_start();
        return (value.end, format!(", {prefix}sha256 = \"{hash}\""));
    }
    let Some(at) = text[value.end..].find('\n') else {
        return (text.len(), format!("\n{before}sha256 = \"{hash}\""));
    };
    let next = value.end + at + 1;
    let end = match text[..next].ends_with("\r\n") {
        true => "\r\n",
        false => "\n",
    };
    (next, format!("{before}sha256 = \"{hash}\"{end}"))
}

/// Whether the downloads are the same except for these hashes.
fn is_pinned(before: &Description, after: &Description, hashes: &[String]) -> bool {
    type Said = (String, String, Option<String>, Option<String>);
    let said = |description: &Description| -> Vec<Said> {
        let all = description.downloads.iter().flat_map(|(name, part)| {
            part.downloads.iter().map(move |it| {
                let url = it.url.get_ref().clone();
                (
                    name.clone(),
                    url,
                    it.architecture.clone(),
                    it.sha256.clone(),
                )
            })
        });
        all.collect()
    };
    let mut expected = said(before);
    let open = expected.iter_mut().filter(|(.., sha256)| sha256.is_none());
    for ((.., sha256), hash) in open.zip(hashes) {
        *sha256 = Some(hash.clone());
    }
    expected == said(after) && before.images.len() == after.images.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes() -> [String; 2] {
        ["1".repeat(64), "2".repeat(64)]
    }

    /// Pins `parts`, and replaces the hashes with `<1>` and `<2>`.
    fn pinned(parts: &str) -> Result<String, Problems> {
        let text = format!("version = 1\nimages = {{}}\n{parts}");
        let described = Description::parse(&text, "images.toml").expect("a description");
        let mut pinned = described.with_hashes(&hashes())?;
        for (number, hash) in (1..).zip(hashes()) {
            pinned = pinned.replace(&hash, &format!("<{number}>"));
        }
        let start = pinned.find("images = {}\n").expect("the beginning") + 12;
        Ok(pinned.split_off(start))
    }

    #[test]
    fn hashes_are_added_in_every_form_of_a_table() {
        for (parts, expected) in [
            (
                "[parts.a]\ndownload = { url = \"http://h/a\", unpack = true } # a\n",
                "[parts.a]\ndownload = { url = \"http://h/a\", sha256 = \"<1>\", unpack = true } # \
                 a\n",
            ),
            (
                "[parts.a.download]\n  url = 'http://h/a' # a, {\n  unpack = true\n",
                "[parts.a.download]\n  url = 'http://h/a' # a, {\n  sha256 = \"<1>\"\n  unpack = \
                 true\n",
            ),
            (
                "[parts.a]\r\ndownload.url = \"http://h/a\"\r\n",
                "[parts.a]\r\ndownload.url = \"http://h/a\"\r\ndownload.sha256 = \"<1>\"\r\n",
            ),
            (
                "[parts.a]\ndownload.url = \"http://h/a\"",
                "[parts.a]\ndownload.url = \"http://h/a\"\ndownload.sha256 = \"<1>\"",
            ),
            (
                "[parts]\na = { download.url = \"http://h/a\" }\n",
                "[parts]\na = { download.url = \"http://h/a\", download.sha256 = \"<1>\" }\n",
            ),
            (
                "[parts.a]\ndownload = [\n  { architecture = \"arm64\", url = \"http://h/a\" },\n  \
                 { architecture = \"amd64\", url = \"http://h/b\" },\n]\n",
                "[parts.a]\ndownload = [\n  { architecture = \"arm64\", url = \"http://h/a\", \
                 sha256 = \"<1>\" },\n  { architecture = \"amd64\", url = \"http://h/b\", sha256 = \
                 \"<2>\" },\n]\n",
            ),
            (
                "[[parts.b.download]]\nurl = \"http://h/b\"\n[parts.a.download]\n\
                 \"url\" = \"http://h/\\u0061\"\n",
                "[[parts.b.download]]\nurl = \"http://h/b\"\nsha256 = \"<2>\"\n[parts.a.download]\n\
                 \"url\" = \"http://h/\\u0061\"\nsha256 = \"<1>\"\n",
            ),
        ] {
            assert_eq!(pinned(parts).expect(parts), expected);
        }
    }

    /// Images and crates have downloads without a part of their own. A variant has those of its
    /// image, once.
    #[test]
    fn downloads_of_images_and_crates_are_pinned_in_place() {
        let text = "version = 1\n\
                    [crates.c]\ndownloads = [{ path = \"in\", url = \"http://h/c\" }]\n\
                    [[images.a.downloads]]\nurl = \"http://h/a\" # a\npath = \"/a\"\n\
                    [images.a.variants.v]\ntags = [\"v\"]\n";
        let described = Description::parse(text, "images.toml").expect("a description");
        let pinned = described.with_hashes(&hashes()).expect("a text");
        let [one, two] = hashes();
        let expected = text
            .replace("/c\"", &format!("/c\", sha256 = \"{one}\""))
            .replace("# a\n", &format!("# a\nsha256 = \"{two}\"\n"));
        assert_eq!(pinned, expected);
    }

    #[test]
    fn a_hash_that_is_there_stays() {
        let own = "3".repeat(64);
        let a = format!("a = {{ download = {{ url = \"http://h/a\", sha256 = \"{own}\" }} }}\n");
        let b = "b = { download = { url = \"http://h/b\" } }\n";
        let text = pinned(&format!("[parts]\n{a}{b}")).expect("a text");
        assert!(text.contains(&a), "{text}");
        assert!(text.contains("\"http://h/b\", sha256 = \"<1>\""), "{text}");
    }

    /// A table whose line begins inside another value.
    #[test]
    fn an_unknown_form_is_told_and_left_alone() {
        let text =
            "version = 1\nimages = {}\n[parts]\na = { download = { url = \"http://h/a\" } }\n";
        let mut described = Description::parse(text, "images.toml").expect("a description");
        let key = text.find("version").expect("a key");
        described.downloads.get_mut("a").expect("a part").downloads[0].key = key..key + 3;
        let error = described.with_hashes(&hashes()).expect_err("another form");
        let said = error.to_string();
        assert!(said.contains("images.toml:4:26: error: the hash"), "{said}");
        assert!(
            said.contains(&format!("add `sha256 = \"{}\"`", hashes()[0])),
            "{said}"
        );
    }
}
