//! Credentials, from the files and helpers of docker and podman.

mod config;
mod helper;

use std::path::{Path, PathBuf};

use crateyard_oci::Reference;

use crate::client::Environment;
use crate::error::Error;
pub(crate) use config::Config;
pub(crate) use helper::Helpers;

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user's name with a password or an access token.
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
    /// Leaves the secrets out.
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

/// The result of a search for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The credentials, if there are any.
    pub credentials: Option<Credentials>,
    /// The reason why a place that may hold credentials could not be read.
    pub complaint: Option<Complaint>,
}

/// A place that should hold credentials but does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The helper.
    pub place: String,
    /// The fault.
    pub reason: String,
    /// The next step.
    pub remedy: String,
}

impl From<Credentials> for Found {
    fn from(credentials: Credentials) -> Found {
        Found {
            credentials: Some(credentials),
            complaint: None,
        }
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.place, self.reason)
    }
}

impl From<Complaint> for Error {
    fn from(complaint: Complaint) -> Error {
        Error::Credentials {
            place: complaint.place,
            reason: complaint.reason,
            remedy: complaint.remedy,
        }
    }
}

/// Finds the credentials for `target` in the first of the [`files`] that knows its registry.
///
/// # Errors
/// Fails if a file can't be read. A helper that fails is only a complaint, because public images
/// need no credentials.
pub(crate) fn find(
    environment: &Environment,
    target: &Reference,
    helpers: &mut Helpers,
) -> Result<Found, Error> {
    let mut complaint = None;
    for path in files(environment) {
        let Some(config) = read(&path)? else { continue };
        let found = find_in(&config, &path, environment, target, helpers)?;
        if found.credentials.is_some() {
            return Ok(found);
        }
        complaint = complaint.or(found.complaint);
    }
    Ok(Found {
        credentials: None,
        complaint,
    })
}

/// Returns the files to search: only `REGISTRY_AUTH_FILE` if it is set, else docker's file, then
/// podman's.
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
    let config = Config::parse(&text);
    config.map(Some).map_err(|error| Error::Credentials {
        place: path.display().to_string(),
        reason: error.to_string(),
        remedy: "repair the file, or name another with DOCKER_CONFIG or REGISTRY_AUTH_FILE"
            .to_owned(),
    })
}

/// Searches one file in docker's order: the registry's own helper, the common helper, the file
/// itself.
fn find_in(
    config: &Config,
    path: &Path,
    environment: &Environment,
    target: &Reference,
    helpers: &mut Helpers,
) -> Result<Found, Error> {
    let keys = keys(target);
    if let Some(helper) = config.helper(&keys) {
        return Ok(found(helpers.ask(helper, environment, target)));
    }
    let stored = config
        .store()
        .map(|store| found(helpers.ask(store, environment, target)));
    let stored = stored.unwrap_or_default();
    if stored.credentials.is_some() {
        return Ok(stored);
    }
    let Some((name, entry)) = config.entry(&keys) else {
        return Ok(stored);
    };
    let decoded = entry.decode().map_err(|reason| Error::Credentials {
        place: format!("{}: auths: {name:?}", path.display()),
        reason,
        remedy: format!("write it again with docker login {}", target.registry()),
    })?;
    Ok(Found {
        credentials: decoded,
        complaint: stored.complaint,
    })
}

fn found(answer: helper::Answer) -> Found {
    match answer {
        Ok(credentials) => Found {
            credentials,
            complaint: None,
        },
        Err(complaint) => Found {
            credentials: None,
            complaint: Some(complaint),
        },
    }
}

/// Returns the keys that may hold a target's credentials, the most specific first. podman also
/// keeps credentials for repositories and their parents.
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn find(environment: &Environment, target: &Reference) -> Result<Option<Credentials>, Error> {
        let found = super::find(environment, target, &mut Helpers::default())?;
        Ok(found.credentials)
    }

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
        let script = "#!/bin/sh\nread server\ncase \"$server\" in\nr.example) echo \
                      '{\"ServerURL\":\"r.example\",\"Username\":\"u\",\"Secret\":\"s\"}' \
                      ;;\nt.example) echo '{\"Username\":\"<token>\",\"Secret\":\"s\"}' \
                      ;;\nbad.example) echo oops >&2; exit 3 ;;\n*) echo 'credentials not found in \
                      native keychain'; exit 1 ;;\nesac\n";
        std::fs::write(&helper, script).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let auth = STANDARD.encode("file:x");
        for config in [
            r#"{"credHelpers":{"r.example":"mine","t.example":"mine",
                "n.example":"mine","bad.example":"mine"}}"#
                .to_owned(),
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
            assert_eq!(
                find("t.example/a").unwrap(),
                Some(Credentials::IdentityToken("s".into()))
            );
            assert_eq!(find("n.example/a").unwrap(), None);
            assert_eq!(find("bad.example/a").unwrap(), None);
            let bad = "bad.example/a".parse().unwrap();
            let complaint = super::find(&environment, &bad, &mut Helpers::default());
            let complaint = complaint.unwrap().complaint.unwrap();
            assert_eq!(complaint.place, "docker-credential-mine");
            assert!(complaint.reason.contains("oops"), "{complaint}");
        }
        let environment = Environment {
            docker_config: Some(directory.path().to_owned()),
            path: Some(format!("{}:/usr/bin:/bin", directory.path().display()).into()),
            ..Environment::default()
        };
        assert_eq!(
            find(&environment, &"f.example/a".parse().unwrap()).unwrap(),
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

    #[test]
    fn base64_that_was_wrapped_is_joined() {
        let long = format!("ann:{}", "x".repeat(120));
        let mut wrapped = String::new();
        for line in STANDARD.encode(&long).as_bytes().chunks(76) {
            wrapped += &format!("{}\r\n", std::str::from_utf8(line).unwrap());
        }
        let config = serde_json::json!({"auths": {"r.example": {"auth": wrapped}}}).to_string();
        let found = find_with(&config, "r.example/a").unwrap();
        assert_eq!(found, password("ann", &"x".repeat(120)));
    }

    #[test]
    fn a_missing_helper_is_no_error_before_credentials_are_needed() {
        let directory = tempfile::tempdir().unwrap();
        let auth = STANDARD.encode("file:x");
        let config = format!(
            r#"{{"credsStore":"not-there","credHelpers":{{"h.example":"gone"}},
                "auths":{{"f.example":{{"auth":"{auth}"}}}}}}"#
        );
        std::fs::write(directory.path().join("config.json"), config).unwrap();
        let environment = Environment {
            docker_config: Some(directory.path().to_owned()),
            path: Some("/usr/bin".into()),
            ..Environment::default()
        };
        let mut helpers = Helpers::default();
        let mut find = |target: &str| {
            super::find(&environment, &target.parse().unwrap(), &mut helpers).unwrap()
        };
        for (target, helper) in [("r.example/a", "not-there"), ("h.example/a", "gone")] {
            let found = find(target);
            assert_eq!(found.credentials, None);
            let error = Error::from(found.complaint.unwrap()).to_string();
            let program = format!("docker-credential-{helper}");
            assert!(
                error.contains("not installed") && error.contains(&program),
                "{error}"
            );
            assert!(!error.contains("docker login"), "{error}");
        }
        assert_eq!(find("f.example/a").credentials, password("file", "x"));
    }
}
