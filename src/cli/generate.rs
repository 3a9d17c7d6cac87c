//! `proxytune generate`

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::args;
use super::report::shown;
use super::resolve::Run;
use super::{Done, draft, interrupt};
use crate::generate::draft::Stats;
use crate::generate::probs::{Logprob, Position};
use crate::generate::{Finish, Generation, Request};
use crate::llama::Token;
use crate::llama::context::Timings;
use crate::steer::{Prompts, Role, Steered};

pub fn run(args: &args::Generate) -> Result<Done> {
    let Run { mut resolved, prompt, conversation, is_example, mut request } = Run::new(&args.run)?;
    // Not before: while the prompt is read, ctrl-C just ends the program.
    let stopped = interrupt::listen();
    request.n_probs = args.n_probs;
    let json = args.run.json;
    if is_example && !args.display_prompt {
        eprintln!("note: no prompt is given, continuing the recipe's: {prompt}");
    }
    let plan = resolved.plan.clone();
    let mut steered = resolved.load(&plan)?;
    draft::note_limits(&steered, &request.draft);
    let prompts = steered.prompts(&conversation)?;

    let mut out = std::io::stdout().lock();
    if args.display_prompt && !json {
        write!(out, "{prompt}")?;
    }
    // It is part of the answer, though nobody generated it.
    let prefix = &conversation.prefix;
    if !json {
        write!(out, "{prefix}")?;
    }
    let mut answer = Answer::starting_with(prefix);
    let show = |text: &str, _: Option<&Position>| -> std::io::Result<()> {
        if json {
            return Ok(());
        }
        out.write_all(shown(text).as_bytes())?;
        out.flush()
    };
    let ended = answer.generate(&mut steered, &prompts, &request, stopped, show);
    if ended.is_err() && !json && !answer.text.is_empty() {
        writeln!(out)?;
    }
    ended?;
    answer.note_where_full(&request);
    if json {
        let mut object = answer.json(&steered, &prompts, "base");
        object.insert("seed".to_owned(), json!(request.sampling.seed));
        writeln!(out, "{}", Value::Object(object))?;
    } else if !answer.text.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(answer.done())
}

/// What a generation gave, gathered while it ran.
#[derive(Default)]
pub struct Answer {
    pub text: String,
    pub tokens: Vec<Token>,
    pub positions: Vec<Position>,
    /// From the end of the prompt to the end of the text.
    pub seconds: f64,
    finish: Option<Finish>,
    stats: Stats,
}

impl Answer {
    /// An answer that begins with a text that nobody generated.
    pub fn starting_with(prefix: &str) -> Self {
        Self { text: prefix.to_owned(), ..Self::default() }
    }

    /// Runs a generation to its end; `show` gets text as it is decided, with what was seen at
    /// its position.
    pub fn generate(
        &mut self,
        steered: &mut Steered,
        prompts: &Prompts,
        request: &Request,
        stopped: &std::sync::atomic::AtomicBool,
        mut show: impl FnMut(&str, Option<&Position>) -> std::io::Result<()>,
    ) -> Result<()> {
        steered.reset_timings();
        let mut generation = Generation::start(steered, prompts, request, stopped)?;
        let began = Instant::now();
        let ended = loop {
            match generation.step() {
                Ok(Some(step)) => {
                    show(&step.text, step.position.as_ref())?;
                    self.text += &step.text;
                    self.tokens.push(step.token);
                    self.positions.extend(step.position);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What a stop string or a broken character held back, when nothing more will come.
        let rest = generation.rest();
        show(&rest, None)?;
        self.text += &rest;
        self.seconds = began.elapsed().as_secs_f64();
        self.finish = generation.finish();
        self.stats = generation.stats().clone();
        ended?;
        Ok(())
    }

    /// Tells where the answer ended for want of room, and not because it was long enough.
    pub fn note_where_full(&self, request: &Request) {
        if self.finish == Some(Finish::Length) && request.n_predict.is_none_or(|n| self.tokens.len() < n) {
            eprintln!("note: the context is full, and the answer ends there; -c gives more room");
        }
    }

    pub fn done(&self) -> Done {
        if self.finish == Some(Finish::Cancelled) { Done::Interrupted } else { Done::Fine }
    }

    /// The text's own pace, prompt left out, and what became of the guesses.
    fn generation(&self) -> Value {
        let (n, guesses) = (self.tokens.len(), self.stats.all());
        json!({
            "n": n, "ms": self.seconds * 1e3, "per_second": n as f64 / self.seconds.max(f64::MIN_POSITIVE),
            "n_steps": self.stats.n_steps(), "n_drafted": guesses.n_drafted, "n_accept": guesses.n_accept,
        })
    }

    /// `text`, `tokens`, `finish_reason`, `prompt_tokens`, `timings`, `generation` and, where they were asked for, `probs`. The
    /// first of a steered model's roles goes by the name `base`, unless it stands for another.
    pub fn json(&self, steered: &Steered, prompts: &Prompts, base: &str) -> Map<String, Value> {
        let mut prompt_tokens = Map::new();
        let mut timings = Map::new();
        let pairs = (0..steered.offset().n_pairs()).flat_map(|i| [Role::Expert(i), Role::Antiexpert(i)]);
        for role in std::iter::once(Role::Base).chain(pairs) {
            let name = if role == Role::Base { base.to_owned() } else { role.to_string() };
            if let Some((tokens, lane)) = steered.role(role, prompts) {
                prompt_tokens.insert(name.clone(), json!(tokens));
                timings.insert(name, timing(lane.timings()));
            }
        }
        let mut object = Map::new();
        object.insert("text".to_owned(), json!(self.text));
        object.insert("tokens".to_owned(), json!(self.tokens));
        object.insert("finish_reason".to_owned(), json!(self.finish.map(Finish::name)));
        object.insert("prompt_tokens".to_owned(), Value::Object(prompt_tokens));
        object.insert("timings".to_owned(), Value::Object(timings));
        object.insert("generation".to_owned(), self.generation());
        if !self.positions.is_empty() {
            let model = steered.base().model();
            let entry = |p: &Logprob| {
                json!({"id": p.id, "piece": model.piece(p.id), "logprob": finite(p.composed), "base": finite(p.base),
                       "expert": p.expert.map(finite), "antiexpert": p.antiexpert.map(finite)})
            };
            let position = |position: &Position| {
                let mut value = entry(&position.chosen);
                value["changed"] = json!(position.changed);
                value["top"] = position.top.iter().map(entry).collect();
                value
            };
            object.insert("probs".to_owned(), self.positions.iter().map(position).collect());
        }
        object
    }
}

/// JSON has no infinity; llama.cpp writes the lowest f32 in its place.
fn finite(logprob: f64) -> f64 {
    logprob.max(f64::from(f32::MIN))
}

fn timing(t: Timings) -> Value {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let per_second = |n: usize, time: std::time::Duration| if n == 0 { 0.0 } else { n as f64 / time.as_secs_f64() };
    json!({
        "prompt_n": t.n_prompt, "prompt_ms": ms(t.t_prompt), "prompt_per_second": per_second(t.n_prompt, t.t_prompt),
        "decode_n": t.n_decode, "decode_ms": ms(t.t_decode), "decode_per_second": per_second(t.n_decode, t.t_decode),
    })
}
