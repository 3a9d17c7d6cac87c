//! A vocabulary as llguidance wants it, and forms compiled for it.

use std::sync::{Arc, OnceLock};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};

use super::calls;
use super::follow::Constraint;
use super::form::{Form, Refused, in_words};
use super::gbnf;
use super::schema;
use crate::sampling::Sampling;

/// A model's tokens. Made once for a vocabulary: that takes some milliseconds for each 10,000.
pub struct Tokens {
    factory: ParserFactory,
    /// Stands for all tokens that end a text, behind the vocabulary.
    end: TokenId,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

struct Env(TokTrie);

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    /// Other tokens may spell the same bytes, so none is forced; see [`Constraint::forced`].
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

/// A regular expression of more bytes is refused.
const MAX_REGEX_BYTES: usize = 64 << 10;

impl Tokens {
    /// `bytes[id]`: what a token writes, nothing for one that is never part of an answer. One that has a name and writes nothing is
    /// given as [`Self::named`].
    pub fn new(bytes: &[Vec<u8>]) -> Result<Self, Refused> {
        let end = bytes.len() as TokenId;
        let mut words = bytes.to_vec();
        words.push(Self::named("<|end|>"));
        let info = TokRxInfo::new(words.len() as u32, end);
        let env: TokEnv = Arc::new(Env(TokTrie::from(&info, &words)));
        let slices = SlicedBiasComputer::json_slices();
        let factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(|error| Refused::Step(in_words(&error)))?;
        factory.quiet();
        // Errors are told to people: without the parser's state.
        *factory.limits_mut() = ParserLimits { verbose_errors: false, ..ParserLimits::default() };
        Ok(Self { factory, end })
    }

    /// The bytes of a token that is called by its name and not spelled.
    #[must_use]
    pub fn named(name: &str) -> Vec<u8> {
        [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat()
    }

    /// A token for each byte: what can be told of a form without a model.
    #[must_use]
    pub fn of_bytes() -> &'static Self {
        static BYTES: OnceLock<Tokens> = OnceLock::new();
        BYTES.get_or_init(|| {
            let bytes: Vec<_> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
            match Self::new(&bytes) {
                Ok(tokens) => tokens,
                Err(refused) => unreachable!("a token for each byte: {refused}"),
            }
        })
    }

    /// An answer's beginning; `eog` are the tokens that end it.
    pub fn constrain(&self, form: &Form, eog: &[TokenId]) -> Result<Constraint, Refused> {
        let (matcher, notes) = match form {
            Form::Json(json) => {
                let kept = schema::kept(json, &|schema| self.schema(schema)).map_err(Refused::Schema)?;
                (kept.matcher, kept.notes)
            }
            Form::Regex(regex) => (self.regex(regex).map_err(Refused::Regex)?, Vec::new()),
            Form::Grammar(grammar) => {
                let lark = gbnf::terminals(grammar)
                    .ok_or_else(|| Refused::Grammar("rules lead back to themselves".to_owned()))?;
                (self.matcher(TopLevelGrammar::from_lark(lark)).map_err(of_grammar)?, Vec::new())
            }
            Form::Calls(calls) => {
                let (lark, notes) = calls::lark(calls, &|schema| self.schema(schema)).map_err(Refused::Calls)?;
                (self.matcher(TopLevelGrammar::from_lark(lark)).map_err(Refused::Calls)?, notes)
            }
        };
        Ok(Constraint::new(matcher, self.end, eog, notes))
    }

    fn regex(&self, regex: &str) -> Result<Matcher, String> {
        if regex.len() > MAX_REGEX_BYTES {
            return Err(format!("it has {} bytes, at most {MAX_REGEX_BYTES} are accepted", regex.len()));
        }
        self.matcher(TopLevelGrammar::from_regex(regex))
    }

    /// What follows a schema, or why nothing can.
    fn schema(&self, schema: &serde_json::Value) -> Result<Matcher, String> {
        self.matcher(TopLevelGrammar::from_json_schema(schema::written(schema.clone())))
    }

    fn matcher(&self, grammar: TopLevelGrammar) -> Result<Matcher, String> {
        let parser = crate::contained::contained(|| self.factory.create_parser(grammar))?;
        let mut matcher = Matcher::new(parser);
        if let Some(error) = matcher.get_error() {
            return Err(in_words(&error));
        }
        if let Some(warning) = matcher.grammar_warnings().into_iter().next() {
            return Err(warning);
        }
        let mask = matcher.compute_mask_or_eos().map_err(|error| in_words(&error))?;
        if mask.is_zero() {
            return Err("there is nothing that could be written".to_owned());
        }
        Ok(matcher)
    }
}

/// What llguidance says of a grammar that was written anew for it: its places and words are not the ones that were typed.
fn of_grammar(reason: String) -> Refused {
    if reason.contains("too deeply nested") {
        return Refused::Grammar("its parentheses nest deeper than can be followed".to_owned());
    }
    let is_place = |text: &str| text.chars().all(|c| c.is_ascii_digit() || "() at".contains(c));
    let words = reason.split_once(": ").filter(|(place, _)| is_place(place)).map(|(_, words)| words.to_owned());
    Refused::Grammar(words.unwrap_or(reason))
}

impl Form {
    /// What sampling parameters ask for. A GBNF grammar in which rules lead back to themselves is llama.cpp's to keep.
    #[must_use]
    pub fn of(sampling: &Sampling) -> Option<Self> {
        let grammar = || sampling.grammar.clone().filter(|grammar| gbnf::terminals(grammar).is_some());
        Self::of_all_but_grammars(sampling).or_else(|| grammar().map(Self::Grammar))
    }

    /// Refuses what would be refused for any model, as far as that can be told without one.
    pub fn check(&self) -> Result<(), Refused> {
        Tokens::of_bytes().constrain(self, &[]).map(drop)
    }
}
