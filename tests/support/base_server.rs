//! A server that holds a base and fails: it passes on what a real one answers, but for the faults that a test asks for.
//! Each connection serves one request.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use serde_json::Value;

/// What a request meets instead of its answer, or on the way to it.
#[derive(Clone)]
pub enum Fault {
    /// Nothing wrong: lets one request pass.
    None,
    /// The connection closes before the answer.
    Silent,
    /// Nothing comes until the client hangs up.
    Stall,
    /// The connection closes in the middle of the body.
    Cut,
    /// A status with a header (or an empty string) and a body.
    Status(u16, &'static str, &'static str),
    /// Something else in place of the answer.
    Says(&'static str),
    /// The answer, changed.
    Changed(Arc<dyn Fn(&mut Value) + Send + Sync>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, header, body) => write!(f, "Status({status}, {header:?}, {body:?})"),
            Self::Says(text) => write!(f, "Says({text:?})"),
            Self::None => f.write_str("None"),
            Self::Silent => f.write_str("Silent"),
            Self::Stall => f.write_str("Stall"),
            Self::Cut => f.write_str("Cut"),
            Self::Changed(_) => f.write_str("Changed"),
        }
    }
}

/// The answer, changed by a function.
pub fn changed(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::Changed(Arc::new(change))
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What the real server answers to a request: status and body.
type Real = Box<dyn Fn(&Request) -> (u16, String) + Send + Sync>;

/// Faults of the requests for a path: those that are next, and what comes when they are used up.
#[derive(Default)]
struct Script {
    next: VecDeque<Fault>,
    then: Option<Fault>,
}

#[derive(Default)]
struct State {
    scripts: BTreeMap<String, Script>,
    requests: Vec<Request>,
}

pub struct BaseServer {
    pub url: String,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BaseServer {
    pub fn start(real: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (state, stop) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let real: Arc<Real> = Arc::new(Box::new(real));
        let (its_state, stopped) = (state.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, real, stream) = (its_state.clone(), real.clone(), stream.expect("a connection"));
                std::thread::spawn(move || serve(stream, &state, &real));
            }
        });
        Self { url, state, stop, thread: Some(thread) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic in the server")
    }

    /// What the next requests for a path meet; the others pass.
    pub fn next(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.script(path, faults, None);
    }

    /// What every request for a path meets behind the first `n_fine`.
    pub fn always(&self, path: &str, n_fine: usize, fault: Fault) {
        self.script(path, vec![Fault::None; n_fine], Some(fault));
    }

    fn script(&self, path: &str, next: impl IntoIterator<Item = Fault>, then: Option<Fault>) {
        let script = Script { next: next.into_iter().collect(), then };
        self.state().scripts.insert(path.to_owned(), script);
    }

    /// Requests for a path since [`Self::clear`].
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.state().requests.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Forgets faults and requests.
    pub fn clear(&self) {
        *self.state() = State::default();
    }
}

impl Drop for BaseServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, real: &Real) {
    let Some(request) = read(&stream) else { return };
    let fault = {
        let mut state = state.lock().expect("no panic in the server");
        state.requests.push(request.clone());
        let script = state.scripts.get_mut(&request.path);
        script.and_then(|script| script.next.pop_front().or_else(|| script.then.clone())).unwrap_or(Fault::None)
    };
    match fault {
        Fault::Silent => {}
        Fault::Stall => {
            let _ = stream.read(&mut [0]);
        }
        Fault::Status(status, header, body) => send(&mut stream, status, header, body, body.len()),
        Fault::Says(text) => send(&mut stream, 200, "", text, text.len()),
        Fault::None | Fault::Cut | Fault::Changed(_) => {
            let (status, mut body) = real(&request);
            if let Fault::Changed(change) = &fault {
                let mut value = serde_json::from_str(&body).expect("JSON");
                change(&mut value);
                body = value.to_string();
            }
            let n_sent = if matches!(fault, Fault::Cut) { body.len() / 2 } else { body.len() };
            send(&mut stream, status, "", &body, n_sent);
        }
    }
}

/// The client may hang up at any time.
fn send(stream: &mut TcpStream, status: u16, header: &str, body: &str, n_sent: usize) {
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status} So\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&body.as_bytes()[..n_sent]);
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        Some(line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: String::from_utf8(body).ok()? })
}
