//! `proxytune generate`

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::resolve::Job;
use super::terminal::{say, shown};
use super::{Done, answer, args, interrupt};
use crate::generate::Answer;
use crate::generate::probs::Position;

pub fn run(args: &args::Generate) -> Result<Done> {
    let Job { mut resolved, prompt, prefix, is_example, mut request } = Job::new(&args.run)?;
    // Not before: while the prompt is read, ctrl-C just ends the program.
    let stopped = interrupt::listen();
    request.n_probs = args.n_probs;
    let json = args.run.json;
    if is_example && !args.display_prompt {
        say!("note: no prompt is given, continuing the recipe's: {prompt}");
    }
    let mut engine = resolved.load()?;
    let plan = &resolved.plan;
    // llama.cpp's chat would apply it.
    let has_template = engine.ensemble().model(0).chat_template().is_some();
    if plan.pairs.is_empty() && plan.view.template.is_none() && has_template {
        say!("note: the prompt is continued as it is; --base-template model puts it into the model's chat template");
    }

    let mut out = std::io::stdout().lock();
    if args.display_prompt && !json {
        write!(out, "{}", shown(&prompt))?;
    }
    // It is part of the answer, though nobody generated it.
    if !json {
        write!(out, "{}", shown(&prefix))?;
    }
    let mut answer = Answer::starting_with(&prefix);
    let show = |text: &str, _: Option<&Position>| -> std::io::Result<()> {
        if json {
            return Ok(());
        }
        out.write_all(shown(text).as_bytes())?;
        out.flush()
    };
    let ended = answer::run(&mut engine, &request, stopped, &mut answer, show);
    if ended.is_err() && !json && !answer.text.is_empty() {
        writeln!(out)?;
    }
    let read = ended?;
    answer::note_what_is_amiss(&answer);
    if json {
        let mut object = answer::json(&answer);
        object.insert("seed".to_owned(), json!(request.sampling.seed));
        writeln!(out, "{}", Value::Object(object))?;
    } else if !answer.text.ends_with('\n') {
        writeln!(out)?;
    }
    if !json && !args.run.perf.no_perf {
        answer::tell_perf(&answer, read, request.sampling.seed);
    }
    Ok(answer::done(&answer))
}
