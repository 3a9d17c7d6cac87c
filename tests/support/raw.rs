//! Bytes on a connection, sent as a test likes, and what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::server_process::Server;

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a server.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Raw {
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(address(server)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes; whether the server still took them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a request with a body of JSON.
    pub fn post(&mut self, path: &str, body: &Value) -> bool {
        self.send(post(path, &[], &body.to_string()))
    }

    /// More bytes; `false` at the end.
    fn more(&mut self) -> bool {
        let mut piece = [0; 1 << 13];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                panic!("nothing came for {PATIENCE:?}; so far {:?}", String::from_utf8_lossy(&self.read))
            }
            Err(_) => false,
        }
    }

    /// Reads until `text` has come; everything up to its end.
    pub fn until(&mut self, text: &str) -> Option<String> {
        loop {
            let found = self.read.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let taken: Vec<u8> = self.read.drain(..at + text.len()).collect();
                return Some(String::from_utf8(taken).expect("UTF-8"));
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next response; `None` where the connection ends before.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = self.until("\r\n\r\n")?;
        let mut lines = head.trim_end().lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut answer = Answer { status, headers: lines.map(header).collect(), body: String::new() };
        if status / 100 == 1 {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let size = self.until("\r\n")?;
                let n = usize::from_str_radix(size.trim(), 16).expect("a size");
                answer.body.push_str(self.exactly(n + 2)?.trim_end_matches("\r\n"));
                if n == 0 {
                    return Some(answer);
                }
            }
        }
        let n = answer.header("content-length").parse().unwrap_or(0);
        answer.body = self.exactly(n)?;
        Some(answer)
    }

    fn exactly(&mut self, n: usize) -> Option<String> {
        while self.read.len() < n {
            if !self.more() {
                return None;
            }
        }
        Some(String::from_utf8(self.read.drain(..n).collect()).expect("UTF-8"))
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// What is left of a stream of chunks: up to its last, or to the end of the connection.
    pub fn rest_of_stream(&mut self) -> String {
        self.until("\r\n0\r\n\r\n")
            .unwrap_or_else(|| String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned())
    }
}

/// Host and port.
pub fn address(server: &Server) -> &str {
    server.url.strip_prefix("http://").expect("a URL")
}

/// A request with a body.
pub fn post(path: &str, headers: &[&str], body: &str) -> String {
    let more = lines(headers);
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A request without one.
pub fn get(path: &str, headers: &[&str]) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", lines(headers))
}

fn lines(headers: &[&str]) -> String {
    headers.iter().flat_map(|header| [header, "\r\n"]).collect()
}
