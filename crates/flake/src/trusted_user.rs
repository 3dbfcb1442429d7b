//! Finds out whether Nix's daemon trusts this user, and tells the cost if it does not.
//! `docs/privileges.md` explains it.

use super::NixConfig;
use crateyard_terminal::note;

/// The cost for a user whom the daemon does not trust.
pub const COST: &str = "everything builds, but Nix ignores `--cache` and `--trusted-key`, \
     and metadata units are always compiled";

/// The remedy, which needs root.
pub const MEND: &str =
    "as root, in /etc/nix/nix.conf: extra-substituters = CACHE, extra-trusted-public-keys = KEY";

/// Warns once per build about the cost if the daemon does not trust this user.
pub fn say_untrusted() {
    // A user who writes to the store directly needs no trust. If Nix is missing, the build reports
    // it.
    let Ok(config) = NixConfig::read("", "") else {
        return;
    };
    let user = user();
    if config.is_direct(None) || is_trusted(&config, &user) {
        return;
    }
    note!("the Nix daemon does not trust {user}: {COST}; `assemble doctor` says more");
}

/// Whether the setting `trusted-users` has this user, who must be the user of this process.
pub fn is_trusted(config: &NixConfig, user: &str) -> bool {
    let mut names = config.get("trusted-users").split_whitespace();
    names.any(|name| name == "*" || name == user || is_in_group(name, user))
}

/// Returns the name of this process's user, or the number if the user has no name.
pub fn user() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2) == Some(&id.as_str()));
    line.map_or(id.clone(), |fields| fields[0].to_owned())
}

/// Whether an entry of the setting is a group, such as `@wheel`, that the user belongs to.
fn is_in_group(entry: &str, user: &str) -> bool {
    let Some(name) = entry.strip_prefix('@') else {
        return false;
    };
    let own = rustix::process::getegid().as_raw().to_string();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    groups.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let has = |members: &&str| members.split(',').any(|member| member == user);
        fields[0] == name
            && (fields.get(2) == Some(&own.as_str()) || fields.get(3).is_some_and(has))
    })
}
