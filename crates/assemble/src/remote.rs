//! Reads an image in a registry blob by blob, without keeping it on disk.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crateyard_oci::{
    Blobs, Budget, Descriptor, Digest, Document, Reference, TagOrDigest, media_type,
};
use crateyard_registry::{Client, Error, Failure, Kind, Repository};

/// The number of pieces of a blob that are fetched ahead and held in memory.
const PIECES_AHEAD: usize = 16;
/// The limits on the documents about one image: their number, and their bytes together. Anybody who
/// may write to a repository can add to an image's list.
const MAX_DOCUMENTS: usize = 2_000;
const MAX_DOCUMENT_BYTES: u64 = 256 * 1024 * 1024;
/// The number of times that a broken download is resumed.
const RESUMPTIONS: usize = 5;

type Piece = Result<Vec<u8>, Error>;

/// The manifest or index that a reference names, and its blobs.
///
/// One thread talks to the registry and serves one blob after another. So a reader must be dropped,
/// or read to its end, before the next one gets bytes.
pub struct Remote {
    client: Client,
    reference: Reference,
    root: Document,
    budget: Arc<Budget>,
    requests: mpsc::Sender<Request>,
    failure: Arc<Mutex<Option<Error>>>,
}

/// Documents that the search left out, because there are too many or they are too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The list of the documents, for people.
    pub list: &'static str,
    /// The number of documents that the search looked at.
    pub looked: usize,
    /// The number of all documents.
    pub total: usize,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftOut {
            list,
            looked,
            total,
        } = self;
        write!(
            f,
            "{list} names {total} documents; {looked} were looked into"
        )
    }
}

/// A request to read a blob.
struct Request {
    digest: Digest,
    is_manifest: bool,
    pieces: SyncSender<Piece>,
}

impl Remote {
    /// Fetches the manifest that `reference` names.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, or has no such image.
    pub fn open(
        client: Client,
        reference: Reference,
        budget: Arc<Budget>,
    ) -> Result<Remote, Error> {
        let (requests, queue) = mpsc::channel::<Request>();
        let (answer, opened) = mpsc::sync_channel(1);
        let wanted = reference.clone();
        let own = client.clone();
        thread::spawn(move || {
            crateyard_registry::run(async {
                let (repository, root) = match root(&client, &wanted).await {
                    Ok(found) => found,
                    Err(error) => return drop(answer.send(Err(error))),
                };
                drop(answer.send(Ok(root)));
                // This wait blocks only this thread. Connections live on the runtime's own threads.
                while let Ok(request) = queue.recv() {
                    if let Err(error) = serve(&repository, &request).await {
                        drop(request.pieces.send(Err(error)));
                    }
                }
            });
        });
        let root = opened
            .recv()
            .unwrap_or_else(|_| Err(gone(&reference, "the connection")))?;
        Ok(Remote {
            client: own,
            reference,
            root,
            budget,
            requests,
            failure: Arc::default(),
        })
    }

    /// Returns the descriptor of the manifest or index that the reference names.
    pub fn root(&self) -> Descriptor {
        self.root.plain_descriptor()
    }

    /// Returns the reference that was opened.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Finds the first document of a type that refers to an image and that `is_it` accepts. Skips
    /// unreadable documents.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    pub fn document(
        &self,
        subject: &Digest,
        artifact_type: &str,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.search_documents(subject, artifact_type, |_, document| {
            found = document.ok().filter(|bytes| is_it(bytes));
            found.is_some()
        })?;
        Ok(found)
    }

    /// Passes the documents of a type that refer to an image to `look`, one after another, each
    /// with the digest of its manifest. If a document can't be had, `look` gets the reason instead.
    /// The search ends when `look` returns true, because it has seen enough. If the limits left out
    /// documents before that, returns a [`LeftOut`].
    ///
    /// # Errors
    /// When the registry refuses to list the documents, or can't be reached for one of them before
    /// `look` has seen enough.
    pub fn search_documents(
        &self,
        subject: &Digest,
        artifact_type: &str,
        mut look: impl FnMut(&str, Result<Vec<u8>, String>) -> bool,
    ) -> Result<Option<LeftOut>, Error> {
        crateyard_registry::run(async {
            let repository = self.client.repository(&self.reference)?;
            let (listed, _) = repository.referrers(subject, false).await?;
            let mut unreachable = None;
            let mut bytes_left = MAX_DOCUMENT_BYTES;
            let listed = in_order(listed, artifact_type);
            let total = listed.len();
            let mut looked = 0;
            for referrer in listed.into_iter().take(MAX_DOCUMENTS) {
                if bytes_left == 0 {
                    break;
                }
                looked += 1;
                let document = match repository.document(&referrer).await {
                    Ok(document) => Ok(document.to_vec()),
                    Err(error) if is_about_the_image(&error) => Err(first_line(&error)),
                    Err(error) => {
                        unreachable.get_or_insert(error);
                        continue;
                    }
                };
                let length = document.as_ref().map_or(0, Vec::len) as u64;
                if look(referrer.digest.as_str(), document) {
                    return Ok(None);
                }
                bytes_left = bytes_left.saturating_sub(length);
            }
            match unreachable {
                Some(error) => Err(error),
                None => Ok((looked < total).then_some(LeftOut {
                    list: "the list of referrers",
                    looked,
                    total,
                })),
            }
        })
    }

    /// Reads the manifest under another tag of the same repository. Returns `None` if there is no
    /// such tag.
    ///
    /// # Errors
    /// When the registry refuses or can't be reached.
    pub fn tagged(&self, tag: &str) -> Result<Option<Document>, Error> {
        let version = TagOrDigest::Tag(tag.to_owned());
        crateyard_registry::run(async {
            let repository = self.client.repository(&self.reference)?;
            repository.manifest(&version).await
        })
    }

    /// Reads a small blob of the repository, and verifies it.
    ///
    /// # Errors
    /// When the registry refuses, can't be reached, has no such blob, or sends other bytes.
    pub fn small_blob(&self, blob: &Descriptor) -> Result<Vec<u8>, Error> {
        crateyard_registry::run(async {
            let repository = self.client.repository(&self.reference)?;
            Ok(repository.small_blob(blob).await?.to_vec())
        })
    }

    /// Takes the error if the registry stopped sending. Without it, a reader can't tell a broken
    /// connection from a damaged image.
    pub fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }
}

