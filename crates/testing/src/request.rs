//! Requests, for the tests' servers.

use std::io::{self, BufRead, Read};

/// A request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub authorization: Option<String>,
    /// `If-None-Match`.
    pub known_tag: Option<String>,
    pub body: Vec<u8>,
}

impl Seen {
    /// Whether it has this method and `part` in its path.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// Reads one request, with a body of `Content-Length` bytes.
pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    let (mut authorization, mut known_tag, mut length) = (None, None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.trim().to_owned()),
            "if-none-match" => known_tag = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(Seen {
        method: method.unwrap_or_default(),
        path: path.ok_or(io::ErrorKind::UnexpectedEof)?,
        authorization,
        known_tag,
        body,
    })
}
