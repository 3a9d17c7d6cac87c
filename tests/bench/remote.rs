//! A base on a server: what showing only some log-probabilities costs in nats and in top tokens, and what the way there costs
//! in tokens per second, with and without 50 ms added to every round trip.
//!
//!     cargo bench --bench remote                              # the bundled trio, its base on a `proxytune serve`
//!     BASE_URL=http://127.0.0.1:8080 RECIPE=my.toml TEXT=text.txt cargo bench --bench remote
//!
//! `BASE_URL` is a server that shows the whole vocabulary: llama-server, `proxytune serve`, or vLLM with `--max-logprobs -1`.

#![allow(clippy::cast_precision_loss)]

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proxytune::arithmetic::statistics::quantile;
use proxytune::arithmetic::{hidden, softmax};
use proxytune::engine::Engine;
use proxytune::generate::{Answer, Draft, Request};
use proxytune::llama::backend::{self, Backend};
use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::log;
use proxytune::prompt::Conversation;
use proxytune::recipe::remote::Logprobs;
use proxytune::recipe::{ModelName, Recipe, Remote};
use proxytune::remote::Row;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, ModelSource, Models, Plan, Sampled, Work};

const N_CTX: usize = 512;
const DELAY: Duration = Duration::from_millis(50);
const TEXT: &str = include_str!("../../models/demo/heldout-prose.txt");
const PROMPT: &str = "One morning the boy went to the river and";

fn main() -> Result<(), Box<dyn Error>> {
    log::capture(false);
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str, otherwise: usize| variable(name).map_or(Ok(otherwise), |n| n.parse());
    let recipe = Recipe::open(&variable("RECIPE").unwrap_or_else(|| "demo".to_owned()))?;
    let text = variable("TEXT").map_or(Ok(TEXT.to_owned()), std::fs::read_to_string)?;
    let (n_tokens, n_rounds, n_predict) = (number("TOKENS", 2000)?, number("ROUNDS", 5)?, number("PREDICT", 48)?);
    let own = if variable("BASE_URL").is_none() { Some(Own::start()?) } else { None };
    let url = variable("BASE_URL").or_else(|| own.as_ref().map(|own| own.url.clone())).unwrap_or_default();
    let bench = Bench { recipe, backend: backend::shared()?, models: Models::default() };
    let mut bench = bench;
    bench.what_is_shown(&url, &text, n_tokens)?;
    bench.the_way_there(&url, n_rounds, n_predict)
}

struct Bench {
    recipe: Recipe,
    backend: Backend,
    models: Models,
}

impl Bench {
    fn ensemble(&mut self, remote: Option<Remote>) -> Result<Ensemble, Box<dyn Error>> {
        let mut recipe = self.recipe.clone();
        if let Some(remote) = remote {
            let view = recipe.base.view.clone();
            recipe.base = ModelName::Remote(Box::new(remote)).into();
            recipe.base.view = view;
        }
        let context = ContextParams { n_ctx: N_CTX, n_outputs_max: 64, ..ContextParams::default() };
        let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &self.backend)?;
        Ok(Ensemble::load(&self.backend, &plan, &mut self.models, &mut |_, _, _| true)?)
    }

    /// Nats per token and the share of top tokens that are those of the whole distribution, by how much of it is shown.
    fn what_is_shown(&mut self, url: &str, text: &str, n_tokens: usize) -> Result<(), Box<dyn Error>> {
        let whole = scores(
            &mut self.ensemble(Some(Remote { logprobs: Some(Logprobs::All), ..Remote::at(url) }))?,
            text,
            n_tokens,
        )?;
        println!(
            "{:<10} {:>9} {:>9} {:>9} {:>14} {:>9} {:>9}",
            "shown", "base", "steered", "agreement", "not shown, base", "bound", "may lead"
        );
        let print = |name: &str, scores: &[Score]| {
            let mean = |of: &dyn Fn(&Score) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
            let agrees = scores.iter().zip(&whole).filter(|(a, b)| a.top == b.top).count() as f64 / scores.len() as f64;
            println!(
                "{name:<10} {:9.4} {:9.4} {:7.1} % {:12.1} % {:7.1} % {:7.1} %",
                mean(&|score| score.base),
                mean(&|score| score.steered),
                agrees * 100.0,
                mean(&|score| score.rest) * 100.0,
                mean(&|score| score.bound) * 100.0,
                mean(&|score| f64::from(u8::from(score.may_lead))) * 100.0
            );
        };
        for n in [5, 20, 100] {
            let remote = Remote { logprobs: Some(Logprobs::Top(n)), ..Remote::at(url) };
            let scores = scores(&mut self.ensemble(Some(remote))?, text, n_tokens)?;
            print(&format!("top {n}"), &scores);
        }
        print("all", &whole);
        println!("{} tokens in windows of {N_CTX}\n", whole.len());
        Ok(())
    }

    /// Tokens per second, by how far away the server is.
    fn the_way_there(&mut self, url: &str, n_rounds: usize, n_predict: usize) -> Result<(), Box<dyn Error>> {
        let far = relay(url, DELAY)?;
        let mut ways: Vec<(String, Option<Remote>)> = vec![("here".to_owned(), None)];
        for (place, url) in [("loopback", url.to_owned()), ("50 ms away", far)] {
            for n_ahead in [1, 4, 16] {
                let remote = Remote { ahead: Some(n_ahead), ..Remote::at(&url) };
                ways.push((format!("{place}, {n_ahead} ahead"), Some(remote)));
            }
            ways.push((format!("{place}, exact"), Some(Remote { exact: true, ..Remote::at(&url) })));
        }
        let mut engines = Vec::new();
        for (name, remote) in ways {
            match self.ensemble(remote) {
                Ok(ensemble) => engines.push((name, Engine::inline(ensemble), Vec::new(), Answer::default())),
                Err(error) => println!("{name}: {error}"),
            }
        }
        for round in 0..=n_rounds {
            for (_, engine, speeds, last) in &mut engines {
                let request = Request {
                    sampling: Sampling { ignore_eos: true, ..Sampling::greedy() },
                    n_predict: Some(n_predict),
                    draft: Draft::off(),
                    ..Request::of(Conversation::prompt(PROMPT))
                };
                engine.forget();
                let mut answer = Answer::default();
                engine.run(&request, &false.into(), &mut answer, |_, _| Ok(()))?;
                if let Some(failure) = &answer.failure {
                    return Err(failure.to_string().into());
                }
                // The first warms up.
                if round > 0 {
                    speeds.push(answer.tokens.len() as f64 / answer.seconds);
                }
                *last = answer;
            }
        }
        println!(
            "{:<22} {:>22} {:>9} {:>10} {:>8}",
            "base", "tokens/s (10 to 90 %)", "requests", "positions", "hidden"
        );
        for (name, _, mut speeds, answer) in engines {
            speeds.sort_by(f64::total_cmp);
            let at = |q| quantile(&speeds, q);
            let of = answer.served.map(|served| served.requests);
            let hidden = of.map_or("–".to_owned(), |stats| format!("{:.0} %", stats.hidden() * 100.0));
            let [n_requests, n_rows] = of.map_or([0, 0], |stats| [stats.n_requests, stats.n_rows]);
            println!(
                "{name:<22} {:8.1} ({:.1} to {:.1}) {n_requests:>9} {n_rows:>10} {hidden:>8}",
                at(0.5),
                at(0.1),
                at(0.9)
            );
        }
        Ok(())
    }
}

