//! Many clients at once, and for long. `make test-load` and `make soak` run what is here; `make test` does not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::with;
use crate::raw::{Raw, get, post};
use crate::server_process::Server;
use crate::usage;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(600);
const CHAT: &str = "/v1/chat/completions";

fn chat(i: usize) -> Value {
    let content = format!("Once upon a time there were {i} small animals who");
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": 24})
}

fn text(whole: &Value) -> String {
    whole["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

/// Waits until nothing runs and only one connection, that of the asker, is open.
fn until_idle(server: &Server, n_files: &[usize; 2]) {
    let began = Instant::now();
    loop {
        let health = server.get("/health").ok();
        let is_idle = health["n_running"] == 0 && health["n_waiting"] == 0;
        let files = files(server);
        if is_idle && files.iter().zip(n_files).all(|(now, before)| now <= before) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{health}, {files:?} files open, {n_files:?} before");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The server and its engine.
fn processes(server: &Server) -> [u32; 2] {
    let children = usage::children(server.pid());
    assert_eq!(children.len(), 1, "one engine");
    [server.pid(), children[0]]
}

fn files(server: &Server) -> [usize; 2] {
    processes(server).map(usage::n_files)
}

fn memory(server: &Server) -> [u64; 2] {
    processes(server).map(usage::memory)
}

/// How long `/health` takes, asked on new connections until `has_ended`; sorted.
fn health_times(server: &Server, has_ended: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !has_ended.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut raw = Raw::connect(server);
        raw.send(get("/health", &["Connection: close"]));
        assert_eq!(raw.answer().expect("an answer").status, 200);
        times.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    times.sort();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[(times.len() - 1) * 99 / 100]
}

/// Bytes that allocators may keep.
const SLACK: u64 = 24 << 20;

#[test]
#[ignore = "make test-load"]
fn five_hundred_at_once_are_answered_as_alone_or_told_to_come_back() {
    const N_CLIENTS: usize = 500;
    const N_PROMPTS: usize = 20;
    let args = ["-R", "demo", "--temp", "0", "--deterministic", "-np", "8", "-c", "4096", "--queue", "400"];
    let server = Server::start(&args);
    let alone: Vec<String> = (0..N_PROMPTS).map(|i| text(&server.post(CHAT, &chat(i)).ok())).collect();
    let n_files = files(&server);
    // The second round finds the allocators' pools as the first one left them.
    let mut before = memory(&server);
    for round in 0..2 {
        let (has_ended, n_refused) = (AtomicBool::new(false), AtomicUsize::new(0));
        let began = Instant::now();
        let times = std::thread::scope(|scope| {
            let health = scope.spawn(|| health_times(&server, &has_ended));
            let (server, alone, n_refused) = (&server, &alone, &n_refused);
            let one = move |i: usize| {
                let mut raw = Raw::connect(server);
                raw.post(CHAT, &chat(i % N_PROMPTS));
                let answer = raw.answer().expect("an answer");
                match answer.status {
                    200 => assert_eq!(text(&answer.json()), alone[i % N_PROMPTS]),
                    429 => {
                        assert_eq!(answer.header("retry-after"), "1");
                        n_refused.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => panic!("{answer:?}"),
                }
            };
            let clients: Vec<_> = (0..N_CLIENTS).map(|i| scope.spawn(move || one(i))).collect();
            for client in clients {
                client.join().expect("answered as alone");
            }
            has_ended.store(true, Ordering::Relaxed);
            health.join().expect("healthy")
        });
        until_idle(&server, &n_files);
        let (after, n_refused) = (memory(&server), n_refused.into_inner());
        println!(
            "{N_CLIENTS} clients: {:.1} s, {n_refused} refused, /health p99 {:?} of {}; memory {before:?} -> {after:?}, files {n_files:?}",
            began.elapsed().as_secs_f64(),
            p99(&times),
            times.len()
        );
        assert!(n_refused < N_CLIENTS - 400, "there is room for 408");
        assert!(p99(&times) < Duration::from_millis(100), "{:?}", p99(&times));
        if round > 0 {
            assert!(after.iter().zip(before).all(|(after, before)| *after < before + SLACK), "{before:?} -> {after:?}");
        }
        before = after;
    }
    assert_eq!(text(&server.post(CHAT, &chat(0)).ok()), alone[0]);
}

#[test]
#[ignore = "make test-load"]
fn a_thousand_that_stall_keep_nobody_out() {
    const N_STALLED: usize = 1000;
    let Some(()) = usage::allow_files(N_STALLED + 200) else {
        println!("skipped: this process may not open {N_STALLED} connections");
        return;
    };
    // With room for all of them, and with room for a fourth.
    for most in ["4096", "250"] {
        let server = Server::start(&["-R", "demo", "--temp", "0", "-c", "2048", "--max-connections", most]);
        let before = text(&server.post(CHAT, &chat(0)).ok());
        let n_files = files(&server);
        let quiet = (0..200).map(|_| health_time(&server)).collect::<Vec<_>>();
        let mut stalled: Vec<Raw> = (0..N_STALLED).map(|_| Raw::connect(&server)).collect();
        let begun = post(CHAT, &[], &chat(0).to_string());
        let has_ended = AtomicBool::new(false);
        let times = std::thread::scope(|scope| {
            let health = scope.spawn(|| {
                let times = (0..200).map(|_| health_time(&server)).collect::<Vec<_>>();
                has_ended.store(true, Ordering::Relaxed);
                times
            });
            // A byte at a time, never to the end.
            let mut at = 0;
            while !has_ended.load(Ordering::Relaxed) || at < 2 {
                if at + 1 < begun.len() {
                    for raw in &mut stalled {
                        raw.send(&begun[at..=at]);
                    }
                    at += 1;
                }
                assert_eq!(text(&server.post(CHAT, &chat(0)).ok()), before);
            }
            health.join().expect("healthy")
        });
        let [mut quiet, mut times] = [quiet, times];
        quiet.sort();
        times.sort();
        println!(
            "{N_STALLED} stalled, room for {most}: /health p99 {:?}, without them {:?}; {:?} files",
            p99(&times),
            p99(&quiet),
            files(&server)
        );
        assert!(p99(&times) < Duration::from_millis(100), "{:?}", p99(&times));
        drop(stalled);
        until_idle(&server, &n_files);
    }
}

fn health_time(server: &Server) -> Duration {
    let began = Instant::now();
    let mut raw = Raw::connect(server);
    raw.send(get("/health", &["Connection: close"]));
    assert_eq!(raw.answer().expect("an answer").status, 200);
    began.elapsed()
}

/// Requests of all kinds for `SOAK_SECONDS`, a line a minute; memory and files do not grow once all kinds were seen.
#[test]
#[ignore = "make soak"]
fn soak() {
    const N_CLIENTS: usize = 6;
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(600);
    let length = Duration::from_secs(seconds);
    let server = Server::start(&["-R", "demo", "-np", "4", "-c", "4096", "--metrics", "--timeout", "5"]);
    let counts: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let has_ended = AtomicBool::new(false);
    let began = Instant::now();
    let samples = std::thread::scope(|scope| {
        let (server, counts, has_ended) = (&server, &counts, &has_ended);
        let clients: Vec<_> = (0..N_CLIENTS)
            .map(|i| {
                scope.spawn(move || {
                    for n in (i..).step_by(N_CLIENTS) {
                        if has_ended.load(Ordering::Relaxed) {
                            return;
                        }
                        let what = mixed(server, n);
                        *counts.lock().expect("no panic").entry(what).or_default() += 1;
                    }
                })
            })
            .collect();
        let mut samples = Vec::new();
        let mut n_minutes = 0;
        // A client that panics ends it all.
        while began.elapsed() < length && !clients.iter().any(ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_secs(1));
            samples.push((memory(server), files(server)));
            if began.elapsed().as_secs() / 60 > n_minutes {
                n_minutes += 1;
                let n: usize = counts.lock().expect("no panic").values().sum();
                let (memory, files) = samples[samples.len() - 1];
                let mb = memory.map(|bytes| bytes >> 20);
                println!("minute {n_minutes}: {n} requests, server and engine: {mb:?} MB, {files:?} files");
            }
        }
        has_ended.store(true, Ordering::Relaxed);
        samples
    });
    println!("{:?}", counts.lock().expect("no panic"));
    assert_eq!(server.get("/health").ok()["n_restarts"], 0);
    // The middle of what is behind the first quarter against the last.
    let n = samples.len();
    let (early, late) = (&samples[n / 4..n / 2], &samples[3 * n / 4..]);
    for (i, name) in ["the server", "the engine"].into_iter().enumerate() {
        let median = |part: &[([u64; 2], [usize; 2])]| {
            let mut bytes: Vec<u64> = part.iter().map(|(memory, _)| memory[i]).collect();
            bytes.sort_unstable();
            bytes[bytes.len() / 2]
        };
        let (early, late) = (median(early), median(late));
        println!("{name}: {:.1} MB, then {:.1} MB", early as f64 / 1_048_576.0, late as f64 / 1_048_576.0);
        assert!(late < early + early / 50 + (4 << 20), "{name} grows");
        let most = |part: &[([u64; 2], [usize; 2])]| part.iter().map(|(_, files)| files[i]).max().unwrap_or(0);
        assert!(most(&samples[3 * n / 4..]) <= most(&samples[..n / 2]) + 4, "{name} keeps files open");
    }
}

/// One request of a kind that its number says; what came of it.
fn mixed(server: &Server, n: usize) -> String {
    let merge = |more: Value| with(chat(n % 50), more);
    let prompt = format!("Once upon a time {} ", n % 50);
    let (path, body, expected) = match n % 16 {
        0 => (CHAT, merge(json!({})), 200),
        1 => (CHAT, merge(json!({"logprobs": true, "top_logprobs": 5})), 200),
        2 => ("/v1/completions", json!({"prompt": prompt, "max_tokens": 16, "echo": true, "logprobs": 2}), 200),
        3 => ("/v1/completions", json!({"prompt": [prompt, "A dog"], "n": 2, "max_tokens": 8}), 200),
        4 => (CHAT, merge(json!({"proxy": {"explain": true, "alpha": 0.5}})), 200),
        5 => (CHAT, merge(json!({"guidance_scale": 1.5, "negative_prompt": "A sad story."})), 200),
        6 => (CHAT, merge(json!({"json_schema": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}})), 200),
        7 => (CHAT, merge(json!({"grammar": "root ::= (\"a\" | \"b\")+", "max_tokens": 8})), 200),
        8 => (CHAT, merge(json!({"temperature": "warm"})), 400),
        9 => (CHAT, merge(json!({"model": "none"})), 404),
        10 => (CHAT, merge(json!({"messages": [{"role": "user", "content": "word ".repeat(20_000)}]})), 400),
        11 => ("/v1/nothing", json!({}), 404),
        kind => return streamed(server, kind, &merge(json!({"stream": true, "max_tokens": 64}))),
    };
    let reply = server.post(path, &body);
    assert_eq!(reply.status, expected, "{} {reply:?}", n % 16);
    format!("{:2}: {}", n % 16, reply.status)
}

/// Streams that are read, left at once, left in the middle, and bodies that are left.
fn streamed(server: &Server, kind: usize, body: &Value) -> String {
    let mut raw = Raw::connect(server);
    match kind {
        12 => {
            raw.post(CHAT, body);
            assert!(raw.until("[DONE]").is_some());
            "12: read".to_owned()
        }
        13 => {
            raw.post(CHAT, body);
            "13: left".to_owned()
        }
        14 => {
            raw.post(CHAT, body);
            raw.until("\"content\":\"").expect("a token");
            "14: left in the middle".to_owned()
        }
        _ => {
            let whole = post(CHAT, &[], &body.to_string());
            raw.send(&whole[..whole.len() / 2]);
            "15: half a body".to_owned()
        }
    }
}
