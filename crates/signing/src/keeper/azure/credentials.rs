//! Credentials for Azure, by the variables of its [identity
//! library](https://learn.microsoft.com/dotnet/api/azure.identity.environmentcredential).

use std::path::PathBuf;
use std::process::Command;

use super::Service;
use crate::http::{Request, encode};
use crate::keeper::bearer::{Access, Bearer};
use crate::keeper::{Variables, secret_file, trouble};
use crate::{Error, Web};

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// cosign's variable that chooses a method: `cli` or `environment`.
const METHOD: &str = "AZURE_AUTH_METHOD";
/// The variable for another service that issues tokens.
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
/// The variables of credentials that are not supported.
const UNSUPPORTED: [&str; 3] = [
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_USERNAME",
    "IDENTITY_SERVER_THUMBPRINT",
];
/// The service that gives a virtual machine tokens of its managed identity.
const METADATA: &str = "http://169.254.169.254";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const REMEDY: &str = "AZURE_TENANT_ID and AZURE_CLIENT_ID, with AZURE_CLIENT_SECRET or \
                      AZURE_FEDERATED_TOKEN_FILE; or AZURE_AUTH_METHOD=cli after `az login`";

/// The origin of tokens.
enum Origin {
    /// An application that is registered in a tenant.
    Application(Application),
    /// The managed identity of a machine.
    Managed(Managed),
    /// The login of Azure's command line.
    CommandLine,
}

struct Application {
    /// The address that gives tokens.
    url: String,
    client: String,
    proof: Proof,
}

enum Proof {
    Secret(String),
    /// A file with a token of another system. The file changes when the token expires.
    Federated(PathBuf),
}

struct Managed {
    /// The address that gives tokens, with a query that lacks the resource.
    url: String,
    header: (&'static str, String),
    /// The identity, if the machine has several.
    client: Option<String>,
}

/// Finds the credentials of this process, whose tokens are for `service`.
///
/// # Errors
/// When credentials are incomplete, or of a kind that is not supported.
pub(super) fn find(
    name: &str,
    service: &Service,
    variables: &Variables<'_>,
    web: &Web,
) -> Result<Bearer, Error> {
    let origin = origin(service, variables);
    let origin = origin.map_err(|reason| trouble(name, reason, REMEDY))?;
    let (name, web, resource) = (name.to_owned(), web.clone(), service.resource.clone());
    Ok(Bearer::new(move || match &origin {
        Origin::Application(application) => application.ask(&name, &resource, &web),
        Origin::Managed(managed) => managed.ask(&name, &resource, &web),
        Origin::CommandLine => ask_command_line(&name, &resource),
    }))
}

/// Chooses the origin of tokens. The error is a reason.
fn origin(service: &Service, variables: &Variables<'_>) -> Result<Origin, String> {
    match variables(METHOD)
        .map(|it| it.to_ascii_lowercase())
        .as_deref()
    {
        Some("cli") => return Ok(Origin::CommandLine),
        Some("environment") | None => {}
        Some(other) => {
            return Err(format!(
                "{METHOD} is {other:?}, neither cli nor environment"
            ));
        }
    }
    let secret = variables(SECRET).map(Proof::Secret);
    let federated = || variables(FEDERATED).map(|it| Proof::Federated(it.into()));
    let Some(proof) = secret.or_else(federated) else {
        let unsupported = UNSUPPORTED.iter().find(|it| variables(it).is_some());
        return match unsupported {
            Some(unsupported) => Err(format!(
                "the credentials of {unsupported} are not supported"
            )),
            None => managed(variables).map(Origin::Managed),
        };
    };
    let set = |name: &str| variables(name).ok_or_else(|| format!("{name} is not set"));
    let (tenant, client) = (set(TENANT)?, set(CLIENT)?);
    let known = |it: char| it.is_ascii_alphanumeric() || "-.".contains(it);
    if !tenant.chars().all(known) {
        return Err(format!("{TENANT} is {tenant:?}, which names no tenant"));
    }
    let authority = variables(AUTHORITY);
    let authority = authority.as_deref().unwrap_or(service.authority);
    // Azure's libraries take it without https://, too.
    let authority = match authority.contains("://") {
        true => authority.to_owned(),
        false => format!("https://{authority}"),
    };
    let url = format!(
        "{}/{tenant}/oauth2/v2.0/token",
        authority.trim_end_matches('/')
    );
    Ok(Origin::Application(Application { url, client, proof }))
}

/// Returns the managed identity of this machine.
fn managed(variables: &Variables<'_>) -> Result<Managed, String> {
    let client = variables(CLIENT);
    let endpoint = variables("IDENTITY_ENDPOINT");
    match (endpoint, variables("IDENTITY_HEADER")) {
        (Some(endpoint), Some(secret)) => Ok(Managed {
            url: format!("{endpoint}?api-version=2019-08-01"),
            header: ("x-identity-header", secret),
            client,
        }),
        (Some(_), None) => Err("the managed identity of Azure Arc is not supported".to_owned()),
        (None, _) => {
            let host = variables("AZURE_POD_IDENTITY_AUTHORITY_HOST");
            let host = host.as_deref().unwrap_or(METADATA).trim_end_matches('/');
            Ok(Managed {
                url: format!("{host}/metadata/identity/oauth2/token?api-version=2018-02-01"),
                header: ("metadata", "true".to_owned()),
                client,
            })
        }
    }
}

impl Application {
    /// Asks for a token by the client's credentials:
    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>.
    fn ask(&self, name: &str, resource: &str, web: &Web) -> Result<Access, Error> {
        let scope = format!("{resource}/.default");
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", &*self.client),
            ("scope", &*scope),
        ];
        let token;
        let secret = match &self.proof {
            Proof::Secret(secret) => {
                fields.push(("client_secret", secret));
                secret.as_str()
            }
            Proof::Federated(file) => {
                token = secret_file(file).map_err(|error| {
                    let reason = format!("cannot read {FEDERATED} {}: {error}", file.display());
                    trouble(name, reason, REMEDY)
                })?;
                let token = token.trim();
                fields.extend([
                    ("client_assertion_type", JWT_BEARER),
                    ("client_assertion", token),
                ]);
                token
            }
        };
        let request = Request::to(&self.url).form(&fields).secret(secret);
        Access::ask(web, &self.url, &request)
    }
}

