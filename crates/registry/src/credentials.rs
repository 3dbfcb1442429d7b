//! Credentials as docker and podman keep them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::client::Environment;
use crate::error::Error;
use crate::reference::Reference;

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user's name and password, or an access token in a password's place.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which a token server exchanges for access tokens.
    IdentityToken(String),
    /// An access token for the registry itself.
    RegistryToken(String),
}

impl std::fmt::Debug for Credentials {
    /// Secrets are never printed.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Password { username, .. } => {
                write!(formatter, "Password({username:?}, …)")
            }
            Credentials::IdentityToken(_) => formatter.write_str("IdentityToken(…)"),
            Credentials::RegistryToken(_) => formatter.write_str("RegistryToken(…)"),
        }
    }
}

/// docker's `config.json`, and podman's `auth.json`, which is the same with longer keys.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Finds the credentials for `target`: the first file of [`files`] that knows its registry decides.
pub(crate) fn find(
    environment: &Environment,
    target: &Reference,
) -> Result<Option<Credentials>, Error> {
    for path in files(environment) {
        let Some(config) = read(&path)? else { continue };
        if let Some(found) = find_in(&config, &path, environment, target)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// `REGISTRY_AUTH_FILE` says so and is therefore the only one; else docker's file, then podman's.
pub(crate) fn files(environment: &Environment) -> Vec<PathBuf> {
    if let Some(path) = &environment.registry_auth_file {
        return vec![path.clone()];
    }
    let docker = environment
        .docker_directory()
        .map(|directory| directory.join("config.json"));
    let runtime = environment
        .xdg_runtime_dir
        .as_ref()
        .map(|directory| directory.join("containers/auth.json"));
    let config = environment
        .config_directory()
        .map(|directory| directory.join("containers/auth.json"));
    [docker, runtime, config].into_iter().flatten().collect()
}

fn read(path: &Path) -> Result<Option<Config>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    if text.trim().is_empty() {
        return Ok(Some(Config::default()));
    }
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::Credentials {
            place: path.display().to_string(),
            reason: error.to_string(),
            remedy: "repair the file, or name another by DOCKER_CONFIG or REGISTRY_AUTH_FILE"
                .to_owned(),
        })
}

/// docker's order: the registry's own helper, else the store for all, else what the file itself holds.
fn find_in(
    config: &Config,
    path: &Path,
    environment: &Environment,
    target: &Reference,
) -> Result<Option<Credentials>, Error> {
    let keys = keys(target);
    if let Some(helper) = keys.iter().find_map(|key| config.cred_helpers.get(key)) {
        return ask_helper(helper, environment, target);
    }
    if let Some(store) = config
        .creds_store
        .as_deref()
        .filter(|store| !store.is_empty())
    {
        if let Some(found) = ask_helper(store, environment, target)? {
            return Ok(Some(found));
        }
    }
    let entry = keys.iter().find_map(|key| {
        config
            .auths
            .iter()
            .find(|(name, entry)| normalize(name) == *key && !entry.is_empty())
    });
    let Some((name, entry)) = entry else {
        return Ok(None);
    };
    decode(entry).map_err(|reason| Error::Credentials {
        place: format!("{}: auths: {name:?}", path.display()),
        reason,
        remedy: format!("docker login {}", target.registry()),
    })
}

/// The keys under which a target's credentials may be kept, the most particular first: podman keeps them for
/// repositories and their parents too.
fn keys(target: &Reference) -> Vec<String> {
    let mut path = format!("{}/{}", target.registry(), target.repository());
    let mut keys = vec![path.clone()];
    while let Some(end) = path.rfind('/') {
        path.truncate(end);
        keys.push(path.clone());
    }
    if target.registry() == "docker.io" {
        keys.extend(["index.docker.io", "registry-1.docker.io"].map(str::to_owned));
    }
    keys
}

/// `registry.example` of `https://registry.example/v1/`: the forms that docker has written over the years.
fn normalize(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key)
}

impl Entry {
    fn is_empty(&self) -> bool {
        [
            &self.auth,
            &self.username,
            &self.identitytoken,
            &self.registrytoken,
        ]
        .into_iter()
        .all(|field| field.as_deref().unwrap_or_default().is_empty())
    }
}

