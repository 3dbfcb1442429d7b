//! Registries with excessive answers.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crateyard_oci::{Descriptor, Digest, media_type};
use serde_json::json;

use crate::inputs::index;

/// A registry with one image, `/a:t`.
pub(crate) struct Registry {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Registry {
    fn start(documents: HashMap<String, (String, Vec<u8>)>) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let (documents, counter) = (Arc::new(documents), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (documents, counter) = (Arc::clone(&documents), Arc::clone(&counter));
                // A client that disconnects in the middle of an answer ends the thread.
                std::thread::spawn(move || serve(stream, &documents, &counter));
            }
        });
        Registry { port, requests }
    }

    pub(crate) fn image(&self) -> String {
        format!("127.0.0.1:{}/a:t", self.port)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Starts a server that answers with `head`, then with `piece` again and again. Returns the name of
/// an image there.
pub(crate) fn endless(head: String, piece: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (head, piece) = (head.clone(), piece.clone());
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = stream.write_all(piece.as_bytes());
                }
            });
        }
    });
    format!("{address}/a:t")
}

fn serve(
    stream: TcpStream,
    documents: &HashMap<String, (String, Vec<u8>)>,
    counter: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? <= 2 {
                break;
            }
        }
        counter.fetch_add(1, Ordering::Relaxed);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let (status, kind, body) = match documents.get(name) {
            Some((kind, body)) => ("200 OK", kind.as_str(), body.as_slice()),
            None if path == "/v2/" => ("200 OK", "application/json", &b"{}"[..]),
            None => ("404 Not Found", "application/json", &b"{}"[..]),
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        if !request.starts_with("HEAD") {
            stream.write_all(body)?;
        }
    }
}

/// Makes an index of `count` manifests, each of `size` bytes.
pub(crate) fn flood(count: usize, size: usize) -> Registry {
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let padding = "x".repeat(size - 1_000);
    let mut documents = HashMap::new();
    let mut listed = Vec::new();
    // Clients never ask for more than these.
    let real = count.min(12);
    for number in 0..real {
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": config,
            "layers": [], "annotations": {"number": number.to_string(), "padding": padding}});
        let bytes = manifest.to_string().into_bytes();
        let descriptor = Descriptor::of(media_type::MANIFEST, &bytes);
        let digest = descriptor.digest.to_string();
        documents.insert(digest, (descriptor.media_type.clone(), bytes));
        listed.push(descriptor);
    }
    for number in real..count {
        let digest = Digest::of(number.to_string().as_bytes());
        listed.push(Descriptor::new(
            media_type::MANIFEST,
            digest,
            size as u64 - 500,
        ));
    }
    let top = index(&listed).to_string().into_bytes();
    documents.insert("t".to_owned(), (media_type::INDEX.to_owned(), top));
    Registry::start(documents)
}

/// Makes `depth` nested indexes, each named `width` times.
pub(crate) fn fanout(depth: usize, width: usize) -> Registry {
    let mut documents = HashMap::new();
    let mut listed = Vec::new();
    for _ in 0..=depth {
        let bytes = index(&listed).to_string().into_bytes();
        let descriptor = Descriptor::of(media_type::INDEX, &bytes);
        let document = (media_type::INDEX.to_owned(), bytes);
        documents.insert(descriptor.digest.to_string(), document.clone());
        documents.insert("t".to_owned(), document);
        listed = vec![descriptor; width];
    }
    Registry::start(documents)
}
