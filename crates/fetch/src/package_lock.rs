//! Checks a `package-lock.json` before npm reads it, outside of any sandbox.
//!
//! The lock may be somebody else's. From a git repository, npm would install what that repository
//! asks for and run its programs, `--ignore-scripts` or not. It does so too for a dependency that
//! package.json or a package of the lock names, and that the lock lacks. A package's place in the
//! lock is a path, and npm writes there. So npm only gets locks whose packages are archives with a
//! hash, in directories called `node_modules`.
//! <https://docs.npmjs.com/cli/configuring-npm/package-lock-json>

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The most packages of a lock. The largest locks of real applications have some thousands.
const MAX_PACKAGES: usize = 100_000;

/// Hosts whose addresses npm takes for git repositories, except those of archives
/// (<https://github.com/npm/hosted-git-info>, `lib/hosts.js`).
const GIT_HOSTS: [&str; 5] = [
    "bitbucket.org",
    "gist.github.com",
    "git.sr.ht",
    "github.com",
    "gitlab.com",
];

/// The part of a lock that says where packages come from.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lock {
    /// By place. Locks before version 2 do not have this field, and npm asks their registry again.
    packages: BTreeMap<String, Package>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    in_bundle: bool,
    #[serde(default)]
    has_shrinkwrap: bool,
    #[serde(flatten)]
    wants: Wants,
}

/// The fields of a package that name others, in package.json and in the lock.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wants {
    dependencies: BTreeMap<String, String>,
    dev_dependencies: BTreeMap<String, String>,
    optional_dependencies: BTreeMap<String, String>,
    peer_dependencies: BTreeMap<String, String>,
    overrides: Value,
}

/// Checks a package.json and its lock. Names the package that npm must not install here.
///
/// # Errors
/// When one of them is malformed, or npm might do more for it than download and unpack archives.
pub fn check(manifest: &str, lock: &str) -> Result<()> {
    let wants: Wants = serde_json::from_str(manifest).context("package.json")?;
    check_wants(&wants).context("package.json")?;
    let lock: Lock = serde_json::from_str(lock)
        .context("package-lock.json: it is not a lock of version 2 or 3")?;
    ensure!(
        lock.packages.len() <= MAX_PACKAGES,
        "package-lock.json has more than {MAX_PACKAGES} packages"
    );
    for (place, package) in &lock.packages {
        let checked = check_package(place, package);
        checked.with_context(|| format!("package-lock.json: packages.{place:?}"))?;
    }
    Ok(())
}

fn check_wants(wants: &Wants) -> Result<()> {
    let named = wants.dependencies.iter();
    let named = named.chain(&wants.dev_dependencies);
    let named = named.chain(&wants.optional_dependencies);
    for (name, specifier) in named.chain(&wants.peer_dependencies) {
        check_specifier(specifier).with_context(|| format!("the dependency {name:?}"))?;
    }
    check_overrides(&wants.overrides).context("overrides")
}

fn check_overrides(overrides: &Value) -> Result<()> {
    match overrides {
        Value::String(specifier) => check_specifier(specifier),
        Value::Object(inner) => inner.values().try_for_each(check_overrides),
        _ => Ok(()),
    }
}

/// Checks the version, range, tag or address of a dependency.
/// <https://docs.npmjs.com/cli/configuring-npm/package-json#dependencies>
fn check_specifier(specifier: &str) -> Result<()> {
    if let Some(directory) = specifier.strip_prefix("file:") {
        let directory = directory.strip_prefix("./").unwrap_or(directory);
        ensure!(
            // npm takes `~` for the home directory.
            directory
                .split('/')
                .all(|part| is_plain(part) && part != "~"),
            "{specifier:?} leads out of the directory"
        );
        return Ok(());
    }
    // The name after `npm:` may have a scope.
    let rest = specifier
        .strip_prefix("npm:@")
        .map(|rest| rest.replacen('/', "", 1));
    let rest = rest
        .as_deref()
        .or(specifier.strip_prefix("npm:"))
        .unwrap_or(specifier);
    // A range or a tag does not begin like a path.
    match rest.starts_with('.') || rest.contains([':', '/', '\\']) {
        true => check_address(specifier),
        false => Ok(()),
    }
}

