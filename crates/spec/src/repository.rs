//! The owner of a repository, by the repository's address.

/// Directories of servers, and first parts of web paths: other servers have an owner there.
const DIRECTORIES: [&str; 9] = [
    "git", "home", "mnt", "opt", "repos", "scm", "srv", "usr", "var",
];

/// The names in addresses of pages, after the repository: `OWNER/REPO/tree/main/crate`.
const PAGES: [&str; 4] = ["-", "blob", "src", "tree"];

/// Returns the owner in `https://HOST/OWNER/REPO`, `ssh://HOST/OWNER/REPO` or `HOST:OWNER/REPO`, or
/// in the address of a page of such a repository. Any other path may mean something else, such as
/// a directory of a server or nested groups. Then it returns `None`, because no owner is better
/// than a false one.
pub fn repository_owner(address: &str) -> Option<&str> {
    let address = address.split(['?', '#']).next()?;
    let path = match address.split_once("://") {
        Some(("http" | "https" | "ssh" | "git", rest)) => rest.split_once('/')?.1,
        Some(_) => return None,
        // A colon after a slash is part of a path on this machine.
        None => {
            let (host, path) = address.split_once(':')?;
            (!host.contains('/') && !path.starts_with('/')).then_some(path)?
        }
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let owner = match parts[..] {
        [owner, _] => owner,
        [owner, _, page, ..] if PAGES.contains(&page) => owner,
        _ => return None,
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (owner.chars().all(is_plain) && !DIRECTORIES.contains(&owner)).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hosts_name_an_owner() {
        for address in [
            "https://github.com/team/shop",
            "https://github.com/team/shop.git",
            "http://github.com/team/shop/",
            "https://ann:secret@gitlab.example:8443/team/shop",
            "https://github.com/team/shop/tree/main/crates/shop",
            "https://gitlab.com/team/shop/-/tree/main/shop",
            "https://github.com/team/shop?branch=a/b#0123",
            "git://github.com/team/shop",
            "ssh://git@github.com/team/shop",
            "git@github.com:team/shop.git",
        ] {
            assert_eq!(repository_owner(address), Some("team"), "{address}");
        }
    }

    #[test]
    fn other_addresses_name_no_owner() {
        for address in [
            "file:///srv/team/shop",
            "../team/shop",
            "/srv/a:b/shop",
            "C:/team/shop",
            "host:shop",
            "host:~ann/shop",
            "git@server:/srv/shop.git",
            "git@server:/srv/git/shop.git",
            "git@server:srv/shop.git",
            "ssh://server/srv/shop.git",
            "ssh://server/home/ann/shop.git",
            "ssh://git@ssh.dev.azure.com/v3/org/project/shop",
            "git@ssh.dev.azure.com:v3/org/project/shop",
            "https://dev.azure.com/org/project/_git/shop",
            "https://host.example/scm/PROJ/shop.git",
            "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/shop",
            "https://gitlab.example/team/deep/shop",
            "https://git.sr.ht/~ann/shop",
            "https://user:secret@host.example",
            "https://host.example/shop",
            "https://host.example/",
            "shop",
            "",
        ] {
            assert_eq!(repository_owner(address), None, "{address}");
        }
    }
}
