//! What was found, with what it takes to show it: names of roles, pieces of tokens, and where they stand.

use std::sync::Arc;

use crate::arithmetic::logprobs::Standing;
use crate::eval::influence::{Influence, Influences, sides};
use crate::eval::texts::Texts;
use crate::generate::text::TextStream;
use crate::llama::Token;
use crate::llama::model::Model;
use crate::steer::{Ensemble, Sampled};

/// Tokens of the vocabulary that are listed as promoted, and as demoted.
pub const N_MOVED: usize = 10;
/// From how many nats on a token is shaded, and more strongly; the page of the server has the same.
pub const SHADES: [f64; 4] = [0.05, 0.25, 0.8, 2.0];

/// What was found in texts.
pub struct Found {
    pub influences: Influences,
    /// Experts and antiexperts by their names, each with its lane.
    pub sides: Vec<(String, usize)>,
    /// The weights of the sum in words.
    pub weights: String,
    pub n_ctx: usize,
    model: Arc<Model>,
    eog: Vec<Token>,
    prompts: Vec<Vec<Token>>,
}

impl Found {
    pub fn of(influences: Influences, ensemble: &Ensemble, texts: &Texts) -> Self {
        let topology = ensemble.topology();
        let sides = sides(topology).map(|(role, lane)| (role.to_string(), lane)).collect();
        // Every lane can be sampled from.
        let eog = ensemble.ends(Sampled::Steered).map(|ends| ends.eog.clone()).unwrap_or_default();
        let prompts = (0..texts.len()).map(|text| texts.prompt(text).to_vec()).collect();
        let (weights, n_ctx, model) = (topology.planned().to_string(), ensemble.n_ctx(), ensemble.model(0).clone());
        Self { influences, sides, weights, n_ctx, model, eog, prompts }
    }

    /// The tokens of each text of which something was read, with the text's number.
    pub fn texts(&self) -> impl Iterator<Item = (usize, &[Influence])> {
        self.influences.tokens.chunk_by(|a, b| a.text == b.text).map(|tokens| (tokens[0].text, tokens))
    }

    /// A token's own bytes, which may be a part of a character; none of what ends a text.
    pub fn bytes(&self, token: Token) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.eog.binary_search(&token).is_err() {
            // A token that cannot be spelled has no bytes.
            let _ = self.model.append_piece(token, &mut bytes);
        }
        bytes
    }

    /// A token's text; bytes that are no text are U+FFFD.
    pub fn piece(&self, token: Token) -> String {
        String::from_utf8_lossy(&self.bytes(token)).into_owned()
    }

    /// The same for a list of tokens: a control token by its name, and bytes that are no text by their numbers.
    pub fn name(&self, token: Token) -> String {
        let bytes = self.bytes(token);
        if bytes.is_empty() { self.model.piece(token) } else { told_apart(&bytes) }
    }

    /// The text of each token, as they follow one another: a character that several tokens share belongs to its last one.
    pub fn spelled(&self, tokens: &[Influence]) -> Vec<String> {
        let mut stream = TextStream::default();
        let mut spelled: Vec<_> = tokens.iter().map(|token| stream.push(&self.bytes(token.token))).collect();
        if let Some(last) = spelled.last_mut() {
            *last += &stream.finish();
        }
        spelled
    }

    /// What the base reads in front of a text.
    pub fn prompt(&self, text: usize) -> String {
        let bytes: Vec<u8> = self.prompts[text].iter().flat_map(|&token| self.bytes(token)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How a token stands under every role, by the roles' names: the base, the sides, and the sum.
    pub fn standings<'a>(&'a self, token: &'a Influence) -> impl Iterator<Item = (&'a str, Option<Standing>)> {
        let base = ("base", token.lanes.first().copied().flatten());
        let sides = self.sides.iter().map(|(name, lane)| (name.as_str(), token.lanes[*lane]));
        std::iter::once(base).chain(sides).chain([("steered", Some(token.steered))])
    }
}

/// Text, and ⟨C3⟩ for a byte that is a part of a character.
fn told_apart(bytes: &[u8]) -> String {
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let numbers = chunk.invalid().iter().map(|byte| format!("⟨{byte:02X}⟩"));
        std::iter::once(chunk.valid().to_owned()).chain(numbers).collect::<Vec<_>>()
    };
    bytes.utf8_chunks().flat_map(chunk).collect()
}

/// How strongly a token is shaded, from 0 to 4, by its divergence in nats.
pub fn shade(divergence: f64) -> usize {
    SHADES.iter().filter(|bound| divergence >= **bound).count()
}

/// In percent, short.
pub fn percent(logprob: f64) -> String {
    let share = 100.0 * logprob.exp();
    match share {
        99.95.. => "100 %".to_owned(),
        10.0.. => format!("{share:.0} %"),
        0.1.. => format!("{share:.1} %"),
        _ => "< 0.1 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_and_shares_have_bounds() {
        assert_eq!([0.0, 0.049, 0.05, 0.3, 0.8, 2.0, 9.0].map(shade), [0, 0, 1, 2, 3, 4, 4]);
        let shown = [0.9999_f64, 0.5, 0.0123, 0.0001].map(|p| percent(p.ln()));
        assert_eq!(shown, ["100 %", "50 %", "1.2 %", "< 0.1 %"]);
        assert_eq!(percent(f64::NEG_INFINITY), "< 0.1 %");
    }

    #[test]
    fn parts_of_characters_are_told_apart() {
        assert_eq!([&b" caf\xc3"[..], b"\xa9", b"a"].map(told_apart), [" caf⟨C3⟩", "⟨A9⟩", "a"]);
    }
}
