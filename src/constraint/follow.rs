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

/// Tokens that may come next.
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a>(&'a SimpleVob);

impl Mask<'_> {
    /// Whether a token of the vocabulary is one of them.
    #[must_use]
    pub fn allows(self, token: TokenId) -> bool {
        self.0.get(token as usize)
    }
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

    /// The tokens that may come next. An error where finding out took more than it may.
    pub fn mask(&mut self) -> Result<Mask<'_>, Refused> {
        let mask = match &mut self.mask {
            Some(mask) => mask,
            empty => {
                let mut mask = self.matcher.compute_mask_or_eos().map_err(|error| Refused::Step(in_words(&error)))?;
                if self.has_ended {
                    mask.set_all(false);
                    mask.set(self.end as usize, true);
                }
                let may_end = mask.get(self.end as usize);
                self.eog.iter().for_each(|&token| mask.set(token as usize, may_end));
                empty.insert(mask)
            }
        };
        Ok(Mask(mask))
    }

    /// Whether a token is one of them.
    pub fn allows(&mut self, token: TokenId) -> Result<bool, Refused> {
        self.mask().map(|mask| mask.allows(token))
    }

    fn ends(&self, token: TokenId) -> bool {
        self.eog.binary_search(&token).is_ok()
    }

    /// Goes on behind a token that is allowed.
    pub fn accept(&mut self, token: TokenId) -> Result<(), Refused> {
        if self.ends(token) {
            (self.has_ended, self.mask) = (true, None);
            return Ok(());
        }
        self.mask = None;
        self.matcher.consume_token(token).map_err(|error| Refused::Step(in_words(&error)))
    }

    /// What has to come next, as far as there is no choice.
    pub fn forced_bytes(&mut self) -> Vec<u8> {
        if self.has_ended { Vec::new() } else { self.matcher.compute_ff_bytes() }
    }

    /// The tokens that spell it, the longest ones first. Others may spell it too.
    pub fn forced(&mut self) -> Vec<TokenId> {
        let bytes = self.forced_bytes();
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