fn decode(entry: &Entry) -> Result<Option<Credentials>, String> {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(token) = given(&entry.registrytoken) {
        return Ok(Some(Credentials::RegistryToken(token)));
    }
    if let Some(token) = given(&entry.identitytoken) {
        return Ok(Some(Credentials::IdentityToken(token)));
    }
    if let Some(auth) = given(&entry.auth) {
        let bytes = STANDARD
            .decode(auth.trim())
            .map_err(|error| format!("auth is not base64: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| "auth is not UTF-8".to_owned())?;
        let (username, password) = text
            .split_once(':')
            .ok_or_else(|| "auth is not USERNAME:PASSWORD in base64".to_owned())?;
        let password = password.trim_end_matches('\0');
        return Ok(Some(Credentials::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }));
    }
    let password = given(&entry.password).unwrap_or_default();
    Ok(given(&entry.username).map(|username| Credentials::Password { username, password }))
}

/// Runs `docker-credential-NAME get`; see [the protocol](https://github.com/docker/docker-credential-helpers).
fn ask_helper(
    name: &str,
    environment: &Environment,
    target: &Reference,
) -> Result<Option<Credentials>, Error> {
    let program = format!("docker-credential-{name}");
    let failed = |reason: String| Error::Credentials {
        place: program.clone(),
        reason,
        remedy: format!("docker login {}, or install {program}", target.registry()),
    };
    let server = if target.registry() == "docker.io" {
        "https://index.docker.io/v1/"
    } else {
        target.registry()
    };
    let output =
        run_helper(&program, environment, server).map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(format!("{}: {said} {complaint}", output.status)));
    }
    let answer: Answer =
        serde_json::from_str(&said).map_err(|error| failed(format!("bad answer: {error}")))?;
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(None);
    }
    if answer.username == "<token>" {
        return Ok(Some(Credentials::IdentityToken(answer.secret)));
    }
    Ok(Some(Credentials::Password {
        username: answer.username,
        password: answer.secret,
    }))
}

