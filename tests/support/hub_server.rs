//! A hub on this machine: listing, revision and files, with redirects to a second port as its CDN, and whatever can
//! go wrong with them. Each connection serves one request.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use serde_json::{Value, json};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const REPO: &str = "user/repo";

/// What a request meets instead of its answer, or on the way to it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing wrong: lets one request pass.
    None,
    /// The connection closes after this many bytes of the body.
    Cut(usize),
    /// Nothing comes after this many bytes of the body, until the client hangs up.
    Stall(usize),
    /// The connection closes before the answer.
    Silent,
    WrongBytes,
    /// The whole file, whatever was asked for.
    IgnoreRange,
    /// `Content-Range` as given, with the right bytes.
    ContentRange(&'static str),
    /// `Content-Length` this much larger than the body.
    Longer(u64),
    /// More bytes than the file has, in chunks without a length.
    Chunked(usize),
    /// A status with a header (or an empty string).
    Status(u16, &'static str),
    Redirect(String),
}

#[derive(Debug, Clone)]
pub struct Request {
    pub on_cdn: bool,
    pub target: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Instead of the entries made from `files`.
    listing: Option<Value>,
    revision: Option<Value>,
    /// Entries a page; 0 is all.
    page: usize,
    /// Instead of the `Link` to the next page.
    link: Option<String>,
    api: VecDeque<Fault>,
    resolve: VecDeque<Fault>,
    cdn: VecDeque<Fault>,
    requests: Vec<Request>,
}

pub struct HubServer {
    pub endpoint: String,
    pub cdn: String,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl HubServer {
    pub fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("bound"));
        let [endpoint, cdn] = [address(&listeners[0]), address(&listeners[1])];
        let mut threads = Vec::new();
        for (listener, on_cdn) in listeners.into_iter().zip([false, true]) {
            let (state, stop) = (state.clone(), stop.clone());
            let addresses = [endpoint.clone(), cdn.clone()];
            threads.push(std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (state, addresses) = (state.clone(), addresses.clone());
                    let stream = stream.expect("a connection");
                    std::thread::spawn(move || serve(stream, on_cdn, &state, &addresses));
                }
            }));
        }
        Self { endpoint, cdn, state, stop, threads }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic in the server")
    }

    /// Faults of the next requests for revision and listing.
    pub fn api(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().api.extend(faults);
    }

    /// Faults of the next requests for files at the hub, before it redirects.
    pub fn resolve(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().resolve.extend(faults);
    }

    /// Faults of the next requests for files at the CDN.
    pub fn cdn(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().cdn.extend(faults);
    }

    pub fn listing(&self, listing: Value) {
        self.state().listing = Some(listing);
    }

    pub fn revision(&self, revision: Value) {
        self.state().revision = Some(revision);
    }

    pub fn pages_of(&self, n: usize) {
        self.state().page = n;
    }

    pub fn link(&self, link: &str) {
        self.state().link = Some(link.to_owned());
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The `Range` of each request to the CDN.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.requests().iter().filter(|request| request.on_cdn).map(|it| it.headers.get("range").cloned()).collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for address in [&self.endpoint, &self.cdn] {
            let _ = TcpStream::connect(address.trim_start_matches("http://"));
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// An entry of a listing, as the hub writes it for a file in LFS.
pub fn entry(path: &str, bytes: &[u8]) -> Value {
    let lfs = json!({"oid": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
    json!({"type": "file", "oid": "0".repeat(40), "size": bytes.len(), "path": path, "lfs": lfs})
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn serve(mut stream: TcpStream, on_cdn: bool, state: &Mutex<State>, [endpoint, cdn]: &[String; 2]) {
    let Some(request) = read_request(&stream, on_cdn) else { return };
    let target = request.target.clone();
    let is_api = target.starts_with("/api/");
    let range = request.headers.get("range").cloned();
    let (fault, answer) = {
        let mut state = state.lock().expect("no panic in the server");
        state.requests.push(request);
        let faults = match (on_cdn, is_api) {
            (true, _) => &mut state.cdn,
            (false, true) => &mut state.api,
            (false, false) => &mut state.resolve,
        };
        let fault = faults.pop_front().unwrap_or(Fault::None);
        let answer = if is_api { api(&state, &target, endpoint) } else { file(&state, &target, on_cdn, cdn) };
        (fault, answer)
    };
    match answer {
        Answer::Head(head) => respond(&mut stream, &fault, &head, &[], None),
        Answer::Body(head, body) => respond(&mut stream, &fault, &head, &body, range.as_deref()),
    }
}

enum Answer {
    Head(String),
    Body(String, Vec<u8>),
}

fn api(state: &State, target: &str, endpoint: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(rest) = path.strip_prefix(&format!("/api/models/{REPO}/")) else { return not_found() };
    if rest == "revision/main" || rest == "revision/refs%2Fpr%2F1" {
        let revision = state.revision.clone().unwrap_or_else(|| json!({"id": REPO, "sha": COMMIT, "siblings": []}));
        return Answer::Body("200 OK".to_owned(), revision.to_string().into_bytes());
    }
    if rest != format!("tree/{COMMIT}") {
        return not_found();
    }
    let listing = state.listing.clone().unwrap_or_else(|| {
        let files = state.files.iter().map(|(path, bytes)| entry(path, bytes));
        let others = [
            json!({"type": "directory", "path": "Q8_0", "oid": "", "size": 0}),
            json!({"type": "file",
            "path": "README.md", "oid": "0".repeat(40), "size": 5}),
        ];
        others.into_iter().chain(files).collect()
    });
    let Value::Array(items) = &listing else {
        return Answer::Body("200 OK".to_owned(), listing.to_string().into_bytes());
    };
    let number = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).map_or(0, |n| n.parse().expect("ours"));
    let n = if state.page == 0 { items.len() } else { state.page };
    let rest = items.iter().skip(number * n);
    let page: Value = rest.clone().take(n).cloned().collect();
    let mut head = "200 OK".to_owned();
    if rest.count() > n || state.link.is_some() {
        let next = format!("{endpoint}{path}?recursive=true&cursor={}", number + 1);
        let _ = write!(head, "\r\nLink: <{}>; rel=\"next\"", state.link.clone().unwrap_or(next));
    }
    Answer::Body(head, page.to_string().into_bytes())
}

fn file(state: &State, target: &str, on_cdn: bool, cdn: &str) -> Answer {
    let path = target.split('?').next().unwrap_or_default();
    let prefix = if on_cdn { "/lfs/".to_owned() } else { format!("/{REPO}/resolve/{COMMIT}/") };
    let Some(name) = path.strip_prefix(&prefix) else { return not_found() };
    match state.files.get(&name.replace("%20", " ")) {
        None => not_found(),
        Some(bytes) if on_cdn => Answer::Body("200 OK".to_owned(), bytes.clone()),
        Some(_) => Answer::Head(format!("302 Found\r\nLocation: {cdn}/lfs/{name}?signature=secret")),
    }
}

fn not_found() -> Answer {
    Answer::Head("404 Not Found".to_owned())
}

fn respond(stream: &mut TcpStream, fault: &Fault, head: &str, body: &[u8], range: Option<&str>) {
    let range = range.filter(|_| !matches!(fault, Fault::IgnoreRange));
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let (n_all, start) = (body.len(), start.unwrap_or(0));
    if let Some(range) = range.filter(|_| start >= n_all && start > 0) {
        let head = format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{n_all}\r\nX-WeightsRequest: {range}");
        return send(stream, &head, 0, &[]);
    }
    let body = &body[start..];
    let content_range = format!("bytes {start}-{}/{n_all}", n_all.saturating_sub(1));
    let (content_range, length) = match fault {
        Fault::ContentRange(wrong) => ((*wrong).to_owned(), body.len()),
        Fault::Longer(by) => (content_range, body.len() + *by as usize),
        _ => (content_range, body.len()),
    };
    let head = if range.is_some() {
        format!("206 Partial Content\r\nContent-Range: {content_range}")
    } else {
        head.to_owned()
    };
    match fault {
        Fault::Silent => {}
        Fault::Status(status, header) => send(stream, &format!("{status} So\r\n{header}"), 0, &[]),
        Fault::Redirect(to) => send(stream, &format!("302 Found\r\nLocation: {to}"), 0, &[]),
        Fault::Cut(n) => send(stream, &head, length, &body[..(*n).min(body.len())]),
        Fault::Stall(n) => {
            send(stream, &head, length, &body[..(*n).min(body.len())]);
            // Until the client hangs up.
            let _ = stream.read(&mut [0]);
        }
        Fault::WrongBytes => send(stream, &head, length, &body.iter().map(|byte| !byte).collect::<Vec<u8>>()),
        Fault::Chunked(more) => {
            let body = [body, &vec![0; *more]].concat();
            let _ = write!(stream, "HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
            let _ = write!(stream, "{:x}\r\n", body.len());
            let _ = stream.write_all(&body).and_then(|()| stream.write_all(b"\r\n0\r\n\r\n"));
        }
        Fault::None | Fault::IgnoreRange | Fault::ContentRange(_) | Fault::Longer(_) => {
            send(stream, &head, length, body);
        }
    }
}

/// The client may hang up at any time.
fn send(stream: &mut TcpStream, head: &str, length: usize, body: &[u8]) {
    let head = head.trim_end();
    let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(body);
}

fn read_request(stream: &TcpStream, on_cdn: bool) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let target = first.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        match line.split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    Some(Request { on_cdn, target, headers })
}
