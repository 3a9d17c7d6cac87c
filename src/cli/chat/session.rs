//! A conversation and the models that take part in it.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow};

use super::super::report::Hinted;
use super::super::terminal::{say, shown};
use super::super::{answer, args, interrupt};
use super::{saved, why};
use crate::engine::Engine;
use crate::generate::event::Kind;
use crate::generate::probs::Position;
use crate::generate::said::Delta;
use crate::generate::{Answer, Failure, Input, Request, Said};
use crate::inspect::CANCELLED_BASE;
use crate::llama::Token;
use crate::prompt::{Call, Conversation, Generated, Message, Speaker, View};
use crate::recipe::Schedule;
use crate::steer::{Ensemble, Role, Sampled, WeightsRequest};

pub struct Session {
    engine: Engine,
    conversation: Conversation,
    request: Request,
    seed: u32,
    /// Tell how fast every answer was.
    perf: bool,
    /// Answers begun: each has random numbers of its own, the same in every run of the same session.
    n_answers: u32,
    /// What was seen while the last answers were made, the last one's at the end.
    seen: Vec<Seen>,
}

struct Seen {
    seed: u32,
    positions: Vec<Position>,
}

impl Session {
    pub fn new(engine: Engine, conversation: Conversation, request: Request, perf: bool) -> Self {
        let seed = request.sampling.seed.unwrap_or_default();
        Self { engine, conversation, request, seed, perf, n_answers: 0, seen: Vec::new() }
    }

    /// Who takes part, what each sees, and how far the pairs steer.
    pub fn describe(&self) -> String {
        let ensemble = self.engine.ensemble();
        let mut lines = Vec::new();
        for role in ensemble.topology().roles() {
            let Some(lane) = ensemble.lane(role) else { continue };
            let file = ensemble.loaded().name(lane);
            let View { template, system, prefix, prompt } = &ensemble.lanes()[lane].view;
            let mut sees = vec![if template.is_some() { "chat template" } else { "plain text" }];
            sees.extend(prompt.as_ref().map(|text| if text.is_empty() { "no prompt" } else { "a prompt of its own" }));
            sees.extend(
                system.as_ref().map(|text| if text.is_empty() { "no system prompt" } else { "its own system prompt" }),
            );
            sees.extend(prefix.as_ref().map(|_| "a text in front"));
            lines.push(format!("{role}: {file}, {}", sees.join(", ")));
        }
        if ensemble.topology().n_pairs() > 0 {
            lines.push(self.alphas());
        }
        if let Some(tools) = &self.conversation.tools {
            lines.push(format!("tools: {}", tools.names().join(", ")));
        }
        lines.join("\n")
    }

    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Puts what was `typed` beside a conversation that is loaded over what that says.
    pub fn keep_asked(&mut self, args: &args::Conversation, typed: Conversation) {
        if args.system_prompt.is_some() || args.system_prompt_file.is_some() {
            let system = typed.messages.into_iter().find(|message| message.speaker == Speaker::System);
            self.set_system(system.map(|message| message.text).as_deref().unwrap_or_default());
        }
        if args.response_prefix.is_some() {
            self.conversation.prefix = typed.prefix;
        }
    }

    pub fn alphas(&self) -> String {
        let topology = self.engine.ensemble().topology();
        if topology.n_pairs() == 0 {
            return "there is no pair to steer with".to_owned();
        }
        topology.weights(&self.request.weights).map(|weights| weights.to_string()).unwrap_or_default()
    }

    pub fn set_alphas(&mut self, alphas: Vec<Schedule>) -> Result<()> {
        let asked = WeightsRequest { alpha: alphas, ..WeightsRequest::default() };
        let topology = self.engine.ensemble().topology();
        let weights = topology.weights(&asked)?;
        if self.request.sampling.plausibility == 0.0 && topology.cancels_base(&weights) {
            say!("note: {CANCELLED_BASE}");
        }
        self.request.weights = asked;
        Ok(())
    }

    pub fn system(&self) -> Option<&str> {
        let first = self.conversation.messages.first();
        first.filter(|message| message.speaker == Speaker::System).map(|message| message.text.as_str())
    }

    /// Stands in front of the whole conversation from now on; an empty one is none.
    pub fn set_system(&mut self, text: &str) {
        if self.system().is_some() {
            self.conversation.messages.remove(0);
        }
        if !text.is_empty() {
            self.conversation.messages.insert(0, Message::new(Speaker::System, text));
        }
    }

    pub fn reset(&mut self) {
        self.conversation.messages.retain(|message| message.speaker == Speaker::System);
        self.seen.clear();
    }

    /// Takes back the last message with its answer; its text.
    pub fn undo(&mut self) -> Option<String> {
        let messages = &mut self.conversation.messages;
        // With what was called on the way to its answer.
        while let Some(message) = messages.pop_if(|last| matches!(last.speaker, Speaker::Assistant | Speaker::Tool)) {
            if message.speaker == Speaker::Assistant {
                self.seen.pop();
            }
        }
        messages.pop_if(|message| message.speaker == Speaker::User).map(|message| message.text)
    }

