//! Lists of referrers: the documents and signatures that name an image as their subject.

use bytes::Bytes;
use crateyard_oci::{Budget, Descriptor, Digest, Document, TagOrDigest, media_type};
use reqwest::{Method, StatusCode};

use super::{Put, Repository, Small, links};
use crate::error::{Error, Kind};
use crate::transport::Target;

/// The limit of pages in a list.
const MAX_PAGES: usize = 1_000;

/// Who keeps the list of an image's referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferrersKeeper {
    /// The registry (referrers API).
    Registry,
    /// A tag that clients maintain.
    Tag,
}

impl Repository {
    /// The referrers of `subject`, and who keeps their list. `skip_api` saves a request if the
    /// registry is known to lack the API.
    ///
    /// # Errors
    /// Fails if the registry refuses or cannot be reached.
    pub async fn referrers(
        &self,
        subject: &Digest,
        skip_api: bool,
    ) -> Result<(Vec<Descriptor>, ReferrersKeeper), Error> {
        if !skip_api {
            if let Some(listed) = self.pages(subject).await? {
                return Ok((listed, ReferrersKeeper::Registry));
            }
        }
        let index = self
            .manifest(&TagOrDigest::Tag(referrers_tag(subject)))
            .await?;
        Ok((
            index.map(|index| index.manifests).unwrap_or_default(),
            ReferrersKeeper::Tag,
        ))
    }

    /// All pages of the list that the registry keeps, or `None` if it keeps none.
    async fn pages(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>, Error> {
        let path = format!("referrers/{subject}");
        let mut call = self
            .call(Method::GET, &path, None)
            .accept(&[media_type::INDEX]);
        // The specification asks for 404 without the API, but registries use these too.
        let absent = [
            StatusCode::NOT_FOUND,
            StatusCode::BAD_REQUEST,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::NOT_IMPLEMENTED,
        ];
        let budget = Budget::default();
        let mut listed = Vec::new();
        for number in 0..MAX_PAGES {
            let page = match self.get_small_unless(&call, &absent).await? {
                Ok(page) => page,
                Err(_) if number == 0 => return Ok(None),
                // Without the rest of the list, signatures and objections would be missed.
                Err(status) => {
                    let detail = format!("{status} for page {} of the list", number + 1);
                    return Err(self.contradiction_of(call.describe(), detail));
                }
            };
            budget.document(&call.describe(), page.bytes.len() as u64, 0)?;
            budget.values(&call.describe(), &page.bytes)?;
            let next = self.next_page(&page)?;
            listed.extend(self.read_page(page)?);
            match next {
                Some(next) => call.target = next,
                None => return Ok(Some(listed)),
            }
        }
        let detail = format!("the list of referrers has more than {MAX_PAGES} pages");
        Err(self.contradiction_of(call.describe(), detail))
    }

    fn read_page(&self, page: Small) -> Result<Vec<Descriptor>, Error> {
        let digest = Digest::of(&page.bytes);
        let index = Document::parse(page.bytes, digest, Some(media_type::INDEX));
        let index = index.map_err(|reason| self.contradiction_of(page.request, reason))?;
        Ok(index.manifests)
    }

    /// The URL of the next page, from `Link: <URL>; rel="next"`.
    fn next_page(&self, page: &Small) -> Result<Option<Target>, Error> {
        let Some(link) = &page.link else {
            return Ok(None);
        };
        let wrong = |reason| self.contradiction_of(page.request.clone(), reason);
        let Some(target) = links::next(link).map_err(wrong)? else {
            return Ok(None);
        };
        let url = self.transport.resolve(&page.url, target);
        Ok(Some(Target::Url(url.map_err(wrong)?)))
    }

    /// Adds `referrers` to the list that clients maintain under a tag, for registries without the
    /// referrers API. Adds all at once, because a registry with immutable tags takes the list only
    /// once.
    ///
    /// # Errors
    /// Fails if the registry refuses or cannot be reached.
    pub(crate) async fn add_referrers(
        &self,
        subject: &Digest,
        referrers: &[Descriptor],
    ) -> Result<(), Error> {
        let (mut listed, _) = self.referrers(subject, true).await?;
        let before = listed.len();
        for referrer in referrers {
            if !listed.iter().any(|known| known.digest == referrer.digest) {
                listed.push(referrer.clone());
            }
        }
        if listed.len() == before {
            return Ok(());
        }
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": listed,
        });
        let bytes = Bytes::from(index.to_string());
        let digest = Digest::of(&bytes);
        let index = Document::parse(bytes, digest, Some(media_type::INDEX))
            .map_err(|reason| self.contradiction_of("referrers index".to_owned(), reason))?;
        let tag = referrers_tag(subject);
        let put = self
            .put_manifest(&TagOrDigest::Tag(tag.clone()), &index)
            .await;
        match put.map_err(|error| fixed(error, &tag, before))? {
            Put::Stored { .. } => Ok(()),
            Put::Lacks(trouble) => {
                let name = self.reference.to_string();
                // Their manifests are there, so this answer has another reason, and trying again
                // would not help.
                Err(self.transport.attempts(&name).give_up(trouble))
            }
        }
    }
}

/// Explains the error if the tag of a list can't be moved.
fn fixed(error: Error, tag: &str, before: usize) -> Error {
    match error {
        Error::Request(mut failure) if failure.kind == Kind::Refused && before > 0 => {
            failure.remedy = format!(
                "allow the tag {tag} to move: it lists the image's referrers, for which this \
                 registry has no other place; the new referrer is stored, and the same command can \
                 list it then"
            );
            Error::Request(failure)
        }
        other => other,
    }
}

/// The tag under which clients list the referrers of `subject`.
///
/// See [the
/// specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema).
fn referrers_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm(), &hex[..hex.len().min(64)])
}
