//! A conversation and the models that take part in it.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, anyhow};

use super::super::generate::Answer;
use super::super::interrupt;
use super::super::report::Hinted;
use super::{saved, why};
use crate::generate::Request;
use crate::generate::probs::Position;
use crate::llama::Token;
use crate::prompt::{Conversation, Generated, Message, Speaker};
use crate::recipe::Schedule;
use crate::steer::{Prompts, Steered};

pub struct Session {
    steered: Steered,
    conversation: Conversation,
    request: Request,
    seed: u32,
    /// Answers begun: each has random numbers of its own, the same in every run of the same session.
    n_answers: u32,
    /// What was seen while the last answer was made, as long as it is the last.
    last: Option<Last>,
}

struct Last {
    seed: u32,
    tokens: Vec<Token>,
    positions: Vec<Position>,
}

impl Session {
    pub fn new(steered: Steered, conversation: Conversation, request: Request) -> Self {
        let seed = request.sampling.seed.unwrap_or_default();
        Self { steered, conversation, request, seed, n_answers: 0, last: None }
    }

    /// Who takes part, and how far the pairs steer.
    pub fn describe(&self) -> String {
        let lane = |lane: crate::steer::lanes::LaneRef<'_>| {
            let file = lane.model().path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let view = if lane.view().template.is_some() { "chat template" } else { "plain text" };
            format!("{}: {file}, {view}", lane.role())
        };
        let lanes: Vec<_> = self.steered.iter().map(lane).collect();
        let alphas = if self.steered.offset().n_pairs() == 0 { String::new() } else { format!("; {}", self.alphas()) };
        format!("{}{alphas}", lanes.join("; "))
    }

    pub fn alphas(&self) -> String {
        let planned = self.steered.offset().alphas().cloned().collect();
        let alphas: Vec<Schedule> = if self.request.alphas.is_empty() { planned } else { self.request.alphas.clone() };
        let alphas: Vec<_> = alphas.iter().map(ToString::to_string).collect();
        if alphas.is_empty() {
            "there is no pair to steer with".to_owned()
        } else {
            format!("α = {}", alphas.join(" "))
        }
    }

    pub fn set_alphas(&mut self, alphas: Vec<Schedule>) -> Result<()> {
        self.steered.set_alphas(&alphas)?;
        self.request.alphas = alphas;
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
        self.last = None;
    }

    /// Takes back the last message with its answer; its text.
    pub fn undo(&mut self) -> Option<String> {
        self.last = None;
        self.drop_answer();
        let messages = &mut self.conversation.messages;
        messages.pop_if(|message| message.speaker == Speaker::User).map(|message| message.text)
    }

    fn drop_answer(&mut self) -> Option<Message> {
        self.conversation.messages.pop_if(|message| message.speaker == Speaker::Assistant)
    }

    /// Answers a message. When that fails, the message is not part of the conversation.
    pub fn say(&mut self, text: &str, out: &mut impl Write) -> Result<()> {
        self.conversation.messages.push(Message::new(Speaker::User, text));
        let answered = self.answer(out);
        if !matches!(answered, Ok(true)) {
            self.conversation.messages.pop();
        }
        if !answered.hint_where_full()? {
            eprintln!("nothing was answered, and the message is taken back");
        }
        Ok(())
    }

    /// Makes the last answer anew. When that fails, the old one stays.
    pub fn regenerate(&mut self, out: &mut impl Write) -> Result<()> {
        let Some(old) = self.drop_answer() else { return Err(anyhow!("there is no answer yet")) };
        let answered = self.answer(out);
        if !matches!(answered, Ok(true)) {
            self.conversation.messages.push(old);
        }
        if !answered.hint_where_full()? {
            eprintln!("nothing was answered, and the old answer stays");
        }
        Ok(())
    }

    /// Whether anything was answered.
    fn answer(&mut self, out: &mut impl Write) -> Result<bool> {
        let seed = self.seed.wrapping_add(self.n_answers) % u32::MAX;
        let prompts = self.steered.prompts(&self.conversation)?;
        let prefix = self.conversation.prefix.clone();
        let mut request = self.request.clone();
        request.sampling.seed = Some(seed);
        self.n_answers += 1;
        self.last = None;
        let (answer, ended) = stream(&mut self.steered, &prompts, &request, &prefix, out)?;
        // What was said before it failed was said.
        let (mut tokens, mut positions) = (answer.tokens, answer.positions);
        let n_kept = said(&self.steered, &tokens, &answer.text[prefix.len()..])?;
        tokens.truncate(n_kept);
        positions.truncate(n_kept);
        let is_answered = !tokens.is_empty() || ended.is_ok() && !interrupt::stopped();
        if is_answered {
            let text = format!("{prefix}{}", text_of(&self.steered, &tokens)?);
            let generated = Some(Generated { prefix, tokens: tokens.clone() });
            self.conversation.messages.push(Message { speaker: Speaker::Assistant, text, generated });
            self.last = Some(Last { seed, tokens, positions });
        }
        ended?;
        Ok(is_answered)
    }

    /// Where the best token of the last answer is another than the base's.
    pub fn why(&self, out: &mut impl Write, colour: bool) -> Result<()> {
        let last = self.last.as_ref().ok_or_else(|| anyhow!("there is no answer of this session to look at"))?;
        why::print(&self.steered, &last.tokens, &last.positions, out, colour)
    }

    /// The last message once more, answered by the base alone.
    pub fn compare(&mut self, out: &mut impl Write) -> Result<()> {
        let mut conversation = self.conversation.clone();
        if conversation.messages.pop_if(|message| message.speaker == Speaker::Assistant).is_none() {
            return Err(anyhow!("there is no answer to compare with"));
        }
        let mut request = Request { alphas: Vec::new(), n_probs: None, ..self.request.clone() };
        request.sampling.seed = Some(self.last.as_ref().map_or(self.seed, |last| last.seed));
        let alone = self.steered.base_alone(|base| {
            let prompts = base.prompts(&conversation)?;
            let (_, ended) = stream(base, &prompts, &request, &conversation.prefix, out)?;
            ended
        });
        alone.ok_or_else(|| anyhow!("the base has no second sequence"))?
    }

    pub fn save(&self, path: &Path) -> Result<usize> {
        saved::write(path, &self.conversation)?;
        Ok(self.conversation.messages.len())
    }

    /// Reads a conversation in place of this one.
    pub fn load(&mut self, path: &Path) -> Result<usize> {
        let mut conversation = saved::read(path)?;
        for message in &mut conversation.messages {
            if let Some(Generated { prefix, tokens }) = &message.generated
                && text_of(&self.steered, tokens).ok().map(|text| format!("{prefix}{text}")).as_ref()
                    != Some(&message.text)
            {
                eprintln!("note: an answer was made with another vocabulary, and is read as text");
                message.generated = None;
            }
        }
        self.last = None;
        self.conversation = conversation;
        Ok(self.conversation.messages.len())
    }
}