impl Managed {
    /// Asks for a token of the machine's managed identity:
    /// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources>.
    fn ask(&self, name: &str, resource: &str, web: &Web) -> Result<Access, Error> {
        let mut url = format!("{}&resource={}", self.url, encode(resource));
        if let Some(client) = &self.client {
            url = format!("{url}&client_id={}", encode(client));
        }
        let (header, value) = (self.header.0, &self.header.1);
        let mut request = Request::to(&url).header(header, value).nearby();
        if header != "metadata" {
            request = request.secret(value);
        }
        Access::ask(web, &url, &request).map_err(|error| {
            let reason = format!(
                "no credentials are set, and the machine's managed identity gives none: {error}"
            );
            trouble(name, reason, REMEDY)
        })
    }
}

/// Asks `az` for a token of the person who has logged in.
fn ask_command_line(name: &str, resource: &str) -> Result<Access, Error> {
    let wrong = |reason: String| trouble(name, reason, "az login");
    let arguments = [
        "account",
        "get-access-token",
        "--output",
        "json",
        "--resource",
    ];
    let output = Command::new("az").args(arguments).arg(resource).output();
    let output = output.map_err(|error| wrong(format!("cannot start az: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().map(str::trim).find(|it| !it.is_empty());
        return Err(wrong(format!(
            "az gives no token: {}",
            line.unwrap_or("it says nothing")
        )));
    }
    Access::read(&output.stdout).ok_or_else(|| wrong("az answers no access token".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::service;
    use super::{Origin, origin};

    /// Returns the address that gives tokens, or the reason why there is none.
    fn address(host: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        origin(&service(host).unwrap(), &variable).map(|it| match it {
            Origin::Application(application) => application.url,
            Origin::Managed(managed) => managed.url,
            Origin::CommandLine => "az".to_owned(),
        })
    }

    #[test]
    fn variables_choose_the_credentials() {
        let own = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
        let secret = [&own[..], &[("AZURE_CLIENT_SECRET", "s")]].concat();
        let token = [&own[..], &[("AZURE_FEDERATED_TOKEN_FILE", "/f")]].concat();
        let with = |name, value| [&secret[..], &[(name, value)]].concat();
        let metadata = "http://169.254.169.254/metadata/identity/oauth2/token";
        for (host, variables, url) in [
            (
                "a.vault.azure.net",
                &secret[..],
                "https://login.microsoftonline.com/t/oauth2/v2.0/token",
            ),
            (
                "a.vault.azure.cn",
                &token,
                "https://login.chinacloudapi.cn/t/oauth2/v2.0/token",
            ),
            (
                "a.vault.azure.net",
                &with("AZURE_AUTHORITY_HOST", "a.b/"),
                "https://a.b/t/oauth2/v2.0/token",
            ),
            ("a.vault.azure.net", &with("AZURE_AUTH_METHOD", "cli"), "az"),
            ("a.vault.azure.net", &own, metadata),
        ] {
            let got = address(host, variables).unwrap();
            assert_eq!(got.split('?').next(), Some(url));
        }
    }

    #[test]
    fn incomplete_and_unsupported_credentials_are_refused_by_name() {
        for (variables, said) in [
            (
                [("AZURE_CLIENT_SECRET", "s3cret"), ("AZURE_TENANT_ID", "t")],
                "AZURE_CLIENT_ID is not set",
            ),
            (
                [("AZURE_CLIENT_SECRET", "s3cret"), ("AZURE_CLIENT_ID", "c")],
                "AZURE_TENANT_ID is not set",
            ),
            (
                [("AZURE_USERNAME", "u"), ("AZURE_PASSWORD", "s3cret")],
                "of AZURE_USERNAME",
            ),
            (
                [("AZURE_CLIENT_CERTIFICATE_PATH", "/c"), ("A", "")],
                "of AZURE_CLIENT_CERTIFICATE_PATH",
            ),
            (
                [("IDENTITY_SERVER_THUMBPRINT", "0"), ("A", "")],
                "of IDENTITY_SERVER_THUMBPRINT",
            ),
            (
                [("IDENTITY_ENDPOINT", "http://127.0.0.1"), ("A", "")],
                "Azure Arc",
            ),
            ([("AZURE_AUTH_METHOD", "device"), ("A", "")], "\"device\""),
        ] {
            let got = address("a.vault.azure.net", &variables).unwrap_err();
            assert!(got.contains(said) && !got.contains("s3cret"), "{got}");
        }
        let variables = [
            ("AZURE_TENANT_ID", "t/../u"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_CLIENT_SECRET", "s"),
        ];
        let got = address("a.vault.azure.net", &variables).unwrap_err();
        assert!(got.contains("names no tenant"), "{got}");
    }
}
