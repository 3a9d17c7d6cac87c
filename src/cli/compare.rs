//! `proxytune compare`: the same prompt and seed through the base alone, the expert alone and steered.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::generate::Answer;
use super::report::{has_colour, shown};
use super::resolve::Run;
use super::{Done, args, draft, interrupt};
use crate::steer::lanes::LaneRef;
use crate::steer::{Plan, Steered};

const BOLD: &str = "\x1b[1m";
const CHANGED: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// One of the three, ready to run.
struct Contender {
    label: &'static str,
    plan: Plan,
}

pub fn run(args: &args::Run) -> Result<Done> {
    let Run { mut resolved, prompt, conversation, mut request, .. } = Run::new(args)?;
    let stopped = interrupt::listen();
    request.n_probs = Some(0);
    let seed = request.sampling.seed;

    let mut out = std::io::stdout().lock();
    let colour = has_colour();
    let paint = |style: &'static str| if colour { style } else { "" };
    if !args.json {
        writeln!(out, "{}prompt{}  {}", paint(BOLD), paint(PLAIN), shown(prompt.trim_end()))?;
    }
    let mut results = Vec::new();
    let mut done = Done::Fine;
    for Contender { label, plan } in contenders(resolved.plan.clone())? {
        let mut steered = resolved.load(&plan)?;
        let prompts = steered.prompts(&conversation)?;
        if !args.json {
            writeln!(out, "\n{}{label}{}  {}", paint(BOLD), paint(PLAIN), what(&steered))?;
        }
        if !args.json {
            write!(out, "{}", conversation.prefix)?;
        }
        let mut answer = Answer::starting_with(&conversation.prefix);
        let changes = label == "steered";
        if changes {
            draft::note_limits(&steered, &request.draft);
        }
        let ended = answer.generate(&mut steered, &prompts, &request, stopped, |text, position| {
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
        ended?;
        let per_second = answer.tokens.len() as f64 / answer.seconds;
        let n_changed = answer.positions.iter().filter(|position| position.changed).count();
        if args.json {
            let mut object = answer.json(&steered, &prompts, if label == "expert" { label } else { "base" });
            object.remove("probs");
            object.insert("run".to_owned(), json!(label));
            object.insert("tokens_per_second".to_owned(), json!(per_second));
            let changed: Vec<_> = answer.positions.iter().map(|position| position.changed).collect();
            object.insert("changed".to_owned(), json!(changed));
            results.push(Value::Object(object));
        } else {
            if !answer.text.ends_with('\n') {
                writeln!(out)?;
            }
            let n = answer.tokens.len();
            write!(out, "[{n} tokens, {per_second:.0} tokens/s")?;
            if changes {
                write!(out, "; at {n_changed} the best token is not the base's")?;
                if colour {
                    write!(out, ", {CHANGED}shown so{PLAIN}")?;
                }
            }
            writeln!(out, "]")?;
        }
        done = answer.done();
        if matches!(done, Done::Interrupted) {
            break;
        }
    }
    if args.json {
        writeln!(out, "{}", json!({"prompt": prompt, "seed": seed, "runs": results}))?;
    }
    Ok(done)
}

/// The base alone, the first expert alone, and the plan itself.
fn contenders(plan: Plan) -> Result<impl Iterator<Item = Contender>> {
    let base = Contender { label: "base", plan: plan.base_alone()? };
    let expert = plan.expert_alone().map(|plan| Contender { label: "expert", plan });
    Ok(std::iter::once(base).chain(expert).chain([Contender { label: "steered", plan }]))
}

/// The size of what runs, and α.
fn what(steered: &Steered) -> String {
    let millions = |lane: LaneRef<'_>| format!("{:.1} M", lane.model().n_params() as f64 / 1e6);
    let sizes: Vec<_> = steered.iter().map(millions).collect();
    let alphas: Vec<_> = steered.offset().alphas().map(ToString::to_string).collect();
    let sizes = sizes.join(" + ");
    if alphas.is_empty() {
        format!("{sizes} parameters")
    } else {
        format!("{sizes} parameters, α = {}", alphas.join(", "))
    }
}
