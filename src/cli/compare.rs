//! `proxytune compare`: the same prompt and seed through the base alone, the expert alone and steered, and how far steering
//! led away from the base.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::resolve::Job;
use super::terminal::{has_colour, say, shown};
use super::{Done, answer, args, interrupt};
use crate::arithmetic::units;
use crate::engine::Engine;
use crate::generate::probs::Position;
use crate::generate::{Answer, Request};
use crate::steer::{Plan, Role, Sampled};

const BOLD: &str = "\x1b[1m";
const CHANGED: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// More interventions than this are worth a note.
const MANY_INTERVENTIONS: f64 = 0.2;

pub fn run(args: &args::Run) -> Result<Done> {
    let Job { mut resolved, prompt, prefix, request, .. } = Job::new(args)?;
    let stopped = interrupt::listen();
    let seed = request.sampling.seed;
    let mut engine = resolved.load()?;
    let plan = &resolved.plan;

    let mut out = std::io::stdout().lock();
    let colour = has_colour();
    let paint = |style: &'static str| if colour { style } else { "" };
    if !args.json {
        writeln!(out, "{}prompt{}  {}", paint(BOLD), paint(PLAIN), shown(prompt.trim_end()))?;
    }
    if plan.pairs.is_empty() {
        say!("note: no pair steers the base, so there is nothing to compare it with");
    }
    let mut results = Vec::new();
    let mut done = Done::Fine;
    let mut perf = None;
    for (label, sampled) in contenders(plan) {
        if !args.json {
            writeln!(out, "\n{}{label}{}  {}", paint(BOLD), paint(PLAIN), what(&engine, sampled))?;
            write!(out, "{}", shown(&prefix))?;
        }
        let mut answer = Answer::starting_with(&prefix);
        let changes = sampled == Sampled::Steered;
        let request = Request { sampled, n_probs: Some(0), divergence: changes, ..request.clone() };
        // Each reads its prompt by itself, as it would without the others.
        engine.forget();
        let ended = answer::run(&mut engine, &request, stopped, &mut answer, |text, position| {
            if args.json {
                return Ok(());
            }
            let changed = changes && position.is_some_and(|position| position.changed);
            let (style, plain) = if changed { (paint(CHANGED), paint(PLAIN)) } else { ("", "") };
            write!(out, "{style}{}{plain}", shown(text))?;
            out.flush()
        });
        if ended.is_err() && !args.json && !answer.text.is_empty() {
            writeln!(out)?;
        }
        let read = ended?;
        let per_second = answer.tokens.len() as f64 / answer.seconds.max(f64::MIN_POSITIVE);
        let led_away = if changes { LedAway::of(&answer.positions) } else { None };
        if args.json {
            let mut object = answer::json(&answer);
            object.remove("probs");
            object.insert("run".to_owned(), json!(label));
            object.insert("tokens_per_second".to_owned(), json!(per_second));
            let changed: Vec<_> = answer.positions.iter().map(|position| position.changed).collect();
            object.insert("changed".to_owned(), json!(changed));
            if let Some(LedAway { rate, kl, .. }) = led_away {
                object.insert("intervention_rate".to_owned(), json!(rate));
                object.insert("kl".to_owned(), json!(kl));
            }
            results.push(Value::Object(object));
        } else {
            if !answer.text.ends_with('\n') {
                writeln!(out)?;
            }
            let n = answer.tokens.len();
            write!(out, "[{n} tokens, {per_second:.0} tokens/s")?;
            if let Some(LedAway { n_changed, rate, kl }) = led_away {
                write!(out, "; at {n_changed} ({:.0} %) steering changed the top token", rate * 100.0)?;
                if colour {
                    write!(out, ", {CHANGED}shown so{PLAIN}")?;
                }
                write!(out, "; KL(steered ‖ base) {kl:.2} nats")?;
            }
            writeln!(out, "]")?;
        }
        if let Some(rate) = led_away.map(|led_away| led_away.rate).filter(|rate| *rate > MANY_INTERVENTIONS) {
            say!(
                "note: steering changed the top token at {:.0} % of positions. Above about 20 % it often hurts (BlendIn, arXiv \
                 2606.11201); `proxytune calibrate` measures whether it does here",
                rate * 100.0
            );
        }
        done = answer::done(&answer);
        perf = Some((answer, read));
        if matches!(done, Done::Interrupted) {
            break;
        }
    }
    if args.json {
        writeln!(out, "{}", json!({"prompt": prompt, "seed": seed, "runs": results}))?;
    } else if let Some((answer, read)) = perf.filter(|_| !args.perf.no_perf) {
        answer::tell_perf(&answer, read, seed);
    }
    Ok(done)
}

/// How far the steered text led away from the base, over its positions.
#[derive(Debug, Clone, Copy)]
struct LedAway {
    n_changed: usize,
    /// Share of the positions where the top token is another than the base's.
    rate: f64,
    /// Mean KL(steered ‖ base), nats.
    kl: f64,
}

impl LedAway {
    /// `None` for a text without a token.
    fn of(positions: &[Position]) -> Option<Self> {
        let n = positions.len() as f64;
        let n_changed = positions.iter().filter(|position| position.changed).count();
        let kl = positions.iter().filter_map(|position| position.divergence).sum::<f64>() / n;
        (!positions.is_empty()).then_some(Self { n_changed, rate: n_changed as f64 / n, kl })
    }
}

/// The base alone, the first expert that is a model of its own alone, and steered, as far as there are pairs.
fn contenders(plan: &Plan) -> impl Iterator<Item = (&'static str, Sampled)> {
    let is_own = |(_, pair): &(usize, &crate::steer::PairPlan)| {
        pair.expert.as_ref().is_some_and(|expert| expert.source.is_some())
    };
    let expert = plan.pairs.iter().enumerate().find(is_own).map(|(i, _)| ("expert", Sampled::Alone(Role::Expert(i))));
    let steered = (!plan.pairs.is_empty()).then_some(("steered", Sampled::Steered));
    std::iter::once(("base", Sampled::Alone(Role::Base))).chain(expert).chain(steered)
}

/// The size of what runs, and α.
fn what(engine: &Engine, sampled: Sampled) -> String {
    let ensemble = engine.ensemble();
    let loaded = ensemble.loaded();
    let size = |lane: usize| match loaded.size(lane) {
        Some((n_params, _)) => units::parameters(n_params),
        None => loaded.name(lane),
    };
    match sampled {
        Sampled::Alone(role) => {
            let lane = ensemble.lane(role);
            let is_here = lane.is_some_and(|lane| loaded.size(lane).is_some());
            format!("{}{}", lane.map(size).unwrap_or_default(), if is_here { " parameters" } else { "" })
        }
        Sampled::Steered => {
            let sizes: Vec<_> = (0..ensemble.lanes().len()).map(size).collect();
            format!("{} parameters, {}", sizes.join(" + "), ensemble.topology().planned())
        }
    }
}
