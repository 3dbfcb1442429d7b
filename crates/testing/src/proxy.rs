//! A proxy that injects faults in front of a real registry.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The head of a request or an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The words of the request line or the status line.
    pub line: Vec<String>,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn method(&self) -> &str {
        &self.line[0]
    }

    /// Returns the path and the query.
    pub fn path(&self) -> &str {
        &self.line[1]
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn remove(&mut self, name: &str) {
        self.headers
            .retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub fn set_status(&mut self, status: &str) {
        self.line = vec![
            "HTTP/1.1".to_owned(),
            status.to_owned(),
            "Changed".to_owned(),
        ];
    }

    /// Whether a request carries bytes of a blob.
    pub fn is_upload(&self) -> bool {
        matches!(self.method(), "PATCH" | "PUT") && self.path().contains("/uploads/")
    }

    fn length(&self) -> u64 {
        self.header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0)
    }

    fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.line.join(" "));
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        stream.write_all(text.as_bytes())
    }
}

/// A fault for a request.
#[derive(Clone)]
pub enum Fault {
    /// The proxy answers by itself, after reading the body.
    Answer {
        status: &'static str,
        headers: Vec<(&'static str, String)>,
    },
    /// The proxy answers by itself, after reading the body, with an error in the specification's
    /// format.
    Say {
        status: &'static str,
        code: &'static str,
        message: &'static str,
    },
    /// The proxy answers by itself at once and closes the connection, while the body is still on
    /// its way.
    AnswerEarly {
        status: &'static str,
        headers: Vec<(&'static str, String)>,
    },
    /// The connection is reset after this many bytes of the body, and the registry sees none of
    /// them.
    Reset { after: u64 },
    /// The registry gets the request, but the client gets a reset instead of the answer.
    LoseAnswer,
    /// Nothing is read or answered for a while; then the connection closes.
    Stall { time: Duration },
    /// The answer's head is changed.
    Rewrite(fn(&mut Head)),
    /// The answer's body is cut off after this many bytes.
    CutAnswer { after: u64 },
    /// The answer's body has its first byte changed.
    SpoilAnswer,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    /// The status, or 0 if the client got no answer.
    pub status: u16,
    /// Bytes of the request's body that arrived at the proxy.
    pub received: u64,
    /// Bytes of the answer's body.
    pub answered: u64,
}

type Rule = Box<dyn FnMut(&Head) -> Option<Fault> + Send>;

struct State {
    upstream: SocketAddr,
    rules: Mutex<Vec<Rule>>,
    entries: Mutex<Vec<Entry>>,
    stopped: AtomicBool,
    delay: Mutex<Duration>,
    open: AtomicUsize,
}

/// The proxy. Like storage services, it passes only complete requests to the registry.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    pub fn start(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream,
            rules: Mutex::default(),
            entries: Mutex::default(),
            stopped: AtomicBool::new(false),
            delay: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = shared.clone();
                shared.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(&shared, stream);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Proxy { address, state }
    }

    /// Adds a rule; the first rule that names a fault for a request decides.
    pub fn rule(&self, rule: impl FnMut(&Head) -> Option<Fault> + Send + 'static) {
        self.state.rules.lock().unwrap().push(Box::new(rule));
    }

