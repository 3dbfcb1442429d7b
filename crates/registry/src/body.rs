//! Request bodies that stream a file.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use crateyard_oci::{Digest, Stored};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::progress::{Event, Progress};

/// The number of bytes that are read and handed to the connection at once.
const PIECE: u64 = 256 * 1024;
/// How many pieces are read ahead. Together with the pieces that are being sent, a transfer takes
/// about 1 MB of memory.
const PIECES_AHEAD: usize = 2;

/// A part of a blob that is to be sent.
#[derive(Clone)]
pub(crate) struct Part {
    pub blob: Stored,
    pub digest: Digest,
    pub offset: u64,
    pub length: u64,
}

/// The progress of one running request, for its watcher.
#[derive(Default)]
pub(crate) struct Activity {
    moved: AtomicU64,
    complete: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Activity {
    /// Returns how many bytes the connection has taken.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether the connection has taken the whole body.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Marks the body as sent. Bodies that come from memory are marked at once.
    pub(crate) fn complete(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Returns the reason if reading the file failed.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().ok()?.clone()
    }
}

/// The body. A thread reads ahead; the connection takes as much as it can send.
pub(crate) struct PartBody {
    /// The first piece, read at once. So small blobs need no thread, and large ones do not wait for
    /// it.
    first: Option<io::Result<Bytes>>,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    digest: Digest,
    activity: Arc<Activity>,
    progress: Arc<dyn Progress>,
}

impl PartBody {
    /// Begins to read `part`.
    pub(crate) fn new(
        part: Part,
        activity: Arc<Activity>,
        progress: Arc<dyn Progress>,
    ) -> PartBody {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (left, digest) = (part.length, part.digest.clone());
        if left == 0 {
            activity.complete();
        }
        let first = (left > 0).then(|| piece(&part.blob, part.offset, PIECE.min(left)));
        if left > PIECE {
            tokio::task::spawn_blocking(move || read(&part, &sender));
        }
        PartBody {
            first,
            pieces,
            left,
            digest,
            activity,
            progress,
        }
    }
}

fn piece(blob: &Stored, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; length as usize];
    blob.read_exact_at(&mut piece, offset)?;
    Ok(Bytes::from(piece))
}

/// Reads everything after the first piece, until the receiver is gone.
fn read(part: &Part, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut offset = part.offset + PIECE;
    let end = part.offset + part.length;
    while offset < end {
        let length = PIECE.min(end - offset);
        let result = piece(&part.blob, offset, length);
        offset += length;
        let failed = result.is_err();
        if sender.blocking_send(result).is_err() || failed {
            return;
        }
    }
}

impl Body for PartBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.pieces.poll_recv(context),
        };
        let piece = match next {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())),
        };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                if let Ok(mut failure) = self.activity.failure.lock() {
                    *failure = Some(error.to_string());
                }
                return Poll::Ready(Some(Err(error)));
            }
        };
        let bytes = piece.len() as u64;
        self.left -= bytes;
        self.activity.moved.fetch_add(bytes, Ordering::Relaxed);
        if self.left == 0 {
            self.activity.complete();
        }
        self.progress.event(Event::Bytes {
            digest: &self.digest,
            bytes,
        });
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