/// Whether a part of a path leads further down.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0'])
}

fn check_package(place: &str, package: &Package) -> Result<()> {
    check_wants(&package.wants)?;
    ensure!(
        !package.has_shrinkwrap,
        "the package brings a lock of its own, which is not known yet"
    );
    ensure!(
        place.is_empty() || place.split('/').all(is_plain),
        "the place leads out of the directory"
    );
    let resolved = package.resolved.as_deref();
    if package.link {
        let target = resolved.context("the link has no target")?;
        ensure!(
            target.split('/').all(is_plain),
            "it is a link to {target:?}, which leads out of the directory"
        );
        return Ok(());
    }
    let is_installed = place.split('/').any(|part| part == "node_modules");
    // The root and the directories of npm's workspaces are there already, and a bundled package is
    // in the archive of another one.
    if resolved.is_none() && (!is_installed || package.in_bundle) {
        return Ok(());
    }
    match resolved {
        Some(url) => check_address(url)?,
        // npm asks its registry for this version.
        None => check_version(package.version.as_deref().unwrap_or_default())?,
    }
    let integrity = package.integrity.as_deref().unwrap_or_default();
    ensure!(
        !integrity.trim().is_empty(),
        "no `integrity` says which bytes it has"
    );
    Ok(())
}

fn check_address(url: &str) -> Result<()> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        bail!("it comes from {url:?}, and only archives at https:// are fetched");
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = host_of(authority);
    let host = host.with_context(|| format!("it comes from {url:?}, which names no plain host"))?;
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    ensure!(
        !GIT_HOSTS.contains(&host.as_str()) || is_archive(&host, path),
        "it comes from {url:?}, which npm takes for a git repository"
    );
    Ok(())
}

