//! Log-probabilities as clients read them: those of the distribution that tokens are drawn from, before any sampler cuts it.

use serde_json::{Map, Value, json};

use crate::generate::probs::{Logprob, Position};

/// What `OpenAI`'s API says for a token that cannot be.
const NEVER: f64 = -9999.0;

fn logprob(token: &Logprob) -> f64 {
    token.composed.unwrap_or(NEVER).max(NEVER)
}

fn entry(token: &Logprob) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("id".to_owned(), json!(token.id));
    entry.insert("token".to_owned(), json!(token.piece()));
    entry.insert("bytes".to_owned(), json!(token.bytes));
    entry.insert("logprob".to_owned(), json!(logprob(token)));
    entry
}

/// Entries of tokens, one after the other.
pub fn contents(positions: &[Position], n_top: usize) -> Value {
    positions.iter().map(|position| content(position, n_top)).collect()
}

/// An entry of `logprobs.content` in chat replies, and of `completion_probabilities` in llama-server's own, with so many
/// candidates: more may have been looked at for an explanation.
fn content(position: &Position, n_top: usize) -> Value {
    let mut chosen = entry(&position.chosen);
    let top: Vec<_> = position.top.iter().take(n_top).map(entry).collect();
    chosen.insert("top_logprobs".to_owned(), json!(top));
    Value::Object(chosen)
}

/// A prompt that is told again.
#[derive(Debug, Default)]
pub struct Echo {
    /// As it was sent; of ids what they spell.
    pub text: String,
    /// Its first token, of which nothing is predicted.
    first: Option<String>,
    /// Characters of tokens that the model wants in front of a text, and nobody sent.
    n_hidden: usize,
}

impl Echo {
    /// `sent`: the text, where it was one. `pieces`: what each of its tokens spells.
    pub fn new(sent: Option<String>, pieces: &[String]) -> Self {
        let spelled = pieces.concat();
        let n = |text: &str| text.chars().count();
        let n_hidden = sent.as_ref().map_or(0, |sent| n(&spelled).saturating_sub(n(sent)));
        Self { text: sent.unwrap_or(spelled), first: pieces.first().cloned(), n_hidden }
    }
}

/// The lists of the older completions API, with llama-server's entries beside them.
#[derive(Debug, Default)]
pub struct Legacy {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    text_offset: Vec<usize>,
    content: Vec<Value>,
    n_chars: usize,
    /// Characters at the beginning that are no part of the text.
    n_hidden: usize,
    /// Candidates of each token.
    n_top: usize,
}

impl Legacy {
    /// Lists of a prompt that is told again, and of the text behind it.
    pub fn of(echo: &Echo, n_top: usize) -> Self {
        let mut lists = Self { n_hidden: echo.n_hidden, n_top, ..Self::default() };
        if let Some(first) = &echo.first {
            lists.push_token(first);
            lists.token_logprobs.push(None);
            lists.top_logprobs.push(None);
        }
        lists
    }

    /// Lists of which the first entry begins `n_chars` characters into the text.
    pub fn behind(n_chars: usize, n_top: usize) -> Self {
        Self { n_chars, n_top, ..Self::default() }
    }

    pub fn push(&mut self, position: &Position) {
        self.push_token(&position.chosen.piece());
        self.token_logprobs.push(Some(logprob(&position.chosen)));
        // Different bytes may have the same text: the more probable one stays.
        let mut top = Map::new();
        for token in position.top.iter().take(self.n_top) {
            top.entry(token.piece()).or_insert_with(|| json!(logprob(token)));
        }
        self.top_logprobs.push(Some(top));
        self.content.push(content(position, self.n_top));
    }

    fn push_token(&mut self, piece: &str) {
        self.text_offset.push(self.n_chars.saturating_sub(self.n_hidden));
        self.n_chars += piece.chars().count();
        self.tokens.push(piece.to_owned());
    }

    pub fn json(&self) -> Value {
        json!({
            "tokens": self.tokens, "token_logprobs": self.token_logprobs, "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset, "content": self.content,
        })
    }
}
