//! Serves a front end that is embedded in the program, on port 8080.
//!
//! `server print PATH` writes one of its files to standard output instead.

use std::io::{stdout, BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};

use include_dir::{include_dir, Dir};

/// The part `web`, which npm builds from `ui`: images.toml says that it lies here.
static WEB: Dir = include_dir!("$CARGO_MANIFEST_DIR/dist");

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, path] = arguments.as_slice() {
        if command == "print" {
            return stdout().write_all(page(path).unwrap_or_default());
        }
    }
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = answer(stream?) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

/// The file at a path; the root is `index.html`.
fn page(path: &str) -> Option<&'static [u8]> {
    let path = match path.trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    Some(WEB.get_file(path)?.contents())
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let (status, body) = match page(request.split(' ').nth(1).unwrap_or("/")) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", &b"no such page\n"[..]),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