    /// The call whose result is the next to be typed in.
    pub fn awaited(&self) -> Option<&Call> {
        let messages = &self.conversation.messages;
        let at = messages.iter().rposition(|message| message.speaker != Speaker::Tool)?;
        messages[at].calls.get(messages.len() - at - 1)
    }

    /// Takes in the result of a call. Behind the last one the answer goes on; where nothing is answered, it is taken back.
    pub fn result(&mut self, text: &str, out: &mut impl Write) -> Result<()> {
        let Some(id) = self.awaited().map(|call| call.id.clone()) else { return Err(anyhow!("nothing was called")) };
        self.answer_to(Message { answers: Some(id), ..Message::new(Speaker::Tool, text) }, out)
    }

    fn drop_answer(&mut self) -> Option<Message> {
        self.conversation.messages.pop_if(|message| message.speaker == Speaker::Assistant)
    }

    /// Answers a message. Where nothing is answered, the message is not part of the conversation; where an answer fails
    /// midway, it ends there.
    pub fn say(&mut self, text: &str, out: &mut impl Write) -> Result<()> {
        self.answer_to(Message::new(Speaker::User, text), out)
    }

    fn answer_to(&mut self, message: Message, out: &mut impl Write) -> Result<()> {
        self.conversation.messages.push(message);
        if self.awaited().is_some() {
            return Ok(());
        }
        let (answer, ended) = self.answer(out);
        let is_answered = answer.is_some();
        match answer {
            Some((answer, seen)) => self.keep(answer, seen),
            None => drop(self.conversation.messages.pop()),
        }
        hint_where_full(ended)?;
        if !is_answered {
            say!("nothing was answered, and the message is taken back");
        }
        Ok(())
    }

    /// Makes the last answer anew. When that fails, the old one stays.
    pub fn regenerate(&mut self, out: &mut impl Write) -> Result<()> {
        let Some(old) = self.drop_answer() else { return Err(anyhow!("there is no answer yet")) };
        match self.answer(out) {
            (Some((answer, seen)), Ok(())) => {
                self.seen.pop();
                self.keep(answer, seen);
            }
            (_, ended) => {
                self.conversation.messages.push(old);
                hint_where_full(ended)?;
                say!("nothing was answered, and the old answer stays");
            }
        }
        Ok(())
    }

    fn keep(&mut self, answer: Message, seen: Seen) {
        self.conversation.messages.push(answer);
        self.seen.push(seen);
    }

    /// The next answer as far as it came, if any came, and how it ended.
    fn answer(&mut self, out: &mut impl Write) -> (Option<(Message, Seen)>, Result<()>) {
        let seed = self.seed.wrapping_add(self.n_answers) % u32::MAX;
        self.n_answers += 1;
        let mut answer = Answer::default();
        let ended = self.stream(seed, &mut answer, out);
        // What was said before it failed was said.
        let Answer { text, mut tokens, mut positions, started, .. } = answer;
        let prefix = self.conversation.prefix.clone();
        let said =
            said(self.engine.ensemble(), &tokens, text.get(prefix.len()..).unwrap_or_default(), &self.request.stop);
        let n_said = match said {
            Ok(n_said) => n_said,
            Err(error) => return (None, Err(error)),
        };
        tokens.truncate(n_said);
        positions.truncate(n_said);
        // The model may say nothing at all.
        let is_answered = !tokens.is_empty() || ended.is_ok() && !interrupt::stopped();
        let text = match text_of(self.engine.ensemble(), &tokens) {
            Ok(text) => format!("{prefix}{text}"),
            Err(error) => return (None, Err(error)),
        };
        let mut told = Said::new(started.calls.as_ref());
        told.hear(&text, true);
        let message = if told.calls.is_empty() {
            let generated = Some(Generated { prefix, tokens: tokens.clone() });
            Message { generated, ..Message::new(Speaker::Assistant, text) }
        } else {
            // A template writes calls itself.
            Message { calls: told.calls, ..Message::new(Speaker::Assistant, told.text) }
        };
        (is_answered.then_some((message, Seen { seed, positions })), ended)
    }

    fn stream(&mut self, seed: u32, answer: &mut Answer, out: &mut impl Write) -> Result<()> {
        let mut request = self.request.clone();
        request.input = Input::Conversation(self.conversation.clone());
        request.sampling.seed = Some(seed);
        stream(&mut self.engine, &request, &self.conversation.prefix, answer, self.perf, out)
    }

    /// Where steering led away from the base in the last answer.
    pub fn why(&self, out: &mut impl Write) -> Result<()> {
        let seen = self.seen.last().ok_or_else(|| anyhow!("there is no answer of this session to look at"))?;
        why::print(&seen.positions, out)
    }

