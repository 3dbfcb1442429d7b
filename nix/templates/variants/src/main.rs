//! Answers requests with what a command-line tool says, on port 8080: GET /a/b runs it with the
//! arguments `a` and `b`.
//!
//! `agent run ARGUMENT...` writes what it says to standard output instead.

use std::env;
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

fn main() -> Result<()> {
    let tool: Vec<String> = match env::var("AGENT_TOOL") {
        Ok(tool) => tool.split_whitespace().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    };
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(("run", rest)) = arguments.split_first().map(|(it, rest)| (it.as_str(), rest)) {
        let output = run(&tool, rest)?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        std::process::exit(output.status.code().unwrap_or(1));
    }
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = answer(stream?, &tool) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn run(tool: &[String], arguments: &[String]) -> Result<Output> {
    let (program, first) = tool
        .split_first()
        .ok_or_else(|| Error::other("no tool: AGENT_TOOL is not set"))?;
    Command::new(program).args(first).args(arguments).output()
}

fn answer(mut stream: TcpStream, tool: &[String]) -> Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or("/");
    let arguments = path.split('/').filter(|part| !part.is_empty());
    let arguments: Vec<String> = arguments.map(str::to_owned).collect();
    let (status, body) = match run(tool, &arguments) {
        Ok(output) if output.status.success() => ("200 OK", output.stdout),
        Ok(output) => ("422 Unprocessable Content", output.stderr),
        Err(error) => ("500 Internal Server Error", format!("{error}\n").into_bytes()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}