    /// Gives `fault` to the next `count` requests with this method and `part` in their path.
    pub fn fail(&self, method: &'static str, part: &'static str, count: usize, fault: Fault) {
        let mut left = count;
        self.rule(move |head| {
            if left == 0 || head.method() != method || !head.path().contains(part) {
                return None;
            }
            left -= 1;
            Some(fault.clone())
        });
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// Delays every request by this time.
    pub fn delay(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    /// Waits until all connections are closed, so that requests of dead clients are finished.
    pub fn settle(&self) {
        std::thread::sleep(Duration::from_millis(20));
        for _ in 0..1000 {
            if self.state.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("connections stay open");
    }

    /// Returns the requests since the last call.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.state.entries.lock().unwrap())
    }

    pub fn reference(&self, name: &str) -> crateyard_oci::Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Returns the received bytes of all uploads, failed ones included.
pub fn received(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .filter(|entry| entry.path.contains("/blobs/"))
        .map(|entry| entry.received)
        .sum()
}

/// Counts the requests with this method and `part` in their path.
pub fn count(entries: &[Entry], method: &str, part: &str) -> usize {
    entries
        .iter()
        .filter(|entry| entry.method == method && entry.path.contains(part))
        .count()
}

fn serve(state: &State, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    while !state.stopped.load(Ordering::Relaxed) {
        match serve_one(state, &mut reader) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// Serves one request. Returns whether the connection can be used again.
fn serve_one(state: &State, reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let Some(head) = read_head(reader)? else {
        return Ok(false);
    };
    let fault = state
        .rules
        .lock()
        .unwrap()
        .iter_mut()
        .find_map(|rule| rule(&head));
    let delay = *state.delay.lock().unwrap();
    std::thread::sleep(delay);
    let mut entry = Entry {
        method: head.method().to_owned(),
        path: head.path().to_owned(),
        range: head
            .header("content-range")
            .or(head.header("range"))
            .map(str::to_owned),
        status: 0,
        received: 0,
        answered: 0,
    };
    let result = handle(state, reader, &head, fault, &mut entry);
    if entry.status == 0 {
        state.entries.lock().unwrap().push(entry);
    }
    result
}

impl State {
    /// Records an entry before the client gets its answer, so that the client's caller finds it.
    fn record(&self, entry: &mut Entry, status: &str) {
        entry.status = status.parse().unwrap_or(999);
        self.entries.lock().unwrap().push(entry.clone());
    }
}

/// Answers a request. Returns whether the connection stays open.
fn handle(
    state: &State,
    reader: &mut BufReader<TcpStream>,
    head: &Head,
    fault: Option<Fault>,
    entry: &mut Entry,
) -> io::Result<bool> {
    if let Some(stays) = before_body(state, reader, head, fault.as_ref(), entry)? {
        return Ok(stays);
    }
    // Use a file, because large chunks would fill the memory.
    let mut body = tempfile::tempfile()?;
    entry.received = io::copy(&mut reader.by_ref().take(head.length()), &mut body)?;
    if entry.received < head.length() {
        return Ok(false);
    }
    if let Some(stays) = after_body(state, reader.get_mut(), head, fault.as_ref(), entry)? {
        return Ok(stays);
    }
    match forward(state, head, body)? {
        Some((response, answered)) => {
            pass_back(state, reader.get_mut(), response, answered, fault, entry)
        }
        None => Ok(false),
    }
}

/// Does what a fault says before the body is read.
fn before_body(
    state: &State,
    reader: &mut BufReader<TcpStream>,
    head: &Head,
    fault: Option<&Fault>,
    entry: &mut Entry,
) -> io::Result<Option<bool>> {
    match fault {
        Some(Fault::AnswerEarly { status, headers }) => {
            state.record(entry, status.split(' ').next().unwrap_or_default());
            answer(reader.get_mut(), status, headers)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Fault::Reset { after }) if *after < head.length() => {
            entry.received = io::copy(&mut reader.by_ref().take(*after), &mut io::sink())?;
            reset(reader.get_ref());
        }
        Some(Fault::Stall { time }) => std::thread::sleep(*time),
        _ => return Ok(None),
    }
    Ok(Some(false))
}

/// Does what a fault says in place of the server's answer.
fn after_body(
    state: &State,
    stream: &mut TcpStream,
    head: &Head,
    fault: Option<&Fault>,
    entry: &mut Entry,
) -> io::Result<Option<bool>> {
    match fault {
        Some(Fault::Answer { status, headers }) => {
            state.record(entry, status.split(' ').next().unwrap_or_default());
            answer(stream, status, headers)?;
            Ok(Some(true))
        }
        Some(Fault::Say {
            status,
            code,
            message,
        }) => {
            state.record(entry, status.split(' ').next().unwrap_or_default());
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
            let length = body.len();
            let body = if head.method() == "HEAD" { "" } else { &body };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes())?;
            Ok(Some(true))
        }
        Some(Fault::Reset { .. }) => {
            reset(stream);
            Ok(Some(false))
        }
        _ => Ok(None),
    }
}

/// Sends the request to the server. Returns the whole answer, if there is one.
fn forward(state: &State, head: &Head, mut body: File) -> io::Result<Option<(Head, Vec<u8>)>> {
    io::Seek::rewind(&mut body)?;
    let mut upstream = BufReader::new(TcpStream::connect(state.upstream)?);
    let mut forwarded = head.clone();
    forwarded.set("connection", "close");
    forwarded.write(upstream.get_mut())?;
    io::copy(&mut body, upstream.get_mut())?;
    let Some(mut response) = read_head(&mut upstream)? else {
        return Ok(None);
    };
    response.remove("connection");
    let mut answered = Vec::new();
    if head.method() == "HEAD" || response.line[1] == "204" {
        return Ok(Some((response, answered)));
    }
    if response.header("content-length").is_some() {
        let mut body = upstream.take(response.length());
        body.read_to_end(&mut answered)?;
        return Ok(Some((response, answered)));
    }
    if response.header("transfer-encoding").is_some() {
        answered = read_chunks(&mut upstream)?;
        response.remove("transfer-encoding");
    } else {
        upstream.read_to_end(&mut answered)?;
    }
    response.set("content-length", &answered.len().to_string());
    Ok(Some((response, answered)))
}

/// Passes the server's answer back, with what a fault does to it.
fn pass_back(
    state: &State,
    stream: &mut TcpStream,
    mut response: Head,
    mut answered: Vec<u8>,
    fault: Option<Fault>,
    entry: &mut Entry,
) -> io::Result<bool> {
    let mut stays = true;
    match fault {
        Some(Fault::LoseAnswer) => {
            reset(stream);
            return Ok(false);
        }
        Some(Fault::Rewrite(change)) => change(&mut response),
        Some(Fault::SpoilAnswer) if !answered.is_empty() => answered[0] ^= 1,
        Some(Fault::CutAnswer { after }) => {
            answered.truncate(usize::try_from(after).unwrap());
            stays = false;
        }
        _ => {}
    }
    entry.answered = answered.len() as u64;
    state.record(entry, &response.line[1]);
    response.write(stream)?;
    stream.write_all(&answered)?;
    stream.flush()?;
    Ok(stays)
}

fn answer(stream: &mut TcpStream, status: &str, headers: &[(&str, String)]) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    stream.write_all(text.as_bytes())
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let headers = lines
        .filter_map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    Ok(Some(Head {
        line: first.split(' ').map(str::to_owned).collect(),
        headers,
    }))
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        reader.by_ref().take(length).read_to_end(&mut bytes)?;
        reader.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(bytes);
        }
    }
}

/// Closes the connection so that the other side sees a reset.
fn reset(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open and the pointer and length describe `linger`.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
}
