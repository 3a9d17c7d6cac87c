//! `proxytune serve` on a free port of this machine, and a client that says what came back.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A generous bound for what takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server; it ends with this value.
pub struct Server {
    child: Child,
    pub url: String,
    /// What it says on stderr.
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    _cache: tempfile::TempDir,
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        let server = Self::starting(args);
        server.until("ready: ");
        server
    }

    /// Starts it, and waits until it listens.
    pub fn starting(args: &[&str]) -> Self {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        command.arg("serve").args(args).args(["--port", "0", "-t", "1"]).stdin(Stdio::null());
        command.env_remove("PROXYTUNE_MODELS").env("PROXYTUNE_CACHE", cache.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let said = Arc::new(Mutex::new(String::new()));
        let reader = read(child.stderr.take().expect("piped"), said.clone());
        let mut server = Self { child, url: String::new(), said, reader: Some(reader), _cache: cache };
        server.until("listening on ");
        let said = server.said();
        let line = said.lines().find_map(|line| line.strip_prefix("listening on ")).expect("its address");
        line.trim().clone_into(&mut server.url);
        server
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Waits until it says something.
    pub fn until(&self, what: &str) {
        let began = Instant::now();
        while !self.said().contains(what) {
            assert!(began.elapsed() < PATIENCE, "it never said {what:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        kill(name, self.pid());
    }

    /// Waits for its end; the exit code.
    pub fn wait(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks; status and body.
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, None)
    }

    /// Sends an object; status and body.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, Some(body.to_string()))
    }

    /// Sends an object; the events of the stream that it is answered with, as they come. Whoever drops them goes.
    pub fn stream(&self, path: &str, body: &Value) -> impl Iterator<Item = Value> + use<> {
        let agent = ureq::Agent::new_with_defaults();
        let request = ureq::http::Request::builder().method("POST").uri(format!("{}{path}", self.url));
        let request = request.header("Content-Type", "application/json").body(body.to_string()).expect("valid");
        let lines = BufReader::new(agent.run(request).expect("it answers").into_body().into_reader()).lines();
        let data = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        data.take_while(|data| data != "[DONE]").map(|data| serde_json::from_str(&data).expect("JSON"))
    }

    /// Sends any body.
    pub fn send(&self, path: &str, body: &str) -> Reply {
        self.request("POST", path, Some(body.to_owned()))
    }

    fn request(&self, method: &str, path: &str, body: Option<String>) -> Reply {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let response = match body {
            Some(body) => agent.run(request.header("Content-Type", "application/json").body(body).expect("valid")),
            None => agent.run(request.body(()).expect("valid")),
        };
        let mut response = response.expect("it answers");
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (kind, retry_after) = (header("content-type"), header("retry-after"));
        let mut text = String::new();
        response.body_mut().as_reader().read_to_string(&mut text).expect("UTF-8");
        Reply { status, kind, retry_after, text }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Sends a signal to a process.
pub fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill is there");
    assert!(status.success(), "kill -s {signal} {pid}");
}

fn read(stderr: ChildStderr, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("not poisoned");
            said.push_str(&line);
            said.push('\n');
        }
    })
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub kind: String,
    pub retry_after: String,
    pub text: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a success.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The error of a failure: its type, the field and the message.
    pub fn error(&self, status: u16) -> (String, Value, String) {
        assert_eq!(self.status, status, "{self:?}");
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{name}: {self:?}")).to_owned();
        (text("type"), error["param"].clone(), text("message"))
    }

    /// The data of every event of a stream, the last one, `[DONE]`, left out.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        let data: Vec<_> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let done = data.iter().position(|data| *data == "[DONE]").unwrap_or(data.len());
        data[..done].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }
}
