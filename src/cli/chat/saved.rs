//! Conversations on disk: JSON, with the tokens that answers were generated as.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use super::super::report::Hinted;
use super::super::text::read_file;
use crate::llama::Token;
use crate::prompt::{Call, Conversation, Generated, Message, Speaker};

/// Of the form of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    proxytune_chat: u32,
    /// What answers are made to start with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    response_prefix: String,
    messages: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    role: Role,
    content: String,
    /// Of an answer: what it was made to start with, and the tokens behind that, by the base's ids.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<Token>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

/// The speakers as chat APIs spell them.
#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// Writes a conversation, over an older one if there is one; what is no conversation is left alone.
pub fn write(path: &Path, conversation: &Conversation) -> Result<()> {
    if conversation.messages.is_empty() {
        return Err(anyhow!("there is nothing to save yet"));
    }
    if path.exists() && read(path).is_err() {
        return Err(anyhow!("{} is there and is no saved conversation", path.display()))
            .hint("take another name, or move that file away");
    }
    let entry = |message: &Message| {
        let role = match message.speaker {
            Speaker::System => Role::System,
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
            Speaker::Tool => Role::Tool,
        };
        let generated = message.generated.clone();
        let (prefix, tokens) = generated.map_or((String::new(), None), |g| (g.prefix, Some(g.tokens)));
        Entry {
            role,
            content: message.text.clone(),
            prefix,
            tokens,
            tool_calls: message.calls.clone(),
            tool_call_id: message.answers.clone(),
        }
    };
    let file = File {
        proxytune_chat: VERSION,
        response_prefix: conversation.prefix.clone(),
        messages: conversation.messages.iter().map(entry).collect(),
    };
    let text = serde_json::to_string_pretty(&file)?;
    // Whole or not at all: an older one under that name is not lost to a full disk.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut part| {
        writeln!(part, "{text}")?;
        part.persist(path).map_err(|error| error.error).map(drop)
    });
    written.map_err(|error| anyhow!("cannot write {}: {}", path.display(), of_system(&error)))
}

/// What the system says of a file. tempfile puts the name that it made up behind that, which tells nobody anything.
fn of_system(error: &std::io::Error) -> String {
    let said = error.to_string();
    said.split(" at path ").next().map_or_else(|| said.clone(), str::to_owned)
}

pub fn read(path: &Path) -> Result<Conversation> {
    if path.as_os_str() == "-" {
        return Err(anyhow!("a conversation is read from a file; stdin is where its messages come from"));
    }
    let file: File = serde_json::from_str(&read_file(path)?)
        .map_err(|error| anyhow!("{} is not a saved conversation: {error}", path.display()))?;
    if file.proxytune_chat != VERSION {
        let got = file.proxytune_chat;
        return Err(anyhow!("{} is of version {got}, expected {VERSION}", path.display()));
    }
    let message = |entry: Entry| {
        let speaker = match entry.role {
            Role::System => Speaker::System,
            Role::User => Speaker::User,
            Role::Assistant => Speaker::Assistant,
            Role::Tool => Speaker::Tool,
        };
        let generated = entry.tokens.map(|tokens| Generated { prefix: entry.prefix, tokens });
        Message {
            generated,
            calls: entry.tool_calls,
            answers: entry.tool_call_id,
            ..Message::new(speaker, entry.content)
        }
    };
    let messages = file.messages.into_iter().map(message).collect();
    Ok(Conversation { messages, prefix: file.response_prefix, ..Conversation::default() })
}
