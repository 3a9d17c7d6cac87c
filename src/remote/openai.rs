//! `/v1/completions` as `OpenAI` has it, and vLLM's with ids in it.
//!
//! The first knows text alone: a prompt goes out as what its ids spell, and the words that come back are looked up by their
//! bytes. vLLM takes and gives ids, and tells of the tokens of a prompt too.

use serde_json::{Value, json};

use super::position::Position;
use super::words::Index;
use super::{Error, Token};

pub(super) const PATH: &str = "/v1/completions";

/// Behind a text: what the base thinks, and writes on.
pub(super) fn look_at_text(model: &str, prompt: &str, n_tokens: u32, n_logprobs: u32) -> Value {
    json!({"model": model, "prompt": prompt, "max_tokens": n_tokens, "logprobs": n_logprobs, "temperature": 0.0, "stream": false})
}

/// Behind ids, of vLLM. With `n_prompt`, the log-probabilities of the prompt's own tokens come too.
pub(super) fn look_at_ids(model: &str, prompt: &[Token], n_tokens: u32, n_logprobs: i64, scores: bool) -> Value {
    let mut request = json!({
        "model": model, "prompt": prompt, "max_tokens": n_tokens, "logprobs": n_logprobs, "temperature": 0.0, "stream": false,
        "return_tokens_as_token_ids": true, "return_token_ids": true, "add_special_tokens": false, "ignore_eos": true,
        "skip_special_tokens": false,
    });
    if scores {
        request["prompt_logprobs"] = n_logprobs.into();
    }
    request
}

/// The log-probabilities of ids that are named, of a vLLM that takes them.
pub(super) fn look_at_named(model: &str, prompt: &[Token], ids: &[Token]) -> Value {
    let mut request = look_at_ids(model, prompt, 1, 1, false);
    request["logprob_token_ids"] = ids.into();
    request
}

/// What an answer holds.
pub(super) struct Answer {
    /// Tokens that were written; `None` for a word that stands for no one id.
    pub tokens: Vec<Option<Token>>,
    /// What the base thought in front of each of them.
    pub positions: Vec<Position>,
    /// The base ended the text before it wrote anything.
    pub has_ended: bool,
}

/// How a word of an answer becomes an id.
pub(super) enum Spelling<'a> {
    /// By its bytes.
    Bytes(&'a Index),
    /// `token_id:N`, by the server's ids, which this turns into the small models'.
    Ids(&'a dyn Fn(i64) -> Option<Token>),
}

impl Spelling<'_> {
    fn id_of_bytes(&self, bytes: &[u8]) -> Option<Token> {
        match self {
            Self::Bytes(index) => index.id_of(bytes),
            Self::Ids(_) => self.id(std::str::from_utf8(bytes).ok()?),
        }
    }

    fn id(&self, word: &str) -> Option<Token> {
        match self {
            Self::Bytes(index) => index.id(word),
            Self::Ids(own) => own(word.strip_prefix("token_id:")?.parse().ok()?),
        }
    }
}

/// Reads an answer.
pub(super) fn read(
    answer: &Value,
    n_vocab: usize,
    spelling: &Spelling<'_>,
    garbage: &dyn Fn(String) -> Error,
) -> Result<Answer, Error> {
    let choice = answer["choices"].get(0).ok_or_else(|| garbage("no `choices`".to_owned()))?;
    let has_ended = choice["finish_reason"] == "stop";
    let logprobs = &choice["logprobs"];
    let top = logprobs["top_logprobs"].as_array();
    let words = logprobs["tokens"].as_array();
    if let Some(content) = logprobs["content"].as_array().filter(|content| !content.is_empty()) {
        return read_content(content, n_vocab, spelling, garbage);
    }
    let (Some(top), Some(words)) = (top, words) else {
        if has_ended && choice["text"].as_str().is_some_and(str::is_empty) {
            return Ok(Answer { tokens: Vec::new(), positions: Vec::new(), has_ended });
        }
        return Err(garbage("no `logprobs`".to_owned()));
    };
    let tokens: Vec<_> = words.iter().map(|word| spelling.id(word.as_str()?)).collect();
    let mut positions = Vec::new();
    for shown in top {
        let shown = shown.as_object().ok_or_else(|| garbage("no log-probabilities at a position".to_owned()))?;
        let mut entries = Vec::with_capacity(shown.len());
        for (word, logprob) in shown {
            let number = logprob.as_f64().ok_or_else(|| garbage(format!("the log-probability {logprob}")))?;
            entries.push((spelling.id(word), number));
        }
        positions.push(Position::of(entries, n_vocab, garbage)?);
    }
    Ok(Answer { tokens, positions, has_ended: has_ended && top.is_empty() })
}

/// The newer form, which chats have and llama-server's completions: entries with the bytes of their tokens.
fn read_content(
    content: &[Value],
    n_vocab: usize,
    spelling: &Spelling<'_>,
    garbage: &dyn Fn(String) -> Error,
) -> Result<Answer, Error> {
    let id = |entry: &Value| match entry["bytes"].as_array() {
        Some(bytes) => {
            spelling.id_of_bytes(&bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Vec<_>>())
        }
        None => spelling.id(entry["token"].as_str()?),
    };
    let (mut tokens, mut positions) = (Vec::new(), Vec::new());
    for told in content {
        let top = told["top_logprobs"].as_array().ok_or_else(|| garbage("no `top_logprobs`".to_owned()))?;
        let mut entries = Vec::with_capacity(top.len());
        for entry in top {
            let number = entry["logprob"].as_f64();
            entries
                .push((id(entry), number.ok_or_else(|| garbage(format!("the log-probability {}", entry["logprob"])))?));
        }
        positions.push(Position::of(entries, n_vocab, garbage)?);
        tokens.push(id(told));
    }
    Ok(Answer { tokens, positions, has_ended: false })
}

/// What vLLM thinks of each token of a prompt behind its first: position `i` is behind `i + 1` tokens.
pub(super) fn read_prompt(
    answer: &Value,
    n_vocab: usize,
    own: impl Fn(i64) -> Option<Token>,
    garbage: &dyn Fn(String) -> Error,
) -> Result<Vec<Position>, Error> {
    let choice = answer["choices"].get(0).ok_or_else(|| garbage("no `choices`".to_owned()))?;
    let told = choice["prompt_logprobs"].as_array().ok_or_else(|| garbage("no `prompt_logprobs`".to_owned()))?;
    let mut positions = Vec::with_capacity(told.len());
    // Nothing stands in front of the first.
    for shown in told.iter().skip(1) {
        let shown =
            shown.as_object().ok_or_else(|| garbage("no log-probabilities at a token of the prompt".to_owned()))?;
        let mut entries = Vec::with_capacity(shown.len());
        for (id, told) in shown {
            let number = told["logprob"].as_f64().ok_or_else(|| garbage(format!("the log-probability {told}")))?;
            let id = id.parse().map_err(|_| garbage(format!("the id {id:?}")))?;
            entries.push((own(id), number));
        }
        positions.push(Position::of(entries, n_vocab, garbage)?);
    }
    Ok(positions)
}
