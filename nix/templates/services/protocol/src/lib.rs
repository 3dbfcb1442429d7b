//! As much of HTTP as the services share.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};

/// Answers every request with what `respond` makes of its path.
pub fn serve(address: &str, mut respond: impl FnMut(&str) -> String) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = answer(stream?, &mut respond) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream, respond: &mut impl FnMut(&str) -> String) -> Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let body = respond(request.split(' ').nth(1).unwrap_or("/"));
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    #[test]
    fn a_request_is_answered() {
        std::thread::spawn(|| super::serve("127.0.0.1:18099", |path| format!("[{path}]")));
        let mut stream = loop {
            match std::net::TcpStream::connect("127.0.0.1:18099") {
                Ok(stream) => break stream,
                Err(_) => std::thread::yield_now(),
            }
        };
        std::io::Write::write_all(&mut stream, b"GET /x HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("[/x]"), "{answer}");
    }
}
