//! A step: guess, decode on every lane, and hear what became of it.

use super::lookup::look_up;
use super::policy::{Known, Policy};
use super::{Draft, Drafter, Length, Stats};
use crate::arithmetic::softmax;
use crate::llama::Token;
use crate::llama::chain::Chain;
use crate::llama::guess::{Draw, Guesser};
use crate::steer::lanes::Sign;
use crate::steer::{Error, Steered};

/// Guesses for one generation.
pub struct Drafting {
    draft: Draft,
    draw: Draw,
    /// The last one: its memory serves the next.
    guesser: Option<Guesser>,
    /// The lane that guesses, where one does.
    lane: Option<usize>,
    /// Most tokens in a step.
    n_max: usize,
    policy: Policy,
    stats: Stats,
    /// The base's prompt and everything chosen.
    text: Vec<Token>,
    /// What the running step decodes: the token chosen last, then guesses, of which each has a sign.
    tokens: Vec<Token>,
    signs: Vec<Sign>,
    found: Vec<Token>,
    /// A model was asked in the running step; its last guess, where that was not taken; the text's, where none of it was.
    asked: bool,
    passed: Option<(Token, Sign)>,
    declined: Option<(Token, Sign)>,
}

impl Drafting {
    pub fn new(draft: &Draft, draw: Draw, steered: &Steered, prompt: &[Token]) -> Self {
        Self {
            draft: draft.clone(),
            draw,
            guesser: None,
            lane: draft.lane(steered),
            n_max: draft.n_step_of(steered),
            policy: Policy::default(),
            stats: Stats::default(),
            text: prompt.to_vec(),
            tokens: Vec::new(),
            signs: Vec::new(),
            found: Vec::new(),
            asked: false,
            passed: None,
            declined: None,
        }
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The guess for what row `row` of the running step chooses.
    pub fn guess(&self, row: usize) -> Option<Token> {
        self.tokens.get(row + 1).copied()
    }

    /// Decodes the token that was chosen last, and guesses behind it, at most `n_max` tokens in all. The number of rows.
    /// `ends` tells of a guess whether the text would end with it; `goes_on` is asked before each decode. On an error it
    /// is as if the step had not been.
    pub fn step(
        &mut self,
        steered: &mut Steered,
        chain: &Chain,
        chosen: Token,
        n_max: usize,
        mut ends: impl FnMut(Token) -> bool,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<usize, Error> {
        self.text.push(chosen);
        self.tokens.clear();
        self.tokens.push(chosen);
        self.signs.clear();
        (self.asked, self.passed, self.declined) = (false, None, None);
        let guessed = self.guess_behind(steered, chain, self.n_max.min(n_max), &mut ends, &mut goes_on);
        if guessed.is_err() || !goes_on() {
            // Nobody will look at a row behind the first.
            steered.drop_ahead();
            self.tokens.truncate(1);
            self.signs.clear();
        }
        let decoded = guessed.and_then(|()| steered.decode(&self.tokens));
        if decoded.is_err() {
            self.tokens.clear();
            self.text.pop();
        }
        decoded.map(|()| self.tokens.len())
    }

    /// Guesses behind the one token of the step: from the text, or else by a model.
    fn guess_behind(
        &mut self,
        steered: &mut Steered,
        chain: &Chain,
        n_max: usize,
        ends: &mut impl FnMut(Token) -> bool,
        goes_on: &mut impl FnMut() -> bool,
    ) -> Result<(), Error> {
        if n_max <= 1 {
            return Ok(());
        }
        // A chain that cannot be copied guesses nothing.
        let asks = chain.can_clone() && (self.draft.length != Length::Auto || self.policy.asks());
        let lane = self.lane.filter(|_| asks);
        if self.take_from_text(steered, lane, n_max, ends) {
            return Ok(());
        }
        lane.map_or(Ok(()), |lane| self.take_from_model(steered, chain, lane, n_max, ends, goes_on))
    }

    /// Guesses as the text went on before, where that is worth more than asking the model of a lane; whether it is.
    fn take_from_text(
        &mut self,
        steered: &Steered,
        lane: Option<usize>,
        n_max: usize,
        ends: &mut impl FnMut(Token) -> bool,
    ) -> bool {
        if !self.draft.drafters.contains(&Drafter::Lookup) {
            return false;
        }
        let length = look_up(&self.text, n_max - 1, &mut self.found);
        if length == 0 {
            return false;
        }
        let n = if self.draft.length == Length::Auto {
            let known = Known { costs: steered.costs(), chances: steered.chances(self.draw) };
            let (n, worth) = self.policy.of_match(known, length, n_max);
            let other = lane.map_or(0.0, |lane| self.policy.hope(known, lane, n_max));
            if worth > other { n } else { 0 }
        } else {
            self.found.len()
        };
        if n == 0 {
            self.declined = Some((self.found[0], Sign::Match(length)));
        }
        for &guess in self.found.iter().take(n) {
            // Some lane may lack a token of the base's prompt.
            if steered.is_eog(guess) || steered.never().binary_search(&guess).is_ok() || ends(guess) {
                break;
            }
            self.tokens.push(guess);
            self.signs.push(Sign::Match(length));
        }
        // Where its first token would end the text, no model has to be asked what follows.
        n > 0
    }

    /// Lets a model guess, token by token.
    fn take_from_model(
        &mut self,
        steered: &mut Steered,
        chain: &Chain,
        lane: usize,
        n_max: usize,
        ends: &mut impl FnMut(Token) -> bool,
        goes_on: &mut impl FnMut() -> bool,
    ) -> Result<(), Error> {
        let is_auto = self.draft.length == Length::Auto;
        let Ok(guesser) = chain.guesser(self.draw, self.guesser.take()) else { return Ok(()) };
        let guesser = self.guesser.insert(guesser);
        self.asked = true;
        let mut reach = 1.0;
        while goes_on() {
            let n = self.tokens.len();
            let row = steered.ahead(lane, self.tokens[n - 1])?;
            if n == n_max {
                break;
            }
            // What a guesser cannot guess, such as the end of a grammar, the chain will tell by itself.
            let Ok(guess) = guesser.guess(row) else { break };
            let (p, best) = softmax::probabilities(row.logits(), row.get(guess as usize).unwrap_or(f32::NEG_INFINITY));
            if p < self.draft.min_p || steered.is_eog(guess) || ends(guess) {
                break;
            }
            let sign = if p < best { Sign::Drawn(p) } else { Sign::Likeliest(p) };
            let known = Known { costs: steered.costs(), chances: steered.chances(self.draw) };
            let chance = known.chances.get(sign);
            if is_auto && self.policy.worth(known, lane, n, n_max, reach, chance) <= 0.0 {
                self.passed = Some((guess, sign));
                break;
            }
            if guesser.accept(guess).is_err() {
                break;
            }
            reach *= chance;
            self.tokens.push(guess);
            self.signs.push(sign);
        }
        Ok(())
    }

    /// Hears that the running step is over: so many guesses were kept, and it took so many seconds. `next` is what was
    /// chosen behind them, where somebody asked. What it teaches of guesses stays with the models.
    pub fn settle(&mut self, steered: &mut Steered, n_accept: usize, next: Option<Token>, seconds: f64) {
        if self.tokens.is_empty() {
            return;
        }
        let by_lookup = matches!(self.signs.first(), Some(Sign::Match(_)));
        self.stats.count(self.signs.len(), n_accept, by_lookup);
        self.text.extend_from_slice(&self.tokens[1..=n_accept]);
        let chances = steered.chances_mut(self.draw);
        for &sign in &self.signs[..n_accept] {
            chances.learn(sign, true);
        }
        let first = self.tokens.get(1).copied().filter(|_| n_accept > 0).or(next);
        if let (Some((guess, sign)), Some(first)) = (self.declined, first) {
            chances.learn(sign, guess == first);
        }
        let last = self.signs.get(n_accept).map(|&sign| (self.tokens[n_accept + 1], sign)).or(self.passed);
        if let (Some((guess, sign)), Some(next)) = (last, next) {
            chances.learn(sign, guess == next);
        }
        self.policy.learn_pace(1 + n_accept, self.asked, self.signs.is_empty(), seconds);
        self.tokens.clear();
    }
}
