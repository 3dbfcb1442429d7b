//! HTTP requests, for the servers of tests.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use percent_encoding::percent_decode_str;

/// A request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub authorization: Option<String>,
    /// `If-None-Match`.
    pub known_tag: Option<String>,
    /// All headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    /// Returns the token of the header `Authorization: Bearer TOKEN`.
    pub fn bearer(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }

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
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let header = |name: &str| headers.get(name).cloned();
    let length = header("content-length").and_then(|it| it.parse().ok());
    let mut body = Vec::new();
    reader.take(length.unwrap_or(0)).read_to_end(&mut body)?;
    Ok(Seen {
        method: method.unwrap_or_default(),
        path: path.ok_or(io::ErrorKind::UnexpectedEof)?,
        authorization: header("authorization"),
        known_tag: header("if-none-match"),
        headers,
        body,
    })
}

/// Reads the fields of a query or a form.
pub(crate) fn fields(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}
