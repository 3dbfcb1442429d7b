//! The names of parts that images and crates download for themselves. They hold `:`, so no part of
//! the flake or of `[parts]` has one of them. nix/download/all.nix makes the same names.

/// The longest name of a file in the store, in bytes: less than what a store path allows.
const MAX_NAME: usize = 100;

/// Returns the name of the part that a table (`images.gateway`, `crates.geo`) downloads to a path.
/// The path holds no `:`.
pub(crate) fn name(table: &str, path: &str) -> String {
    format!("{table}:{}", path.trim_matches('/').replace('/', ":"))
}

/// Returns the path of a download. With `from` and `/` at the end of the path, that is the path of
/// the file in the directory.
pub(crate) fn path(path: &str, from: &str) -> String {
    match crate::last_part(from.trim_matches('/')) {
        last if path.ends_with('/') => format!("{path}{last}"),
        _ => path.to_owned(),
    }
}

/// Whether a part has such a name.
pub(crate) fn is_own(name: &str) -> bool {
    name.contains(':')
}

/// Returns the name of the part's file in the store: the end of the path, if a store path can have
/// it. So the same file at the same path is in the store once, no matter which images it is for.
pub(crate) fn file(path: &str) -> String {
    let last = crate::last_part(path.trim_matches('/'));
    let fits = |c: char| c.is_ascii_alphanumeric() || "+._?=-".contains(c);
    let is_name = (1..=MAX_NAME).contains(&last.len()) && last.chars().all(fits);
    if is_name { last } else { "file" }.to_owned()
}

/// Names a part for people: "the part `web`", or "the download of `/usr/bin/tool`".
pub fn shown(name: &str) -> String {
    let Some((table, path)) = name.split_once(':') else {
        return format!("the part `{name}`");
    };
    let root = if table.starts_with("images.") {
        "/"
    } else {
        ""
    };
    format!("the download of `{root}{}`", path.replace(':', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_table_and_path() {
        for (table, path, expected, said) in [
            (
                "images.gateway",
                "/usr/bin/tool",
                "images.gateway:usr:bin:tool",
                "the download of `/usr/bin/tool`",
            ),
            (
                "crates.geo",
                "data/cities",
                "crates.geo:data:cities",
                "the download of `data/cities`",
            ),
            ("images.a", "/", "images.a:", "the download of `/`"),
        ] {
            let name = name(table, path);
            assert_eq!(name, expected);
            assert_eq!(shown(&name), said);
            assert!(is_own(&name));
        }
        assert_eq!(shown("web"), "the part `web`");
    }

    #[test]
    fn a_file_of_an_archive_has_its_own_path() {
        assert_eq!(path("/usr/bin/", "kit/bin/run"), "/usr/bin/run");
        assert_eq!(path("/usr/bin/it", "kit/bin/run"), "/usr/bin/it");
        assert_eq!(path("/opt/kit/", ""), "/opt/kit/");
    }

    #[test]
    fn a_file_in_the_store_has_a_name_that_a_store_path_allows() {
        for (path, expected) in [
            ("/usr/bin/tool-1.0+b", "tool-1.0+b"),
            ("/opt/kit/", "kit"),
            ("/srv/my kit", "file"),
            ("/srv/ü", "file"),
            ("/", "file"),
        ] {
            assert_eq!(file(path), expected, "{path}");
        }
        assert_eq!(file(&format!("/{}", "a".repeat(101))), "file");
    }
}
