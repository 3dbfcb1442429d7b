//! Authentication: what a registry asks for, and what was got to show it, for each of its repositories apart.

pub(crate) mod challenge;
mod token;

use std::collections::BTreeMap;
use std::time::Instant;

use crateyard_oci::Reference;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use crate::client::{Environment, Options};
use crate::credentials::{Credentials, Found, Helpers, find};
use crate::progress::Event;
use crate::trust::Trust;
use crate::wire::{Reply, Trouble, Wire};
use challenge::{Challenge, choose};
use token::{Token, Wish, basic, bearer};

/// What a registry's requests are authenticated with.
pub(crate) struct Auth {
    given: Option<Credentials>,
    environment: Environment,
    trust: Trust,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the registry asked for last: repositories that it has not asked for yet are taken to be like it.
    challenge: Option<Challenge>,
    /// By the repository's name. Repositories of one registry may have different owners, and share nothing.
    accounts: BTreeMap<String, Account>,
    helpers: Helpers,
}

/// What one repository's requests are authenticated with.
#[derive(Default)]
struct Account {
    challenge: Option<Challenge>,
    /// The credentials, once they were searched.
    found: Option<Found>,
    /// By what they allow.
    tokens: BTreeMap<Vec<String>, Token>,
}

/// What an error about a repository has to know of its authentication.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Whether the registry asked for authentication in a way that is known here.
    pub was_asked: bool,
    /// What was found to show; known once the registry has asked.
    pub found: Found,
}

impl Auth {
    pub fn new(options: &Options, trust: Trust) -> Auth {
        Auth {
            given: options.credentials.clone(),
            environment: options.environment.clone(),
            trust,
            state: Mutex::default(),
        }
    }

    /// The header for a request to `repository` that needs `scopes`; none before the registry has asked.
    pub async fn header(
        &self,
        wire: &Wire,
        repository: &Reference,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, Trouble> {
        // Held while a token is fetched, so that it is fetched once.
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

    /// Learns from a 401 answer to a request to `repository`. Says whether it is worth to ask again: not if what was
    /// `used` is all there is.
    ///
    /// # Errors
    /// Says why the token server that the answer names is not asked.
    pub async fn learn(
        &self,
        reply: &Reply,
        repository: &Reference,
        scopes: &[String],
        used: Option<&HeaderValue>,
    ) -> Result<bool, String> {
        let Some(challenge) = choose(reply.headers(), &reply.url, self.trust)? else {
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
        // Another request may have renewed the token in the meantime: then that one is tried.
        let is_cached = account
            .tokens
            .get(scopes)
            .is_some_and(|token| Some(&token.header) == used);
        if is_cached {
            account.tokens.remove(scopes);
        }
        Ok(is_new || used.is_none() || is_bearer)
    }

    /// What is known of a repository's authentication.
    pub async fn standing(&self, repository: &Reference) -> Standing {
        let state = self.state.lock().await;
        let account = state.accounts.get(repository.repository());
        Standing {
            was_asked: account.is_some_and(|account| account.challenge.is_some()),
            found: account
                .and_then(|account| account.found.clone())
                .unwrap_or_default(),
        }
    }

    /// Searches the credentials once, and only for registries that ask: helpers can be slow.
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
            // Public images need no credentials; where they are needed, the error says this again.
            let message = format!("{complaint}: going on without credentials");
            wire.progress().event(Event::Notice { message: &message });
        }
        Ok(found)
    }
}

impl Account {
    /// What answers `challenge`, with a token that is fetched where there is no fresh one.
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
