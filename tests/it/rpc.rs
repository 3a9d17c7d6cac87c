//! Layers on other machines' devices: real servers on loopback, servers that are lost, and things that are none.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as sys;
use serde_json::json;

use crate::server_process;
use crate::trio::PROMPT;

/// Nothing here takes so long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pair stays here.
const PAIR_HERE: [&str; 4] = ["--expert-device", "none", "--antiexpert-device", "none"];

fn proxytune(command: &str, args: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    program.args([command, "-t", "1"]).args(args).stdin(Stdio::null());
    program
}

fn generate(args: &[&str]) -> Output {
    let command = ["-p", PROMPT, "-n", "8", "--temp", "0"];
    proxytune("generate", &[&command, args].concat()).output().expect("it starts")
}

/// The whole base on the devices of servers, the pair here.
fn over<'a>(endpoints: &'a str, devices: &'a str) -> Vec<&'a str> {
    [&["--rpc", endpoints, "-dev", devices][..], &PAIR_HERE].concat()
}

fn json_of(command: &mut Command) -> serde_json::Value {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// A number of `check --json` about a device; 0 where it says nothing of it.
fn of_device(checked: &serde_json::Value, name: &str, part: &str) -> u64 {
    let devices = checked["devices"].as_array().expect("devices");
    devices.iter().find(|device| device["name"] == name).map_or(0, |device| device[part].as_u64().expect("bytes"))
}

/// llama.cpp's own RPC server with the CPU as its device, in a process of its own.
struct Server {
    process: Child,
    endpoint: String,
}

const ENDPOINT: &str = "PROXYTUNE_TEST_RPC_ENDPOINT";

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        Self::at(&format!("127.0.0.1:{port}"))
    }

    /// Starts it at an address, and waits until it listens.
    fn at(endpoint: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "rpc::serves_the_other_tests", "--ignored", "--nocapture"]).env(ENDPOINT, endpoint);
        // Its stdin is closed when this process ends, however that happens.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { process: command.spawn().expect("it starts"), endpoint: endpoint.to_owned() };
        let began = Instant::now();
        while std::net::TcpStream::connect(endpoint).is_err() {
            assert!(server.process.try_wait().expect("a child").is_none(), "it does not serve at {endpoint}");
            assert!(began.elapsed() < PATIENCE, "it never listens");
            std::thread::yield_now();
        }
        server
    }

    fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "a server for the other tests, which they start"]
fn serves_the_other_tests() {
    type Start = unsafe extern "C" fn(*const c_char, *const c_char, usize, usize, *mut sys::ggml_backend_dev_t);
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(0);
    });
    let endpoint = CString::new(endpoint).expect("no NUL");
    let _backend = crate::trio::backend();
    // SAFETY: ggml documents the function behind the name with this signature; the CPU is always a device.
    unsafe {
        let registry = sys::ggml_backend_reg_by_name(c"RPC".as_ptr());
        let start = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_rpc_start_server".as_ptr());
        let start = std::mem::transmute::<*mut c_void, Start>(start);
        let mut cpu = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        start(endpoint.as_ptr(), std::ptr::null(), 1, 1, &raw mut cpu);
    }
}

/// Two servers, the second of which comes first in the alphabet: their order is that in which they are named.
fn two() -> [Server; 2] {
    let mut servers = [Server::start(), Server::start()];
    servers.sort_by(|a, b| b.endpoint.cmp(&a.endpoint));
    servers
}

fn endpoints(servers: &[Server]) -> String {
    servers.iter().map(|server| server.endpoint.as_str()).collect::<Vec<_>>().join(",")
}

#[test]
fn a_base_on_a_remote_device_writes_the_same() {
    let server = Server::start();
    let here = generate(&["-dev", "none"]);
    let there = generate(&over(&server.endpoint, "RPC0"));
    assert!(there.status.success(), "{}", String::from_utf8_lossy(&there.stderr));
    assert_eq!(there.stdout, here.stdout);
}

#[test]
fn a_base_over_two_servers_writes_the_same() {
    let servers = two();
    let endpoints = endpoints(&servers);
    let here = generate(&["-dev", "none", "-n", "48"]);
    for split in [&["-ts", "1,1"][..], &["-ts", "3,1", "-sm", "layer"], &[]] {
        let there = generate(&[&over(&endpoints, "RPC0,RPC1"), &["-n", "48"][..], split].concat());
        assert!(there.status.success(), "{}", String::from_utf8_lossy(&there.stderr));
        assert_eq!(there.stdout, here.stdout, "{split:?}");
    }
}

