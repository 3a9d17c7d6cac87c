//! What the server adds to an engine: tokens per second of one stream over HTTP against the engine in this process, the time
//! to the first token of a prompt that is held already, and eight streams against one beside what batched steps allow.
//!
//!     make bench
//!
//! Of the grown trio; `PROXYTUNE_BENCH_RECIPE=demo` takes the bundled one, whose steps are so short that this bench measures
//! little but what is around them.

#![allow(clippy::cast_precision_loss)]

mod measured;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use proxytune::arithmetic::statistics::quantile;
use proxytune::engine::{Engine, Settings};
use proxytune::generate::{Draft, Event, Request};
use proxytune::llama::backend::{self, Backend};
use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::{Token, log};
use proxytune::prompt::Conversation;
use proxytune::recipe::Recipe;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, Error as SteerError, ModelSource, Models, Plan, Sampled, Sequence, Texts, Work};

use measured::print;

const N_SLOTS: usize = 8;
/// Tokens of each text.
const N_CTX: usize = 512;
const N_PREDICT: usize = 48;
/// Pairs of a text here and one over HTTP.
const N_ROUNDS: usize = 12;
/// Tokens of the prompt that is held already, about.
const N_WORDS: usize = 200;
const N_STEPS: usize = 48;
const N_WARM_UP: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    log::capture(false);
    let grown = concat!(env!("CARGO_MANIFEST_DIR"), "/target/grown/recipe.toml");
    let name = std::env::var("PROXYTUNE_BENCH_RECIPE").unwrap_or_else(|_| grown.to_owned());
    let path = if name == "demo" { concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/recipe.toml") } else { &name };
    let recipe = Recipe::open(path).map_err(|error| format!("{error}\nhint: `make grown` writes the models"))?;
    let n_threads = std::thread::available_parallelism()?.get();
    let backend = backend::shared()?;
    let context = ContextParams { n_ctx: N_CTX, n_threads, ..ContextParams::default() };
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;
    let mut models = Models::default();

    let server = Server::start(path, n_threads)?;
    let mut engine = engine(&backend, &plan, &mut models, 1)?;
    let step = one_stream(&mut engine, &server)?;
    first_token(&server, step)?;
    drop(engine);
    let mut ensemble = load(&backend, &plan, &mut models, N_SLOTS)?;
    let allowed = steps(&mut ensemble)?;
    many_streams(&server, allowed)
}

fn load(backend: &Backend, plan: &Plan, models: &mut Models, n: usize) -> Result<Ensemble, SteerError> {
    let plan = Plan { texts: Texts::sharing(n, n), ..plan.clone() };
    Ensemble::load(backend, &plan, models, &mut |_, _, _| true)
}

fn engine(backend: &Backend, plan: &Plan, models: &mut Models, n: usize) -> Result<Engine, SteerError> {
    Ok(Engine::new(load(backend, plan, models, n)?, Settings { n_slots: n, ..Settings::default() }))
}

fn prompt(i: usize) -> String {
    format!("Once upon a time there were {i} small")
}