impl Blobs for Remote {
    fn open_blob(
        &self,
        descriptor: &Descriptor,
    ) -> crateyard_oci::Result<Box<dyn Read + Send + '_>> {
        if descriptor.digest == self.root.digest {
            return Ok(Box::new(&self.root.bytes[..]));
        }
        let not_found = || crateyard_oci::Error::NotFound {
            what: format!("blob {}", descriptor.digest),
            place: self.title(),
            hint: String::new(),
        };
        let (pieces, receiver) = mpsc::sync_channel(PIECES_AHEAD);
        let request = Request {
            digest: descriptor.digest.clone(),
            is_manifest: descriptor.is_manifest_or_index(),
            pieces,
        };
        self.requests.send(request).map_err(|_| not_found())?;
        Ok(Box::new(Reader {
            pieces: receiver,
            current: Cursor::default(),
            failure: Arc::clone(&self.failure),
        }))
    }

    fn title(&self) -> String {
        self.reference.to_string()
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

/// Reads the pieces of one blob in order.
struct Reader {
    pieces: Receiver<Piece>,
    current: Cursor<Vec<u8>>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.recv() {
                Ok(Ok(piece)) => self.current = Cursor::new(piece),
                Ok(Err(error)) => {
                    let message = error.to_string();
                    if !is_about_the_image(&error) {
                        lock(&self.failure).get_or_insert(error);
                    }
                    return Err(io::Error::other(message));
                }
                Err(_) => return Ok(0),
            }
        }
    }
}

/// Whether an error means that the image is incomplete, and not that it can't be read.
pub fn is_about_the_image(error: &Error) -> bool {
    match error {
        Error::Request(failure) => matches!(failure.kind, Kind::NotFound | Kind::Contradiction),
        _ => false,
    }
}

fn lock(failure: &Mutex<Option<Error>>) -> MutexGuard<'_, Option<Error>> {
    failure.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the error without its suggestion, which nobody can follow here.
pub fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Sorts the referrers that may have a type. Referrers that state the type come first. After them
/// come those that state none, because some clients attach documents that way.
fn in_order(listed: Vec<Descriptor>, artifact_type: &str) -> Vec<Descriptor> {
    let says_so = |it: &Descriptor| it.artifact_type.as_deref() == Some(artifact_type);
    let (mut first, rest): (Vec<_>, Vec<_>) = listed.into_iter().partition(says_so);
    let is_silent = |it: &Descriptor| {
        let own = it.artifact_type.as_deref();
        own.is_none_or(|own| own == media_type::EMPTY)
    };
    first.extend(rest.into_iter().filter(is_silent));
    first
}

async fn root(client: &Client, reference: &Reference) -> Result<(Repository, Document), Error> {
    let repository = client.repository(reference)?;
    let root = repository.manifest(&reference.version()).await?;
    let root = root.ok_or_else(|| gone(reference, "the image"))?;
    Ok((repository, root))
}

async fn serve(repository: &Repository, request: &Request) -> Result<(), Error> {
    if request.is_manifest {
        let version = TagOrDigest::Digest(request.digest.clone());
        let manifest = repository.manifest(&version).await?;
        let manifest = manifest.ok_or_else(|| gone(repository.reference(), "a manifest"))?;
        drop(request.pieces.send(Ok(manifest.bytes.to_vec())));
        return Ok(());
    }
    let mut sent = 0;
    let mut resumptions = 0;
    loop {
        match send_from(repository, request, &mut sent).await {
            Err(error) if sent > 0 && resumptions < RESUMPTIONS && !is_about_the_image(&error) => {
                resumptions += 1;
            }
            result => return result,
        }
    }
}

/// Sends a blob from byte `sent` on, even if the registry starts from the beginning.
async fn send_from(
    repository: &Repository,
    request: &Request,
    sent: &mut u64,
) -> Result<(), Error> {
    let mut download = repository.blob(&request.digest, *sent).await?;
    let mut position = download.offset;
    while let Some(piece) = download.chunk().await? {
        let known = sent.saturating_sub(position).min(piece.len() as u64);
        position += piece.len() as u64;
        let fresh = &piece[known as usize..];
        *sent += fresh.len() as u64;
        let nobody_reads = || request.pieces.send(Ok(fresh.to_vec())).is_err();
        if !fresh.is_empty() && nobody_reads() {
            break;
        }
    }
    Ok(())
}

fn gone(reference: &Reference, what: &str) -> Error {
    Failure {
        reference: reference.to_string(),
        request: format!("GET /v2/{}/manifests", reference.repository()),
        kind: Kind::NotFound,
        detail: format!("{what} is not there"),
        remedy:
            "check the repository and the tag; the registry may also hide images that need a login"
                .to_owned(),
    }
    .into()
}