#[test]
fn two_servers_share_the_layers_as_they_are_told() {
    let servers = two();
    let endpoints = endpoints(&servers);
    let check = |split: &str| {
        json_of(&mut proxytune("check", &[&over(&endpoints, "RPC0,RPC1"), &["--json", "-ts", split][..]].concat()))
    };
    let weights = |checked: &serde_json::Value| ["RPC0", "RPC1"].map(|name| of_device(checked, name, "weights"));
    let (even, uneven) = (check("1,1"), check("3,1"));
    let ([a, b], [c, d]) = (weights(&even), weights(&uneven));
    assert!(a > 0 && b > 0 && c > a && d < b, "{even}\n{uneven}");
    for name in ["RPC0", "RPC1"] {
        for part in ["free", "kv", "compute"] {
            assert!(of_device(&even, name, part) > 0, "{name} {part}: {even}");
        }
    }
    // One that is named twice is one.
    let [first, second] = [0, 1].map(|i| servers[i].endpoint.as_str());
    let mut devices = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    let listed = devices.args(["devices", "--rpc", &format!("{endpoints},{first}")]).output().expect("it starts");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let lines: Vec<_> = listed.lines().filter(|line| line.starts_with("RPC")).collect();
    let [a, b] = lines[..] else { panic!("{listed}") };
    assert!(a.starts_with(&format!("RPC0\t{first}\t")) && a.contains(" available of "), "{listed}");
    assert!(b.starts_with(&format!("RPC1\t{second}\t")) && b.contains(" available of "), "{listed}");
}

/// A command that writes for a while over two servers, of which the second is lost after the first word: what was written,
/// and what was said.
fn loses_a_server(command: &str, args: &[&str], typed: &str) -> (String, String, String) {
    let mut servers = two();
    let endpoints = endpoints(&servers);
    let args = [&over(&endpoints, "RPC0,RPC1"), &["-c", "1024", "-n", "900", "--ignore-eos", "--temp", "0"][..], args];
    let mut program = proxytune(command, &args.concat());
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = program.spawn().expect("it starts");
    let mut stdin = program.stdin.take().expect("piped");
    stdin.write_all(typed.as_bytes()).expect("it reads");
    let mut stdout = BufReader::new(program.stdout.take().expect("piped"));
    let mut written = stdout.fill_buf().expect("readable").to_vec();
    stdout.consume(written.len());
    servers[1].kill();
    stdout.read_to_end(&mut written).expect("readable");
    let output = program.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command}: {said}");
    (String::from_utf8(written).expect("whole characters"), said, servers[1].endpoint.clone())
}

#[test]
fn a_server_that_is_lost_ends_a_command_in_words() {
    for (command, args, typed) in [
        ("generate", &["-p", PROMPT][..], ""),
        ("generate", &["-p", PROMPT, "--draft", "off"], ""),
        ("compare", &["-p", PROMPT], ""),
        ("chat", &[], "Once upon a time\n"),
    ] {
        let (written, said, endpoint) = loses_a_server(command, args, typed);
        assert!(!written.is_empty(), "{command}: {said}");
        let lost = format!("error: the RPC server {endpoint} was lost: ");
        let last: Vec<_> = said.lines().rev().take(2).collect();
        assert!(last[1].starts_with(&lost) && last[0].starts_with("hint: "), "{command}: {said}");
        assert!(!said.contains("ggml") && !said.contains("#0"), "{command}: {said}");
        if command == "generate" {
            let whole = generate(&["-c", "1024", "-n", "900", "--ignore-eos"]);
            let whole = String::from_utf8_lossy(&whole.stdout).into_owned();
            assert!(whole.starts_with(&written) && written.len() < whole.len(), "{written:?} of {whole:?}");
        }
    }
}