/// Tokens per second behind the first token: of a text here, then of the same one over HTTP, in turns. Seconds of a step.
fn one_stream(engine: &mut Engine, server: &Server) -> Result<f64, Box<dyn Error>> {
    let (mut here, mut there, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..=N_ROUNDS {
        let mut both = [0.0; 2];
        // Taking turns, so that neither always comes first.
        for turn in [i % 2, 1 - i % 2] {
            both[turn] =
                if turn == 0 { in_process(engine, &prompt(i))? } else { server.stream(&prompt(i))?.per_second };
        }
        if i > 0 {
            here.push(both[0]);
            there.push(both[1]);
            ratios.push(both[1] / both[0]);
        }
    }
    print("one text, in this process: tokens a second", &mut here);
    print("one stream over HTTP: tokens a second", &mut there);
    print("over HTTP / in this process", &mut ratios);
    Ok(1.0 / quantile(&here, 0.5))
}

fn in_process(engine: &mut Engine, prompt: &str) -> Result<f64, Box<dyn Error>> {
    let sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    let input = Request::of(Conversation::prompt(prompt));
    engine.submit(&Request { sampling, draft: Draft::off(), n_predict: Some(N_PREDICT), ..input })?;
    let (mut times, mut failure) = (Vec::new(), None);
    let mut hear = |_, event| match event {
        Event::Token(_) => times.push(Instant::now()),
        Event::Failed(failed) => failure = Some(failed.failure),
        _ => {}
    };
    while engine.tick(&mut hear) {}
    failure.map_or(Ok(()), Err)?;
    Ok(per_second(&times))
}

/// Behind the first token. Some have no text of their own, and are not seen to come.
fn per_second(times: &[Instant]) -> f64 {
    match times {
        [first, .., last] => (N_PREDICT - 1) as f64 / last.duration_since(*first).as_secs_f64(),
        _ => f64::NAN,
    }
}

/// From the request to the first token, where the prompt is held already.
fn first_token(server: &Server, step: f64) -> Result<(), Box<dyn Error>> {
    let prompt = "word ".repeat(N_WORDS);
    let mut times = Vec::new();
    for i in 0..=N_ROUNDS {
        let stream = server.stream(&prompt)?;
        if i > 0 {
            times.push(stream.first / step);
        }
    }
    print("first token of a held prompt, in steps", &mut times);
    Ok(())
}

/// What eight texts allow over one, by the time of their steps alone.
fn steps(ensemble: &mut Ensemble) -> Result<f64, Box<dyn Error>> {
    let mut sequences: Vec<Sequence> = Vec::new();
    for i in 0..N_SLOTS {
        let mut sequence = ensemble.open()?;
        let prompts = ensemble.prompts(Sampled::Steered, &Conversation::prompt(prompt(i)), &[])?;
        ensemble.begin(&mut sequence, Sampled::Steered, &prompts)?;
        sequences.push(sequence);
    }
    step(ensemble, &mut sequences, Outputs::Last)?;
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for i in 0..N_WARM_UP + N_STEPS {
        for n in [1, N_SLOTS] {
            let own = &mut sequences[..n];
            own.iter_mut().try_for_each(|sequence| ensemble.push(sequence, (100 + i) as Token))?;
            let began = Instant::now();
            step(ensemble, own, Outputs::All)?;
            if i >= N_WARM_UP {
                (if n == 1 { &mut one } else { &mut all }).push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    print("a step of one token, ms", &mut one);
    print(&format!("a step of {N_SLOTS} tokens, ms"), &mut all);
    Ok(N_SLOTS as f64 * quantile(&one, 0.5) / quantile(&all, 0.5))
}

fn step(ensemble: &mut Ensemble, sequences: &mut [Sequence], outputs: Outputs) -> Result<(), SteerError> {
    let n_tokens = usize::MAX;
    let works = sequences.iter_mut().map(|sequence| Work { sequence, n_tokens, outputs, ahead: None });
    ensemble.step(&mut works.collect::<Vec<_>>()).into_iter().collect()
}

/// Tokens per second of all streams together, from the last one's first token to the first one's last.
fn many_streams(server: &Server, allowed: f64) -> Result<(), Box<dyn Error>> {
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for round in 0..=N_ROUNDS {
        for n in [1, N_SLOTS] {
            let streams: Vec<Stream> = std::thread::scope(|scope| {
                let streams: Vec<_> = (0..n)
                    .map(|i| scope.spawn(move || server.stream(&prompt(i)).map_err(|error| error.to_string())))
                    .collect();
                streams.into_iter().map(|stream| stream.join().map_err(|_| "a panic")?).collect::<Result<_, _>>()
            })?;
            let began = streams.iter().filter_map(|stream| stream.times.first()).max();
            let ended = streams.iter().filter_map(|stream| stream.times.last()).min();
            let (Some(began), Some(ended)) = (began, ended) else { return Err("a stream without tokens".into()) };
            let within = |time: &&Instant| *time > began && *time <= ended;
            let n_tokens: usize = streams.iter().map(|stream| stream.times.iter().filter(within).count()).sum();
            if round > 0 {
                let per_second = n_tokens as f64 / ended.saturating_duration_since(*began).as_secs_f64();
                (if n == 1 { &mut one } else { &mut all }).push(per_second);
            }
        }
    }
    print("one stream: tokens a second", &mut one);
    print(&format!("{N_SLOTS} streams: tokens a second"), &mut all);
    let reached = quantile(&all, 0.5) / quantile(&one, 0.5);
    println!("{N_SLOTS} streams over one: {reached:.2}; batched steps allow {allowed:.2}");
    Ok(())
}

/// A server in a process of its own.
struct Server {
    child: Child,
    address: String,
}

/// Tokens as they came.
struct Stream {
    /// Seconds from the request to the first token.
    first: f64,
    per_second: f64,
    times: Vec<Instant>,
}

impl Server {
    fn start(recipe: &str, n_threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        command.args(["serve", "-R", recipe, "--port", "0", "--temp", "0", "--draft", "off"]);
        command.args(["-np", &N_SLOTS.to_string(), "-kvu", "-c", &(N_CTX * N_SLOTS).to_string()]);
        command.args(["-t", &n_threads.to_string()]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let mut server = Self { child, address: String::new() };
        let mut said = String::new();
        let mut lines = BufReader::new(stderr);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Err(format!("the server has ended: {said}").into());
            }
            if let Some(url) = line.strip_prefix("listening on http://") {
                url.trim().clone_into(&mut server.address);
            }
            said.push_str(&line);
            if line.starts_with("ready") {
                break;
            }
        }
        // What it says later is read by nobody, and must not fill the pipe.
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        Ok(server)
    }

    /// Reads a text to its end.
    fn stream(&self, prompt: &str) -> Result<Stream, Box<dyn Error>> {
        let body = serde_json::json!({
            "messages": [{"role": "user", "content": prompt}], "max_tokens": N_PREDICT, "ignore_eos": true, "stream": true,
        })
        .to_string();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length:";
        let began = Instant::now();
        stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes())?;
        let mut times = Vec::new();
        let mut said = String::new();
        for line in BufReader::new(stream).lines() {
            let line = line?;
            if line.contains("\"delta\":{\"content\":\"") {
                times.push(Instant::now());
            } else {
                said.push_str(&line);
            }
        }
        if !said.contains("[DONE]") || times.len() < 2 {
            return Err(format!("the stream did not end as it should: {said}").into());
        }
        Ok(Stream { first: times[0].duration_since(began).as_secs_f64(), per_second: per_second(&times), times })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
