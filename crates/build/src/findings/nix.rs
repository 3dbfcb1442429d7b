//! Checks Nix: its version, its store, and this user's permissions.

use super::Finding;
use crateyard_flake::{NixConfig, trusted_user};
use crateyard_nix::said;

/// The oldest version that the tests cover.
const OLDEST: (u32, u32) = (2, 8);

pub(crate) fn findings() -> Vec<Finding> {
    let config = match NixConfig::read("", "") {
        Ok(config) => config,
        Err(error) => {
            return vec![Finding::error(
                "nix",
                error.to_string(),
                "nothing is built by Nix; `assemble build --engine buildx` needs none",
                "apt-get install nix-bin",
            )];
        }
    };
    let mut all = vec![version(&config), store(&config)];
    if config.is_direct(None) {
        all.extend(build_users(&config));
    } else {
        all.push(trust(&config));
    }
    all.push(sandbox(&config));
    all.push(substituters(&config));
    all
}

fn version(config: &NixConfig) -> Finding {
    let said = duct::cmd!(&config.nix, "--version")
        .stderr_null()
        .unchecked()
        .read()
        .unwrap_or_default();
    let (oldest, required) = (OLDEST, format!("{}.{}", OLDEST.0, OLDEST.1));
    match number(&said) {
        Some(version) if version >= oldest => Finding::ok("nix", said),
        _ => Finding::error(
            "nix",
            format!("{said:?} is not Nix {required} or newer"),
            "evaluation fails",
            "nix upgrade-nix, or a newer package of your distribution",
        ),
    }
}

/// Parses the major and minor version in the line that Nix prints.
fn number(said: &str) -> Option<(u32, u32)> {
    let version = said.split_whitespace().last()?;
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn store(config: &NixConfig) -> Finding {
    if config.is_direct(None) {
        return Finding::ok("store", "this user writes to it directly");
    }
    let reached = duct::cmd!(&config.nix, "store", "ping")
        .full_env(crateyard_nix::environment::with_config(&config.text))
        .stdout_null()
        .stderr_capture()
        .unchecked()
        .run();
    match reached {
        Ok(output) if output.status.success() => Finding::ok("store", "a daemon writes to it"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said::cause(&said);
            Finding::error(
                "store",
                format!("it can't be written to, and no daemon answers: {said}"),
                "nothing is built",
                "systemctl start nix-daemon, or as root: nix-daemon &",
            )
        }
        Err(error) => Finding::error(
            "store",
            format!("{} can't be run: {error}", config.nix.display()),
            "nothing is built",
            "apt-get install nix-bin",
        ),
    }
}

/// Checks the permissions that the daemon gives this user.
fn trust(config: &NixConfig) -> Finding {
    let user = trusted_user::user();
    if trusted_user::is_trusted(config, &user) {
        return Finding::ok("trust", format!("the daemon trusts {user}"));
    }
    Finding::warning(
        "trust",
        format!(
            "the daemon does not trust {user} (trusted-users = {})",
            config.get("trusted-users")
        ),
        trusted_user::COST,
        trusted_user::MEND,
    )
}

/// Checks the group of build users. Root builds as users of a group, and Nix refuses to build
/// without that group.
fn build_users(config: &NixConfig) -> Option<Finding> {
    let group = config.get("build-users-group");
    if !rustix::process::geteuid().is_root() || group.is_empty() {
        return None;
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let line = groups
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{group}:")));
    Some(match line {
        Some(line) if !line.ends_with(':') => {
            let count = line
                .rsplit(':')
                .next()
                .unwrap_or_default()
                .split(',')
                .count();
            Finding::ok("build users", format!("{count} in the group {group}"))
        }
        _ => Finding::error(
            "build users",
            format!("the group {group} has no members"),
            "Nix as root builds nothing",
            format!(
                "groupadd -r {group}; for n in 1 2 3 4; do useradd -r -g {group} -G {group} -d \
                 /var/empty -s /sbin/nologin {group}$n; done"
            ),
        ),
    })
}

fn sandbox(config: &NixConfig) -> Finding {
    match config.get("sandbox") {
        "true" => Finding::ok("sandbox", "on, if the system allows it"),
        other => Finding::warning(
            "sandbox",
            format!("sandbox = {other}"),
            "derivations that download see the machine; units still run in cells",
            "remove `sandbox` from NIX_CONFIG and nix.conf",
        ),
    }
}

fn substituters(config: &NixConfig) -> Finding {
    let caches = config.get("substituters");
    if !config.has_caches() {
        return Finding::ok(
            "caches",
            "none in nix.conf: builds only take from caches that `--cache` names",
        );
    }
    let keys = config.get("trusted-public-keys");
    if keys.is_empty() {
        return Finding::warning(
            "caches",
            format!("{caches}, and no trusted-public-keys"),
            "Nix takes nothing from them",
            "add the caches' keys to trusted-public-keys in nix.conf",
        );
    }
    Finding::ok("caches", caches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_of_all_that_call_themselves_nix() {
        assert_eq!(number("nix (Nix) 2.8.0"), Some((2, 8)));
        assert_eq!(number("nix (Nix) 2.34.0pre20260101_abc"), Some((2, 34)));
        assert_eq!(number("nix (Lix, like Nix) 2.91.1"), Some((2, 91)));
        assert_eq!(number(""), None);
    }
}
