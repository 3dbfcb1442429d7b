//! The environment of Nix's processes.
//!
//! They evaluate and build foreign code, so they get only the variables that are named here: no
//! tokens and no keys. The exception is credentials for caches ([`with_credentials`]).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Variables that Nix, and git below Nix, need to follow the machine's setup.
const NAMES: &[&str] = &[
    // The user and the machine.
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LOCALE_ARCHIVE",
    "LOGNAME",
    "NO_COLOR",
    "PATH",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    // The directories of Nix.
    "NIX_BIN_DIR",
    "NIX_CONF_DIR",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_DATA_DIR",
    "NIX_IGNORE_SYMLINK_STORE",
    "NIX_LOG_DIR",
    "NIX_REMOTE",
    "NIX_STATE_DIR",
    "NIX_STORE_DIR",
    "NIX_USER_CONF_FILES",
    // Access to the network.
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    // git and ssh: names of files and of a socket, not their content.
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "NIX_SSHOPTS",
    "SSH_AUTH_SOCK",
];

/// The language of messages.
const LOCALES: &[u8] = b"LC_";
/// Credentials for S3 buckets.
const BUCKETS: &[u8] = b"AWS_";
/// Settings of git that are passed on. Others, such as `http.extraHeader`, may hold tokens.
const GIT_SETTINGS: &[&str] = &["protocol.", "safe."];
/// Settings against programs that the configuration in a repository's `.git` names, and that git
/// runs when Nix asks it about the repository.
const NO_PROGRAMS: [(&str, &str); 2] =
    [("core.fsmonitor", "false"), ("core.hooksPath", "/dev/null")];

/// Makes a command for a program of Nix, with this environment.
pub fn nix(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().envs(plain());
    command
}

/// Makes a command with credentials, for programs that evaluate nothing and access a cache in a
/// bucket.
pub fn with_credentials(program: impl AsRef<Path>) -> Command {
    let mut command = nix(program);
    command.envs(std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(BUCKETS)));
    command
}

/// Returns the variables, with `NIX_CONFIG` set to lines of nix.conf.
pub fn with_config(config: &str) -> Vec<(OsString, OsString)> {
    let mut variables = plain();
    variables.push(("NIX_CONFIG".into(), config.into()));
    variables
}

/// Returns the variables without credentials.
fn plain() -> Vec<(OsString, OsString)> {
    allowed(std::env::vars_os())
}

fn allowed(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let all: Vec<(OsString, OsString)> = all.collect();
    let is_allowed = |name: &OsStr| {
        NAMES.iter().any(|allowed| name == *allowed) || name.as_bytes().starts_with(LOCALES)
    };
    let plain = all.iter().filter(|(name, _)| is_allowed(name)).cloned();
    plain.chain(git_settings(&all)).collect()
}

/// Returns the settings in `GIT_CONFIG_KEY_0` and so on that are passed on, and [`NO_PROGRAMS`].
fn git_settings(all: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let find = |name: String| {
        all.iter()
            .find(|(own, _)| *own == *name)
            .map(|(_, value)| value)
    };
    let count = find("GIT_CONFIG_COUNT".to_owned()).and_then(|count| count.to_str()?.parse().ok());
    let mut kept: Vec<(OsString, OsString)> = Vec::new();
    for index in 0..count.unwrap_or(0usize).min(all.len()) {
        let key = find(format!("GIT_CONFIG_KEY_{index}"));
        let value = find(format!("GIT_CONFIG_VALUE_{index}"));
        let (Some(key), Some(value)) = (key, value) else {
            continue;
        };
        let is_allowed = |prefix: &&str| key.as_bytes().starts_with(prefix.as_bytes());
        if GIT_SETTINGS.iter().any(is_allowed) {
            kept.push((key.clone(), value.clone()));
        }
    }
    kept.extend(NO_PROGRAMS.map(|(key, value)| (key.into(), value.into())));
    let count = kept.len().to_string();
    let numbered = kept
        .into_iter()
        .enumerate()
        .flat_map(|(index, (key, value))| {
            [
                (format!("GIT_CONFIG_KEY_{index}").into(), key),
                (format!("GIT_CONFIG_VALUE_{index}").into(), value),
            ]
        });
    numbered
        .chain([("GIT_CONFIG_COUNT".into(), count.into())])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_nix_gets_no_variable_that_is_not_named_here() {
        // Cargo sets this one for tests.
        let other = "CARGO_MANIFEST_DIR";
        assert!(std::env::var_os(other).is_some());
        for mut command in [nix("env"), with_credentials("env")] {
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.lines().any(|line| line.starts_with("PATH=")), "{text}");
            assert!(!text.contains(other), "{text}");
        }
    }

    #[test]
    fn no_secret_is_handed_on() {
        let variables = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("CRATEYARD_SIGN_KEY", "secret"),
            ("GITHUB_TOKEN", "secret"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("CARGO_REGISTRY_TOKEN", "secret"),
            ("GIT_CONFIG_COUNT", "3"),
            ("GIT_CONFIG_KEY_0", "http.extraHeader"),
            ("GIT_CONFIG_VALUE_0", "secret"),
            ("GIT_CONFIG_KEY_1", "protocol.file.allow"),
            ("GIT_CONFIG_VALUE_1", "always"),
        ];
        let found = allowed(
            variables
                .map(|(name, value)| (name.into(), value.into()))
                .into_iter(),
        );
        let expected = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
            ("GIT_CONFIG_VALUE_0", "always"),
            ("GIT_CONFIG_KEY_1", "core.fsmonitor"),
            ("GIT_CONFIG_VALUE_1", "false"),
            ("GIT_CONFIG_KEY_2", "core.hooksPath"),
            ("GIT_CONFIG_VALUE_2", "/dev/null"),
            ("GIT_CONFIG_COUNT", "3"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }
}
