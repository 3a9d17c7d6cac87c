//! A base on a server: our own, one that fails, and what others answered.

mod asked;
mod faults;
mod keys;
mod recorded;
mod texts;
mod tokenizer;

use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::base_server::{BaseServer, Request};
use crate::command_line::{proxytune, stderr};
use crate::server_process::Server;
use crate::trio::file;

/// Greedy, through a chain that keeps nothing in mind, with rows that do not depend on how tokens are batched.
const GREEDY: [&str; 10] =
    ["-R", "demo", "--temp", "0", "--repeat-penalty", "1.0", "--deterministic", "-c", "256", "--no-perf"];

/// The demo's base by itself, as `proxytune serve` has it. Tests that run at the same time share it; it ends with the last.
fn base() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let path = file("base");
        let args = ["-m", path.to_str().expect("UTF-8"), "--deterministic", "-c", "256", "-np", "3"];
        let server = Arc::new(Server::start(&args));
        *shared = Arc::downgrade(&server);
        server
    })
}

/// What a server answers: status and body.
fn answer(server: &Server, request: &Request) -> (u16, String) {
    let reply = match request.body.as_str() {
        "" => server.get(&request.path),
        body => server.send(&request.path, body),
    };
    (reply.status, reply.text)
}

/// A server in front of [`base`], to fail when it is told to.
fn faulty() -> BaseServer {
    let base = base();
    BaseServer::start(move |request| answer(&base, request))
}

/// Runs a command on the demo's pair, with a key in the environment if there is to be one.
fn run_with_key(args: &[&str], key: Option<&str>) -> Output {
    let mut command = proxytune(args);
    command.env_remove("PROXYTUNE_BASE_API_KEY");
    command.envs(key.map(|key| ("PROXYTUNE_BASE_API_KEY", key)));
    command.output().expect("it starts")
}

/// `generate` of a few tokens: stdout, once it has succeeded.
fn generated(more: &[&str]) -> String {
    let (code, text, said) = tried(more, None);
    assert_eq!(code, Some(0), "{more:?}: {said}");
    text
}

/// `generate`: exit code, stdout and stderr. It never panics.
fn tried(more: &[&str], key: Option<&str>) -> (Option<i32>, String, String) {
    let output = run_with_key(&[&["generate"][..], &GREEDY, more].concat(), key);
    let said = stderr(&output);
    assert!(!said.contains("panicked"), "{more:?}: {said}");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said)
}
