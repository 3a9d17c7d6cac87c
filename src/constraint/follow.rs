//! An answer as it is followed.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokenId};

use super::form::{Refused, in_words};

/// An answer so far.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    /// Of the tokens behind what was accepted, once it was asked for.
    mask: Option<SimpleVob>,
    /// The place in it of all tokens that end a text.
    end: TokenId,
    /// Sorted.
    eog: Arc<[TokenId]>,
    notes: Arc<[String]>,
    has_ended: bool,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl Constraint {
    pub(super) fn new(matcher: Matcher, end: TokenId, eog: &[TokenId], notes: Vec<String>) -> Self {
        let mut eog = eog.to_vec();
        eog.sort_unstable();
        Self { matcher, mask: None, end, eog: eog.into(), notes: notes.into(), has_ended: false }
    }

    /// What of the form is not kept, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a token may come next. An error where finding out took more than it may.
    pub fn allows(&mut self, token: TokenId) -> Result<bool, Refused> {
        if self.has_ended {
            return Ok(self.ends(token));
        }
        let place = if self.ends(token) { self.end } else { token };
        let mask = match &mut self.mask {
            Some(mask) => mask,
            empty => {
                let mask = self.matcher.compute_mask_or_eos().map_err(|error| Refused::Step(in_words(&error)))?;
                empty.insert(mask)
            }
        };
        Ok(mask.get(place as usize))
    }

    fn ends(&self, token: TokenId) -> bool {
        self.eog.binary_search(&token).is_ok()
    }

    /// Goes on behind a token that is allowed.
    pub fn accept(&mut self, token: TokenId) -> Result<(), Refused> {
        if self.ends(token) {
            self.has_ended = true;
            return Ok(());
        }
        self.mask = None;
        self.matcher.consume_token(token).map_err(|error| Refused::Step(in_words(&error)))
    }

    /// The tokens that spell what has to come next, as far as there is no choice: the longest ones first. Others may spell it too.
    pub fn forced(&mut self) -> Vec<TokenId> {
        if self.has_ended {
            return Vec::new();
        }
        let bytes = self.matcher.compute_ff_bytes();
        match self.matcher.tok_env() {
            Ok(env) if !bytes.is_empty() => env.tok_trie().greedy_tokenize(&bytes),
            _ => Vec::new(),
        }
    }

    /// Whether the answer may end here.
    pub fn is_complete(&mut self) -> bool {
        self.has_ended || self.matcher.is_accepting().unwrap_or(false)
    }
}