/// Returns the host in an address. Returns `None` if the host or the port has a form that npm might
/// read as another host: escapes, spaces, letters beyond ASCII, or a port that is no number.
/// <https://url.spec.whatwg.org/#host-parsing>
fn host_of(authority: &str) -> Option<String> {
    let named = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match named.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => named.split_at(named.find(':').unwrap_or(named.len())),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let digits = port.strip_prefix(':').unwrap_or(port);
    if host.is_empty()
        || !host.bytes().all(is_plain)
        || !digits.bytes().all(|it| it.is_ascii_digit())
    {
        return None;
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    Some(host.strip_prefix("www.").unwrap_or(&host).to_owned())
}

/// Whether npm downloads this path of a host in [`GIT_HOSTS`] as an archive, such as a release's
/// file or a package of GitLab's registry. Paths of odd forms, which npm would rewrite before it
/// looks at them, count as repositories.
fn is_archive(host: &str, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let is_rewritten = |part: &&str| {
        let control = part.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        control || !is_plain(&part.to_ascii_lowercase().replace("%2e", "."))
    };
    if parts.iter().any(is_rewritten) {
        return false;
    }
    let third = parts.get(2).copied();
    match host {
        "github.com" => third.is_some_and(|kind| kind != "tree"),
        "bitbucket.org" => third == Some("get"),
        "gist.github.com" => third == Some("raw"),
        "git.sr.ht" => third == Some("archive"),
        // A project may be in groups, so the marker of an archive has no fixed place.
        "gitlab.com" => parts.iter().enumerate().skip(1).any(|(at, part)| {
            part.starts_with("archive.tar.gz") || (*part == "-" && at + 1 < parts.len())
        }),
        _ => false,
    }
}

/// Checks that a version is one, and not an address or a path, which npm would take there too.
fn check_version(version: &str) -> Result<()> {
    let is_of = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    ensure!(
        version.starts_with(|first: char| first.is_ascii_digit()) && version.bytes().all(is_of),
        "{version:?} is not a version"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"name": "a",
        "dependencies": {"b": "^1.0.0 || >=2", "c": "npm:@s/c@latest", "d": "https://h/d.tgz",
            "e": "file:./packages/e"},
        "overrides": {"b": {".": "$b", "f": "1.0.0"}}}"#;

    fn lock(place: &str, package: &str) -> String {
        format!(
            r#"{{"lockfileVersion": 3, "packages": {{"": {{"name": "a"}}, "{place}": {package}}}}}"#
        )
    }

    fn check(lock: &str) -> Result<()> {
        super::check(MANIFEST, lock)
    }

    #[test]
    fn archives_with_a_hash_are_installed() {
        let with =
            |rest: &str| format!(r#"{{"version": "1.0.0-a+b", "integrity": "sha512-AA=="{rest}}}"#);
        for (place, package) in [
            (
                "node_modules/a",
                with(r#", "resolved": "https://registry.npmjs.org/a/-/a-1.tgz""#),
            ),
            (
                "b/node_modules/@s/a",
                with(r#", "resolved": "http://127.0.0.1:1/a""#),
            ),
            (
                "node_modules/a",
                with(r#", "dev": true, "hasInstallScript": true"#),
            ),
            (
                "node_modules/a",
                with(r#", "resolved": "https://[::1]:8/a.tgz?b=c/d""#),
            ),
            (
                "node_modules/a/node_modules/b",
                r#"{"version": "1.0.0", "inBundle": true}"#.to_owned(),
            ),
            ("packages/b", r#"{"version": "1.0.0"}"#.to_owned()),
            (
                "node_modules/b",
                r#"{"link": true, "resolved": "packages/b"}"#.to_owned(),
            ),
        ] {
            check(&lock(place, &package)).unwrap_or_else(|error| panic!("{place}: {error:#}"));
        }
    }

    #[test]
    fn nothing_that_npm_would_run_or_write_elsewhere_is_installed() {
        let from = |url: &str| format!(r#"{{"resolved": "{url}", "integrity": "sha512-AA=="}}"#);
        let place = "node_modules/a";
        for url in [
            "git+ssh://git@github.com/a/b.git#0123",
            "git+file:///srv/a#0123",
            "git://h/a",
            "ssh://h/a",
            "https://github.com/a/b",
            "https://www.GitHub.com/a/b#0123",
            "https://me@gitlab.com:443/a/b",
            "https://bitbucket.org./a/b",
            "https://github%2ecom/a/b",
            "https://git\thub.com/a/b",
            "https://\u{ff47}ithub.com/a/b",
            "https://me@gitlab.com:a/b",
            "https://github.com:a/b/tree/c",
            "https://github.com",
            "https://",
            "file:../a.tgz",
            "/etc/passwd",
            "../a",
            "a/b",
            "",
        ] {
            assert!(check(&lock(place, &from(url))).is_err(), "{url}");
            let dev =
                from(url).replace('{', r#"{"dev": true, "optional": true, "inBundle": true, "#);
            assert!(check(&lock(place, &dev)).is_err(), "{url}");
        }
        for version in [
            "git+https://h/a",
            "file:..",
            "../a",
            "a/b",
            "npm:b",
            "latest",
            "",
        ] {
            let package = format!(r#"{{"version": "{version}", "integrity": "sha512-AA=="}}"#);
            assert!(check(&lock(place, &package)).is_err(), "{version}");
        }
        let package = from("https://registry.npmjs.org/a.tgz");
        for place in [
            "node_modules/../../a",
            "../node_modules/a",
            "/node_modules/a",
            "node_modules/a\\\\..",
            "node_modules//a",
        ] {
            assert!(check(&lock(place, &package)).is_err(), "{place}");
        }
        let link = r#"{"link": true, "resolved": "../../etc"}"#;
        assert!(check(&lock(place, link)).is_err());
        let unhashed = r#"{"resolved": "https://h/a.tgz"}"#;
        assert!(check(&lock(place, unhashed)).is_err());
        assert!(check(r#"{"lockfileVersion": 1, "dependencies": {}}"#).is_err());
        let package = from("https://h/a.tgz").replace('{', r#"{"hasShrinkwrap": true, "#);
        assert!(check(&lock("node_modules/a", &package)).is_err());
    }

    /// npm 9 and 10 agree about each address (`HostedGit.fromUrl`).
    #[test]
    fn archives_of_hosts_with_repositories_are_no_repositories() {
        for url in [
            "https://github.com/a/b/releases/download/v1/c-1.0.0.tgz",
            "https://www.github.com/a/b/archive/refs/tags/v1.tar.gz#sha",
            "https://me:secret@github.com:443/a/b/tarball/v1?x=tree",
            "https://gitlab.com/api/v4/projects/1/packages/npm/@s/c/-/@s/c-1.0.0.tgz",
            "https://gitlab.com/group/sub/b/-/archive/v1/b-v1.tar.gz",
            "https://gitlab.com/a/b/repository/archive.tar.gz?ref=v1",
            "https://bitbucket.org/a/b/get/v1.tar.gz",
            "https://gist.github.com/a/0123/raw/4567/c.tgz",
            "https://git.sr.ht/~a/b/archive/v1.tar.gz",
            "https://codeload.github.com/a/b/tar.gz/v1",
            "https://npm.pkg.github.com/download/@a/b/1.0.0/0123",
        ] {
            check_address(url).unwrap_or_else(|error| panic!("{error}"));
        }
        for url in [
            "https://github.com/a/b",
            "https://github.com/a/b/",
            "https://github.com/a/b.git?x=/releases/",
            "https://github.com/a/b/tree/v1",
            "https://github.com/a/b/releases/..",
            "https://github.com/a/b/releases/%2E%2e",
            "https://github.com/a/b/releases/.%2e/tree/v1",
            "https://github.com/a/b\\tree\\v1",
            "https://github.com/a/b/tr\nee/v1",
            "https://gitlab.com/a/b",
            "https://gitlab.com/-/b",
            "https://gitlab.com/a/-",
            "https://gitlab.com/a/-/../b",
            "https://gitlab.com/a/b?/-/c",
            "https://gitlab.com/a/b#/-/archive.tar.gz",
            "https://bitbucket.org/a/b/src/v1",
            "https://gist.github.com/0123",
            "https://gist.github.com/a/0123/4567",
            "https://git.sr.ht/~a/b/tree/v1",
        ] {
            assert!(check_address(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_dependency_comes_from_a_repository_or_a_file_elsewhere() {
        let package = lock(
            "node_modules/b",
            r#"{"version": "1.0.0", "integrity": "sha1-AA=="}"#,
        );
        super::check(MANIFEST, &package).unwrap();
        for specifier in [
            "a/b",
            "github:a/b#0123",
            "git+https://h/a",
            "git@h:a/b",
            "https://github.com/a/b",
            "file:../a",
            "file:/etc",
            "file:~",
            "file:~/private",
            "file:./~/private",
            "npm:a/b",
            "npm:@s/a/b",
            "../a",
            "workspace:*/..",
        ] {
            for field in [
                "dependencies",
                "devDependencies",
                "optionalDependencies",
                "peerDependencies",
                "overrides",
            ] {
                let wants = format!(r#"{{"{field}": {{"a": "{specifier}"}}}}"#);
                assert!(super::check(&wants, &package).is_err(), "{wants}");
                let locked = lock(
                    "node_modules/b",
                    &wants.replacen('{', r#"{"version": "1.0.0", "integrity": "sha1-AA==", "#, 1),
                );
                assert!(check(&locked).is_err(), "{locked}");
            }
        }
    }
}
