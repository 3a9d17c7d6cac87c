//! Layers on another machine's devices: a real server on loopback, and things that are none.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use llama_cpp_sys_2 as sys;

use crate::trio::PROMPT;

fn generate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    command.args(["generate", "-p", PROMPT, "-n", "8", "--temp", "0", "-t", "1"]).args(args);
    command.output().expect("it starts")
}

/// llama.cpp's own RPC server with the CPU as its device, on a thread that ends with the process.
fn serve() -> String {
    type Start = unsafe extern "C" fn(*const c_char, *const c_char, usize, usize, *mut sys::ggml_backend_dev_t);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let endpoint = format!("127.0.0.1:{port}");
    let c_endpoint = CString::new(endpoint.clone()).expect("no NUL");
    let backend = crate::trio::backend();
    std::thread::spawn(move || {
        let _backend = backend;
        // SAFETY: ggml documents the function behind the name with this signature; the CPU is always a device.
        unsafe {
            let registry = sys::ggml_backend_reg_by_name(c"RPC".as_ptr());
            let start = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_rpc_start_server".as_ptr());
            let start = std::mem::transmute::<*mut c_void, Start>(start);
            let mut cpu = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
            start(c_endpoint.as_ptr(), std::ptr::null(), 1, 1, &raw mut cpu);
        }
    });
    while std::net::TcpStream::connect(&endpoint).is_err() {
        std::thread::yield_now();
    }
    endpoint
}

#[test]
fn a_base_on_a_remote_device_writes_the_same() {
    let endpoint = serve();
    let here = generate(&["-dev", "none"]);
    let there =
        generate(&["--rpc", &endpoint, "-dev", "RPC0", "--expert-device", "none", "--antiexpert-device", "none"]);
    assert!(there.status.success(), "{}", String::from_utf8_lossy(&there.stderr));
    assert_eq!(there.stdout, here.stdout);
}

#[test]
fn check_tells_what_goes_to_a_remote_device() {
    let endpoint = serve();
    let check = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_proxytune")).args(["check", "--json", "-t", "1"]).args(args).output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("one JSON object")
    };
    let here = check(&["-dev", "none"]);
    let there = check(&["--rpc", &endpoint, "-dev", "RPC0", "--expert-device", "none", "--antiexpert-device", "none"]);
    let device = |object: &serde_json::Value, name: &str, part: &str| {
        let devices = object["devices"].as_array().expect("devices");
        devices.iter().find(|device| device["name"] == name).map_or(0, |device| device[part].as_u64().expect("bytes"))
    };
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
    let endpoint = serve();
    let there = ["--rpc", &endpoint, "-dev", "RPC0", "--expert-device", "none", "--antiexpert-device", "none"];
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        command.args(["check", "--json", "-t", "1"]).args(there).args(more);
        let object: serde_json::Value =
            serde_json::from_slice(&command.output().expect("it starts").stdout).expect("one JSON object");
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
    let newer = answer([&28_u64.to_le_bytes()[..], &[7, 1], &[0; 26]].concat());
    for (endpoint, reason) in [
        (web.as_str(), "does not speak llama.cpp's RPC protocol"),
        (&newer, "speaks version 7.1 of the RPC protocol, expected 7.0"),
        ("[::1]:5000", "expected host:port"),
        ("127.0.0.1:1", "nothing answers there"),
        ("127.0.0.1", "expected host:port"),
    ] {
        let output = generate(&["--rpc", endpoint]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(reason) && said.contains("hint: "), "{said}");
    }
}