#[test]
fn a_server_that_is_lost_ends_requests_and_may_come_back() {
    const CHAT: &str = "/v1/chat/completions";
    let mut servers = two();
    let endpoints = endpoints(&servers);
    let args = ["-R", "demo", "--temp", "0", "-c", "4096", "-np", "1"];
    let server = server_process::Server::start(&[&args[..], &over(&endpoints, "RPC0,RPC1")].concat());
    let body = |n: i32, stream: bool| json!({"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": n, "ignore_eos": true, "stream": stream});
    let text = |reply: &server_process::Reply| reply.ok()["choices"][0]["message"]["content"].clone();
    let before = text(&server.post(CHAT, &body(8, false)));
    let mut events = server.stream(CHAT, &body(3000, true));
    while events.next().expect("a token")["choices"][0]["delta"]["content"].as_str().is_none_or(str::is_empty) {}
    servers[1].kill();
    let lost = servers[1].endpoint.clone();
    let error = events.find_map(|event| event["error"]["message"].as_str().map(str::to_owned)).expect("an error");
    assert!(error.contains(&format!("the RPC server {lost} was lost")), "{error}");
    // While it is gone. At first the engine may be about to start.
    let began = Instant::now();
    let refused = loop {
        let (_, _, refused) = server.post(CHAT, &body(8, false)).error(503);
        if refused.contains("cannot use") || began.elapsed() > PATIENCE {
            break refused;
        }
    };
    assert!(refused.contains(&format!("{lost:?}: nothing answers there")), "{refused}");
    servers[1] = Server::at(&lost);
    let after = loop {
        let reply = server.post(CHAT, &body(8, false));
        if reply.status == 200 || began.elapsed() > PATIENCE {
            break text(&reply);
        }
        assert_eq!(reply.status, 503, "{reply:?}");
    };
    assert_eq!(after, before);
}

#[test]
fn check_tells_what_goes_to_a_remote_device() {
    let server = Server::start();
    let check = |args: &[&str]| json_of(&mut proxytune("check", &[&["--json"], args].concat()));
    let device = of_device;
    let here = check(&["-dev", "none"]);
    let there = check(&over(&server.endpoint, "RPC0"));
    let base = &here["models"][0]["memory"];
    let embedding =
        device(&there, "CPU", "weights") + device(&there, "RPC0", "weights") - device(&here, "CPU", "weights");
    assert!(device(&there, "RPC0", "weights") > base["weights"].as_u64().expect("bytes") / 2, "{there}");
    assert!(embedding < base["weights"].as_u64().expect("bytes") / 2, "an embedding that is the output is there twice");
    assert!(device(&there, "RPC0", "kv").abs_diff(base["kv"].as_u64().expect("bytes")) < 64, "{there}");
    assert!(device(&there, "RPC0", "compute") > 0 && device(&there, "CPU", "compute") > 0, "{there}");
}

#[test]
fn layers_that_do_not_fit_stay_here() {
    let server = Server::start();
    let there = over(&server.endpoint, "RPC0");
    let run = |more: &[&str]| {
        let output = generate(&[&there[..], &["--no-perf"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (output.stdout, said)
    };
    let (all, quiet) = run(&[]);
    // Nobody has as much to leave free.
    let (none, said) = run(&["-fitt", "2000000000"]);
    assert_eq!((none, quiet.as_str()), (all, ""));
    let layers = |said: &str| {
        let (before, _) = said.split_once(" layers are on devices")?;
        before.strip_prefix("note: base: 0 of ")?.parse::<u32>().ok()
    };
    assert!(layers(&said).is_some_and(|n| n > 1), "{said}");
    for more in [&["-fit", "off"][..], &["-ngl", "3"]] {
        assert_eq!(run(&[more, &["-fitt", "2000000000"]].concat()).1, "", "{more:?}");
    }
    let check = |more: &[&str]| {
        let object = json_of(&mut proxytune("check", &[&there[..], &["--json"], more].concat()));
        let findings = object["findings"].as_array().expect("findings").clone();
        findings.into_iter().filter(|finding| finding["topic"] == "fit").count()
    };
    assert_eq!((check(&[]), check(&["-fitt", "2000000000"])), (0, 1));
}

#[test]
fn what_is_no_rpc_server_is_refused() {
    let answer = |bytes: Vec<u8>| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = listener.local_addr().expect("an address").to_string();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            // A greeting: the command, a size and 24 bytes. To close with some of it unread would reset the connection.
            client.read_exact(&mut [0; 1 + 8 + 24]).expect("it greets");
            client.write_all(&bytes).expect("it reads");
        });
        endpoint
    };
    let web = answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec());
    // It takes connections, and nobody is there who would read.
    let hung = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hangs = hung.local_addr().expect("an address").to_string();
    let newer = answer([&28_u64.to_le_bytes()[..], &[7, 1], &[0; 26]].concat());
    for (endpoint, reason) in [
        (web.as_str(), "does not speak llama.cpp's RPC protocol"),
        (&newer, "speaks version 7.1 of the RPC protocol, expected 7.0"),
        (&hangs, "did not answer for 5 s"),
        ("[::1]:5000", "expected host:port"),
        ("127.0.0.1:1", "nothing answers there"),
        ("127.0.0.1", "expected host:port"),
    ] {
        let output = generate(&["--rpc", endpoint]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(reason) && said.contains("hint: "), "{said}");
    }
}