/// Shows an answer as it is decided. The outer error is of the terminal, the inner one of the models.
fn stream(
    steered: &mut Steered,
    prompts: &Prompts,
    request: &Request,
    prefix: &str,
    out: &mut impl Write,
) -> Result<(Answer, Result<()>)> {
    let stopped: &AtomicBool = interrupt::flag();
    write!(out, "{prefix}")?;
    let mut answer = Answer::starting_with(prefix);
    let ended = answer.generate(steered, prompts, request, stopped, |text, _| {
        write!(out, "{text}")?;
        out.flush()
    });
    if !answer.text.is_empty() && !answer.text.ends_with('\n') {
        writeln!(out)?;
    }
    writeln!(out)?;
    out.flush()?;
    Ok((answer, ended))
}

/// How many of an answer's tokens were shown: not those that end it, nor those of a stop text.
fn said(steered: &Steered, tokens: &[Token], text: &str) -> Result<usize> {
    let mut bytes = Vec::new();
    for (n, &token) in tokens.iter().enumerate() {
        if steered.is_eog(token) {
            return Ok(n);
        }
        let before = bytes.len();
        steered.base().model().append_piece(token, &mut bytes)?;
        // The last character may be cut, and stands in the text as a replacement.
        let is_shown = text
            .as_bytes()
            .get(before..)
            .is_some_and(|rest| rest.starts_with(&bytes[before..]) || std::str::from_utf8(&bytes).is_err());
        if !is_shown {
            return Ok(n);
        }
    }
    Ok(tokens.len())
}

fn text_of(steered: &Steered, tokens: &[Token]) -> Result<String> {
    let mut bytes = Vec::new();
    for &token in tokens {
        steered.base().model().append_piece(token, &mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

trait HintWhereFull<T> {
    fn hint_where_full(self) -> Result<T>;
}

impl<T> HintWhereFull<T> for Result<T> {
    /// What can be done about a conversation that has grown too long.
    fn hint_where_full(self) -> Result<T> {
        match self {
            Err(error) if matches!(error.downcast_ref(), Some(crate::steer::Error::PromptTooLong { .. })) => {
                Err(error).hint("/undo or /reset make room; -c gives more from the start")
            }
            other => other,
        }
    }
}