    /// The last message once more, answered by the base alone.
    pub fn compare(&mut self, out: &mut impl Write) -> Result<()> {
        let mut conversation = self.conversation.clone();
        if conversation.messages.pop_if(|message| message.speaker == Speaker::Assistant).is_none() {
            return Err(anyhow!("there is no answer to compare with"));
        }
        say!("the base alone:");
        let prefix = conversation.prefix.clone();
        let mut request = Request { sampled: Sampled::Alone(Role::Base), n_probs: None, ..self.request.clone() };
        request.input = Input::Conversation(conversation);
        request.sampling.seed = Some(self.seen.last().map_or(self.seed, |seen| seen.seed));
        hint_where_full(stream(&mut self.engine, &request, &prefix, &mut Answer::default(), self.perf, out))
    }

    pub fn save(&self, path: &Path) -> Result<usize> {
        saved::write(path, &self.conversation)?;
        Ok(self.conversation.messages.len())
    }

    /// Reads a conversation in place of this one.
    pub fn load(&mut self, path: &Path) -> Result<usize> {
        let mut conversation = saved::read(path)?;
        for message in &mut conversation.messages {
            let Some(Generated { prefix, tokens }) = &message.generated else { continue };
            let ensemble = self.engine.ensemble();
            let (model, ends) = (ensemble.model(0), ensemble.ends(Sampled::Steered)?);
            let is_text = tokens.iter().all(|&token| !model.is_control(token) && !ends.is_eog(token));
            let text = text_of(self.engine.ensemble(), tokens).map(|text| format!("{prefix}{text}"));
            if !is_text || !text.is_ok_and(|text| text == message.text) {
                say!("note: the tokens of an answer are not its text, as with another model; it is read as text");
                message.generated = None;
            }
        }
        self.seen.clear();
        self.conversation = conversation;
        Ok(self.conversation.messages.len())
    }
}

/// Shows an answer as it is decided, and gathers it.
fn stream(
    engine: &mut Engine,
    request: &Request,
    prefix: &str,
    answer: &mut Answer,
    perf: bool,
    out: &mut impl Write,
) -> Result<()> {
    prefix.clone_into(&mut answer.text);
    let mut is_begun = false;
    let tools = match &request.input {
        Input::Conversation(Conversation { tools: Some(toolbox), .. }) => {
            let names = toolbox.callable().map(|tool| tool.name.clone()).collect();
            Some((engine.ensemble().loaded().call_style(request.sampled)?, names))
        }
        _ => None,
    };
    let mut said = Said::new(tools.as_ref());
    let ended = answer::run(engine, request, interrupt::flag(), answer, |text, _| {
        // A request that cannot be run shows nothing.
        if !std::mem::replace(&mut is_begun, true) {
            write!(out, "{}", shown(prefix))?;
        }
        let words: String = said.hear(text, false).into_iter().map(Delta::into_text).collect();
        write!(out, "{}", shown(&words))?;
        out.flush()
    });
    if is_begun {
        let words: String = said.hear("", true).into_iter().map(Delta::into_text).collect();
        write!(out, "{}", shown(&words))?;
        for (i, call) in said.calls.iter().enumerate() {
            let line_before = if i == 0 && said.text.is_empty() { "" } else { "\n" };
            write!(out, "{line_before}{}({})", call.name, shown(&call.arguments))?;
        }
        if !answer.text.is_empty() && !answer.text.ends_with('\n') {
            writeln!(out)?;
        }
        writeln!(out)?;
        out.flush()?;
    }
    answer::note_what_is_amiss(answer);
    let read = ended?;
    if perf {
        answer::tell_perf(answer, read, request.sampling.seed);
    }
    Ok(())
}

/// How many of an answer's tokens are its text: not those that end it, nor those of a stop text.
fn said(ensemble: &Ensemble, tokens: &[Token], text: &str, stop: &[String]) -> Result<usize> {
    let ends = ensemble.ends(Sampled::Steered)?;
    let n = tokens.iter().position(|&token| ends.is_eog(token)).unwrap_or(tokens.len());
    if stop.is_empty() {
        return Ok(n);
    }
    let mut bytes = Vec::new();
    for (n, &token) in tokens[..n].iter().enumerate() {
        ensemble.model(0).append_piece(token, &mut bytes)?;
        // The last character may still be a part of one.
        let so_far = String::from_utf8_lossy(&bytes);
        if !text.starts_with(so_far.trim_end_matches('\u{fffd}')) {
            return Ok(n);
        }
    }
    Ok(n)
}

fn text_of(ensemble: &Ensemble, tokens: &[Token]) -> Result<String> {
    let mut bytes = Vec::new();
    for &token in tokens {
        ensemble.model(0).append_piece(token, &mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What can be done about a conversation that has grown too long.
fn hint_where_full(ended: Result<()>) -> Result<()> {
    let Err(error) = ended else { return Ok(()) };
    let is_full = error.downcast_ref::<Failure>().is_some_and(|failure| failure.kind == Kind::ContextLength);
    if is_full {
        Err(error).hint("a shorter message may fit; /reset begins anew, and -c gives more room from the start")
    } else {
        Err(error)
    }
}
