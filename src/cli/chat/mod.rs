//! `proxytune chat`: a conversation in the terminal.
//!
//! A line is a message, unless it begins with a slash: then it is a command. ctrl-C stops the answer, not the program.

mod command;
mod input;
mod saved;
mod session;
mod why;

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use self::command::Command;
use self::input::{Input, Line};
use self::session::Session;
use super::resolve::{self, Resolved};
use super::terminal::{say, shown};
use super::{Done, args, deterministic, draft, interrupt, report};
use crate::generate::Request;
use crate::recipe::view::TemplateName;
use crate::steer::Texts;

pub fn run(args: &args::Chat) -> Result<Done> {
    let escape = !args.no_escape;
    let mut resolved = Resolved::new(&args.models, &args.alpha, escape)?;
    let mut conversation = resolve::conversation(&args.conversation, &resolved.recipe, escape)?;
    conversation.tools = args.tools.toolbox()?;
    let (n_predict, stop) = args.end.limits(escape);
    let sampling = args.sampling.over(&resolved.recipe.sampling, escape)?;
    // As in llama.cpp's chat, a model by itself is asked as it was tuned.
    if resolved.plan.pairs.is_empty() {
        resolved.plan.view.template.get_or_insert(TemplateName::Auto);
    }
    let draft = deterministic::drafts(&args.models, &args.draft, &resolved.plan)?;
    // What the stage changed is remembered for /why.
    let request = Request { sampling, n_predict, stop, n_probs: Some(0), draft, ..Request::default() };
    let facts = resolve::set_ctx(&mut resolved.plan, args.models.ctx_size, resolve::DEFAULT_CTX)?;
    resolve::note_cancelled_base(&resolved.plan, &facts, &request.sampling);
    draft::make_room(&mut resolved.plan, &request.draft);
    // One for the conversation, and one for /compare in what room that leaves; where rounding must not depend on what else
    // the cells hold, in room of its own.
    let texts = if args.models.deterministic { Texts::apart(2) } else { Texts::sharing(2, 1) };
    resolved.plan.texts = texts;
    // A probe or a load in progress is ended in order.
    interrupt::listen();
    let engine = resolved.load()?;
    let mut session = Session::new(engine, conversation, request, !args.perf.no_perf);
    if let Some(path) = &args.load {
        let typed = session.conversation().clone();
        let n = session.load(path)?;
        say!("{n} messages read from {}", path.display());
        session.keep_asked(&args.conversation, typed);
    }
    say!("{}\n/help tells what can be typed.", session.describe());
    interrupt::forgive();
    talk(&mut session)
}

/// Reads and does until there is nothing more to read. What fails is told, and the conversation goes on.
fn talk(session: &mut Session) -> Result<Done> {
    let mut input = Input::open()?;
    let mut out = std::io::stdout().lock();
    loop {
        interrupt::clear();
        if let Some(call) = session.awaited() {
            say!("what did {} come to?", call.name);
        }
        let done = match input.read()? {
            Line::Unreadable(error) => Err(error),
            Line::End => return Ok(Done::Fine),
            Line::Interrupted => {
                say!("ctrl-D or /exit leaves");
                continue;
            }
            Line::Text(text) => match command::parse(&text) {
                Ok(Command::Exit) => return Ok(Done::Fine),
                Ok(command) => obey(session, command, &mut out),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = done {
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
                return Err(error);
            }
            report::tell(&error);
        }
    }
}

fn obey(session: &mut Session, command: Command, out: &mut impl Write) -> Result<()> {
    match command {
        Command::Nothing | Command::Exit => {}
        Command::Say(text) if session.awaited().is_some() => session.result(&text, out)?,
        Command::Say(text) => session.say(&text, out)?,
        Command::Regenerate => session.regenerate(out)?,
        Command::Alpha(None) => writeln!(out, "{}", session.alphas())?,
        Command::Alpha(Some(alphas)) => {
            session.set_alphas(alphas)?;
            say!("{}", session.alphas());
        }
        Command::System(None) => match session.system() {
            Some(system) => writeln!(out, "{}", shown(system))?,
            None => say!("there is no system prompt"),
        },
        Command::System(Some(text)) => {
            session.set_system(&text);
            say!("the system prompt {}", if text.is_empty() { "is gone" } else { "stands in front from now on" });
        }
        Command::Reset => {
            session.reset();
            say!("the conversation begins anew");
        }
        Command::Undo => match session.undo() {
            Some(text) => say!("taken back: {}", first_line(&text)),
            None => say!("there is nothing to take back"),
        },
        Command::Save(path) => {
            let n = session.save(Path::new(&path))?;
            say!("{n} messages written to {path}");
        }
        Command::Load(path) => {
            let n = session.load(Path::new(&path))?;
            say!("{n} messages read from {path}");
        }
        Command::Why => session.why(out)?,
        Command::Compare => session.compare(out)?,
        Command::Help => writeln!(out, "{}", command::HELP)?,
    }
    Ok(())
}

/// Enough of a message to know it by.
fn first_line(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.len() => format!("{line}…"),
        None => line.to_owned(),
    }
}