fn run_helper(
    program: &str,
    environment: &Environment,
    server: &str,
) -> std::io::Result<std::process::Output> {
    let mut command = Command::new(program);
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(path) = &environment.path {
        command.env("PATH", path);
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that answers without reading closes its end early; its answer is what counts.
        let _ = writeln!(stdin, "{server}");
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_with(config: &str, target: &str) -> Result<Option<Credentials>, Error> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), config).unwrap();
        let docker_config = Some(directory.path().to_owned());
        let environment = Environment {
            docker_config,
            ..Environment::default()
        };
        find(&environment, &target.parse().unwrap())
    }

    fn password(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn dockers_forms_of_a_key_are_known() {
        let auth = STANDARD.encode("ann:se:cret");
        for (key, target) in [
            ("r.example", "r.example/a"),
            ("https://r.example", "r.example/a"),
            ("https://r.example/v1/", "r.example/a"),
            ("https://r.example/v2/", "r.example/a"),
            ("r.example:5000", "r.example:5000/a"),
            ("https://index.docker.io/v1/", "debian"),
            ("docker.io", "debian"),
            ("r.example/team", "r.example/team/a"),
            ("r.example/team/a", "r.example/team/a"),
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(
                find_with(&config, target).unwrap(),
                password("ann", "se:cret"),
                "{key}"
            );
        }
        let config = format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}"}}}}}}"#);
        for target in ["r.example:5000/a", "other.example/a", "debian"] {
            assert_eq!(find_with(&config, target).unwrap(), None, "{target}");
        }
    }

    #[test]
    fn tokens_and_plain_fields_are_known() {
        let one = |entry: &str| {
            find_with(
                &format!(r#"{{"auths":{{"r.example":{entry}}}}}"#),
                "r.example/a",
            )
            .unwrap()
        };
        assert_eq!(
            one(r#"{"username":"u","password":"p"}"#),
            password("u", "p")
        );
        assert_eq!(
            one(r#"{"identitytoken":"t","auth":"eDo="}"#),
            Some(Credentials::IdentityToken("t".into()))
        );
        assert_eq!(
            one(r#"{"registrytoken":"t"}"#),
            Some(Credentials::RegistryToken("t".into()))
        );
        assert_eq!(one("{}"), None);
    }

    #[test]
    fn the_particular_repository_goes_before_the_registry() {
        let config = format!(
            r#"{{"auths":{{"r.example":{{"auth":"{}"}},"r.example/a/b":{{"auth":"{}"}}}}}}"#,
            STANDARD.encode("all:1"),
            STANDARD.encode("one:2")
        );
        assert_eq!(
            find_with(&config, "r.example/a/b/c").unwrap(),
            password("one", "2")
        );
        assert_eq!(
            find_with(&config, "r.example/a/other").unwrap(),
            password("all", "1")
        );
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        for config in [
            "{",
            r#"{"auths":{"r.example":{"auth":"***"}}}"#,
            r#"{"auths":{"r.example":{"auth":"eA=="}}}"#,
        ] {
            let message = find_with(config, "r.example/a").unwrap_err().to_string();
            assert!(message.contains("config.json"), "{message}");
        }
    }

    #[test]
    fn helpers_are_asked_and_may_know_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let helper = directory.path().join("docker-credential-mine");
        let script = "#!/bin/sh\nread server\ncase \"$server\" in\n\
            r.example) echo '{\"ServerURL\":\"r.example\",\"Username\":\"u\",\"Secret\":\"s\"}' ;;\n\
            t.example) echo '{\"Username\":\"<token>\",\"Secret\":\"s\"}' ;;\n\
            bad.example) echo oops >&2; exit 3 ;;\n\
            *) echo 'credentials not found in native keychain'; exit 1 ;;\nesac\n";
        std::fs::write(&helper, script).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let auth = STANDARD.encode("file:x");
        for config in [
            r#"{"credHelpers":{"r.example":"mine","t.example":"mine","n.example":"mine","bad.example":"mine"}}"#.to_owned(),
            format!(r#"{{"credsStore":"mine","auths":{{"f.example":{{"auth":"{auth}"}}}}}}"#),
        ] {
            std::fs::write(directory.path().join("config.json"), config).unwrap();
            let environment = Environment {
                docker_config: Some(directory.path().to_owned()),
                path: Some(format!("{}:/usr/bin:/bin", directory.path().display()).into()),
                ..Environment::default()
            };
            let find = |target: &str| find(&environment, &target.parse().unwrap());
            assert_eq!(find("r.example/a").unwrap(), password("u", "s"));
            assert_eq!(find("t.example/a").unwrap(), Some(Credentials::IdentityToken("s".into())));
            assert_eq!(find("n.example/a").unwrap(), None);
            assert!(find("bad.example/a").unwrap_err().to_string().contains("docker-credential-mine"));
        }
        let environment = Environment {
            docker_config: Some(directory.path().to_owned()),
            path: Some(format!("{}:/usr/bin:/bin", directory.path().display()).into()),
            ..Environment::default()
        };
        assert_eq!(
            super::find(&environment, &"f.example/a".parse().unwrap()).unwrap(),
            password("file", "x")
        );
    }

    #[test]
    fn podmans_files_come_after_dockers_unless_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let write = |path: &str, user: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let auth = STANDARD.encode(format!("{user}:x"));
            std::fs::write(
                path,
                format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}"}}}}}}"#),
            )
            .unwrap();
        };
        let mut environment = Environment {
            home: Some(root.join("home")),
            xdg_runtime_dir: Some(root.join("run")),
            ..Environment::default()
        };
        let target: Reference = "r.example/a".parse().unwrap();
        assert_eq!(find(&environment, &target).unwrap(), None);
        for (path, user) in [
            ("home/.config/containers/auth.json", "config"),
            ("run/containers/auth.json", "runtime"),
            ("home/.docker/config.json", "docker"),
        ] {
            write(path, user);
            assert_eq!(find(&environment, &target).unwrap(), password(user, "x"));
        }
        write("named.json", "named");
        environment.registry_auth_file = Some(root.join("named.json"));
        assert_eq!(find(&environment, &target).unwrap(), password("named", "x"));
    }
}
