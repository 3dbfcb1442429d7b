//! Authentication: the challenges of a registry and the tokens that answer them. Each repository
//! has its own credentials and tokens.

pub(crate) mod challenge;
mod token;

use std::collections::BTreeMap;
use std::time::Instant;

use crateyard_oci::Reference;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use crate::client::{Environment, Options};
use crate::credentials::{Credentials, Found, Helpers, find};
use crate::locations::LocationPolicy;
use crate::progress::Event;
use crate::wire::{Reply, Trouble, Wire};
use challenge::{Challenge, choose};
use token::{Token, Wish, basic, bearer};

/// Authenticates the requests to one registry.
pub(crate) struct Auth {
    given: Option<Credentials>,
    environment: Environment,
    policy: LocationPolicy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The registry's latest challenge. It also stands for repositories that have sent none yet.
    challenge: Option<Challenge>,
    /// Accounts by repository name. Repositories of one registry may have different owners, so they
    /// share nothing.
    accounts: BTreeMap<String, Account>,
    helpers: Helpers,
}

/// The credentials and tokens of one repository.
#[derive(Default)]
struct Account {
    challenge: Option<Challenge>,
    /// The result of the search for credentials, once it was made.
    found: Option<Found>,
    /// Tokens by the scopes that they allow.
    tokens: BTreeMap<Vec<String>, Token>,
}

/// The state of a repository's authentication, for error messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Whether the registry sent a challenge that this crate knows.
    pub was_asked: bool,
    /// The credentials that were found. The search begins with the registry's first challenge.
    pub found: Found,
}

impl Auth {
    pub(crate) fn new(options: &Options, policy: LocationPolicy) -> Auth {
        Auth {
            given: options.credentials.clone(),
            environment: options.environment.clone(),
            policy,
            state: Mutex::default(),
        }
    }

    /// Returns the header for a request to `repository` that needs `scopes`, or `None` before the
    /// registry's first challenge.
    pub(crate) async fn header(
        &self,
        wire: &Wire,
        repository: &Reference,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, Trouble> {
        // The lock is held while a token is fetched, so that each token is fetched only once.
        let mut state = self.state.lock().await;
        let State {
            challenge,
            accounts,
            helpers,
        } = &mut *state;
        let account = accounts
            .entry(repository.repository().to_owned())
            .or_default();
        let Some(challenge) = account.challenge.as_ref().or(challenge.as_ref()) else {
            return Ok(None);
        };
        let challenge = challenge.clone();
        if account.found.is_none() {
            account.found = Some(self.search(wire, repository, helpers).await?);
        }
        account.answer(wire, repository, &challenge, scopes).await
    }

    /// Learns the challenge of a 401 answer to a request to `repository`. Returns whether to send
    /// the request again: not if there is nothing better than the header that was `used`.
    ///
    /// # Errors
    /// Fails with the reason why this crate does not ask the token server that the answer names.
    pub(crate) async fn learn(
        &self,
        reply: &Reply,
        repository: &Reference,
        scopes: &[String],
        used: Option<&HeaderValue>,
    ) -> Result<bool, String> {
        let Some(challenge) = choose(reply.headers(), &reply.url, self.policy)? else {
            return Ok(false);
        };
        let mut state = self.state.lock().await;
        let State {
            challenge: latest,
            accounts,
            ..
        } = &mut *state;
        let account = accounts
            .entry(repository.repository().to_owned())
            .or_default();
        let is_new = account.challenge.as_ref().or(latest.as_ref()) != Some(&challenge);
        let is_bearer = matches!(challenge, Challenge::Bearer { .. });
        *latest = Some(challenge.clone());
        account.challenge = Some(challenge);
        // Remove the token only if this request used it. Another request may have renewed it since.
        let is_cached = account
            .tokens
            .get(scopes)
            .is_some_and(|token| Some(&token.header) == used);
        if is_cached {
            account.tokens.remove(scopes);
        }
        Ok(is_new || used.is_none() || is_bearer)
    }

    /// Returns the state of a repository's authentication.
    pub(crate) async fn standing(&self, repository: &Reference) -> Standing {
        let state = self.state.lock().await;
        let account = state.accounts.get(repository.repository());
        Standing {
            was_asked: account.is_some_and(|account| account.challenge.is_some()),
            found: account
                .and_then(|account| account.found.clone())
                .unwrap_or_default(),
        }
    }

    /// Searches for credentials. Helpers can be slow, so this runs once, and only if the registry
    /// sends a challenge.
    async fn search(
        &self,
        wire: &Wire,
        repository: &Reference,
        helpers: &mut Helpers,
    ) -> Result<Found, Trouble> {
        if let Some(given) = &self.given {
            return Ok(Found::from(given.clone()));
        }
        let (environment, target) = (self.environment.clone(), repository.clone());
        let mut own = std::mem::take(helpers);
        let search = tokio::task::spawn_blocking(move || {
            let found = find(&environment, &target, &mut own);
            (found, own)
        });
        let Ok((found, own)) = search.await else {
            return Ok(Found::default());
        };
        *helpers = own;
        let found = found.map_err(Trouble::Fatal)?;
        if let Some(complaint) = &found.complaint {
            // Public images need no credentials. If the registry does need some, the error repeats
            // this.
            let message = format!("{complaint}: continuing without credentials");
            wire.progress().event(Event::Notice { message: &message });
        }
        Ok(found)
    }
}

impl Account {
    /// Returns the header that answers `challenge`. Fetches a token if there is no fresh one.
    async fn answer(
        &mut self,
        wire: &Wire,
        repository: &Reference,
        challenge: &Challenge,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, Trouble> {
        let credentials = self.found.as_ref().and_then(|it| it.credentials.as_ref());
        let (realm, service) = match (challenge, credentials) {
            (_, Some(Credentials::RegistryToken(token))) => return bearer(token).map(Some),
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                return basic(username, password).map(Some);
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service }, _) => (realm, service.as_deref()),
        };
        if let Some(token) = self.tokens.get(scopes) {
            if token.fresh_until > Instant::now() {
                return Ok(Some(token.header.clone()));
            }
        }
        let wish = Wish {
            repository,
            realm,
            service,
            scopes,
            credentials,
        };
        let token = wish.fetch(wire).await?;
        let header = token.header.clone();
        self.tokens.insert(scopes.to_vec(), token);
        Ok(Some(header))
    }
}
