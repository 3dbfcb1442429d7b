//! Gets blobs into a layout.

use crateyard_oci::{Descriptor, Digest};

use super::destination::Destination;
use super::partial::Partial;
use crate::client::Client;
use crate::error::{Error, Failure, Kind};
use crate::progress::{Arrival, Event};
use crate::repository::Repository;
use crate::wire::Trouble;

/// Says of a layer that the registry lacks, and need not have, where it is. Nothing is fetched from
/// there: the address is the image's, and anybody may have written it.
fn elsewhere(descriptor: &Descriptor, error: Error) -> Error {
    let Error::Request(mut failure) = error else {
        return error;
    };
    if failure.kind == Kind::NotFound && descriptor.is_foreign() {
        let place = match descriptor.urls.first() {
            Some(url) => format!("the image says that it is at {url}"),
            None => "the image does not say where it is".to_owned(),
        };
        failure.detail = format!(
            "the registry does not have this foreign layer ({}); {place}",
            descriptor.media_type
        );
        failure.remedy = "push the image with its foreign layers, such as by `docker push` of a \
             daemon with `allow-nondistributable-artifacts`"
            .to_owned();
    }
    Error::Request(failure)
}

/// One pull while it runs.
pub(super) struct Pull<'a> {
    pub(super) client: &'a Client,
    pub(super) repository: &'a Repository,
    pub(super) layout: &'a Destination,
}

impl Pull<'_> {
    /// Fetches a blob unless the layout has it, and returns how many bytes were received.
    pub(super) async fn fetch_blob(&self, descriptor: &Descriptor) -> Result<Option<u64>, Error> {
        let digest = &descriptor.digest;
        let progress = self.client.progress();
        if self.layout.has(descriptor)? {
            let size = descriptor.size;
            progress.event(Event::Blob {
                digest,
                offset: size,
                size,
            });
            progress.event(Event::Done {
                digest,
                how: Arrival::Existing,
            });
            return Ok(None);
        }
        let directory = self.layout.blob_directory(digest)?;
        let mut partial = Partial::open(directory, digest, descriptor.size)?;
        let was_resumed = partial.length > 0;
        let received = self.receive(descriptor, &mut partial).await;
        let mut received = received.map_err(|error| elsewhere(descriptor, error))?;
        let mut actual = partial.actual();
        if actual != *digest && was_resumed {
            // The bytes of an earlier run were damaged.
            partial.restart()?;
            received += self.receive(descriptor, &mut partial).await?;
            actual = partial.actual();
        }
        if actual != *digest {
            partial.discard();
            let detail = format!("sent bytes with the digest {actual}");
            return Err(self.contradiction(digest, detail));
        }
        partial.finish(|| self.layout.has(descriptor))?;
        progress.event(Event::Done {
            digest,
            how: Arrival::Transferred,
        });
        Ok(Some(received))
    }

    /// Receives the whole blob. Continues at the last byte when a connection breaks.
    async fn receive(&self, descriptor: &Descriptor, partial: &mut Partial) -> Result<u64, Error> {
        let digest = &descriptor.digest;
        let reference = self.repository.reference().to_string();
        let mut attempts = self.repository.transport().attempts(&reference);
        attempts.reach(partial.length);
        let mut received = 0;
        while partial.length < descriptor.size {
            let event = Event::Blob {
                digest,
                offset: partial.length,
                size: descriptor.size,
            };
            self.client.progress().event(event);
            let mut download = self.repository.blob(digest, partial.length).await?;
            if download.offset != partial.length {
                // The registry sends the whole blob again.
                partial.restart()?;
            }
            let cause = loop {
                match download.piece().await {
                    Ok(Some(piece)) => {
                        received += piece.len() as u64;
                        if partial.length + piece.len() as u64 > descriptor.size {
                            partial.restart()?;
                            let detail = format!(
                                "sent more than the {} bytes of its descriptor",
                                descriptor.size
                            );
                            return Err(self.contradiction(digest, detail));
                        }
                        partial.append(&piece)?;
                        self.client.progress().event(Event::Bytes {
                            digest,
                            bytes: piece.len() as u64,
                        });
                    }
                    Ok(None) if partial.length == descriptor.size => return Ok(received),
                    Ok(None) => break format!("the answer ended at byte {}", partial.length),
                    Err(cause) => break cause,
                }
            };
            attempts.reach(partial.length);
            attempts
                .pause(Trouble::transient(download.request(), cause))
                .await?;
        }
        Ok(received)
    }

    fn contradiction(&self, digest: &Digest, detail: String) -> Error {
        Failure {
            reference: format!("{}@{digest}", self.repository.reference()),
            request: format!(
                "GET /v2/{}/blobs/{digest}",
                self.repository.reference().repository()
            ),
            kind: Kind::Contradiction,
            detail,
            remedy:
                "pull again; if it happens again, the registry or a proxy in front of it is at \
                 fault"
                    .to_owned(),
        }
        .into()
    }
}
