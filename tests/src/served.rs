//! A file server.

use anyhow::Result;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The silence of a stalling server, which is longer than any client waits.
const FOREVER: Duration = Duration::from_secs(120);

/// A fault of a server.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Every answer has this status.
    Status(u16),
    /// Archives have this status. The rest works.
    ArchiveStatus(u16),
    /// The server never answers.
    Stall,
    /// Archives begin and never end.
    ArchiveStall,
    /// Archives end too early.
    ArchiveCut,
}

/// Serves a directory until the test ends, with an optional fault.
pub fn serve(directory: &Path, fault: Option<Fault>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let directory: Arc<Path> = directory.into();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let directory = directory.clone();
            std::thread::spawn(move || answer(connection, &directory, fault));
        }
    });
    Ok(url)
}

/// Answers one request on each connection. The other side may leave at any time.
fn answer(mut connection: TcpStream, directory: &Path, fault: Option<Fault>) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut header = String::new();
    while reader.read_line(&mut header).ok()? > 2 {
        header.clear();
    }
    let path = request
        .split(' ')
        .nth(1)?
        .trim_start_matches('/')
        .to_owned();
    let is_archive = path.starts_with("nar/");
    let status = match fault {
        Some(Fault::Stall) => {
            std::thread::sleep(FOREVER);
            return None;
        }
        Some(Fault::Status(status)) => Some(status),
        Some(Fault::ArchiveStatus(status)) if is_archive => Some(status),
        _ => None,
    };
    if let Some(status) = status {
        let _ = write!(
            connection,
            "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return None;
    }
    let Ok(bytes) = fs::read(directory.join(&path)) else {
        let _ = write!(
            connection,
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return None;
    };
    let length = bytes.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let sent = match fault {
        Some(Fault::ArchiveCut | Fault::ArchiveStall) if is_archive => length / 2,
        _ => length,
    };
    connection.write_all(&bytes[..sent]).ok()?;
    if is_archive && matches!(fault, Some(Fault::ArchiveStall)) {
        std::thread::sleep(FOREVER);
    }
    Some(())
}