/// What is thought of one token of a text.
struct Score {
    base: f64,
    steered: f64,
    top: Option<usize>,
    rest: f64,
    bound: f64,
    may_lead: bool,
}

/// Looks at each token of a text behind the first of its window.
fn scores(ensemble: &mut Ensemble, text: &str, n_tokens: usize) -> Result<Vec<Score>, Box<dyn Error>> {
    let tokens = ensemble.model(0).tokenize(text)?;
    let mut scores = Vec::new();
    for window in tokens[..n_tokens.min(tokens.len())].chunks(N_CTX - 1).filter(|window| window.len() > 1) {
        let prompts = ensemble.same(Sampled::Steered, window)?;
        let mut sequence = ensemble.open()?;
        ensemble.begin_scored(&mut sequence, Sampled::Steered, &prompts)?;
        let mut n_scored = 0;
        while n_scored < window.len() - 1 {
            let n = (window.len() - n_scored).min(ensemble.n_rows_max());
            let work = Work { sequence: &mut sequence, n_tokens: n, outputs: Outputs::Scored, ahead: None };
            ensemble.step(&mut [work]).into_iter().collect::<Result<(), _>>()?;
            let mut composed = Vec::new();
            for at in n_scored..(n_scored + n).min(window.len() - 1) {
                ensemble.composed(&sequence, at, 0.0, &mut composed)?;
                let base = ensemble.logits(&sequence, 0, at)?;
                let token = window[at + 1] as usize;
                let told = ensemble.told(&sequence, at)?;
                let bound =
                    told.and_then(|row| Some(hidden::hidden(base, &composed, row.shown()?, row.rest(), row.cap())));
                let top = match told.and_then(Row::shown) {
                    None => softmax::argmax(&composed),
                    Some(shown) => {
                        shown.iter().map(|&id| id as usize).max_by(|&a, &b| composed[a].total_cmp(&composed[b]))
                    }
                };
                scores.push(Score {
                    base: softmax::log_sum_exp(base) - f64::from(base[token]),
                    steered: softmax::log_sum_exp(&composed) - f64::from(composed[token]),
                    top,
                    rest: told.map_or(0.0, Row::rest),
                    bound: bound.map_or(0.0, |bound| bound.share),
                    may_lead: bound.is_some_and(|bound| bound.may_lead),
                });
            }
            n_scored += n;
        }
        ensemble.close(sequence);
    }
    Ok(scores)
}

/// A server with the demo's base, in a process of its own.
struct Own {
    child: Child,
    url: String,
}

impl Own {
    fn start() -> Result<Self, Box<dyn Error>> {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/base.gguf");
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        command.args(["serve", "-m", base, "--port", "0", "-t", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        let mut url = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(address) = line.strip_prefix("listening on ") {
                address.trim().clone_into(&mut url);
            }
            if line.starts_with("ready") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address behind which a server is so much further away, there and back.
fn relay(url: &str, delay: Duration) -> Result<String, Box<dyn Error>> {
    let server = url.strip_prefix("http://").ok_or("only http:// can be delayed")?.trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&server) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                    late(from, to, delay / 2);
                }
            }
        }
    });
    Ok(url)
}

/// Passes bytes on, each so much later than it came: a long way, not a narrow one.
fn late(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let _ = to.set_nodelay(true);
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
