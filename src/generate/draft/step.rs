//! A step: guess, decode on every lane, and hear what became of it.

use super::lookup::look_up;
use super::policy::Policy;
use super::{Draft, Drafter, Length, MAX_STEP_ON_DEVICES, Stats};
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
    /// A model was asked in the running step; its last guess, where that was not taken.
    asked: bool,
    passed: Option<(Token, Sign)>,
}

impl Drafting {
    pub fn new(draft: &Draft, draw: Draw, steered: &Steered, prompt: &[Token]) -> Self {
        let mut n_max = draft.n_step().min(steered.n_rows_max());
        if steered.use_devices() {
            n_max = n_max.min(MAX_STEP_ON_DEVICES);
        }
        if !steered.can_roll_back() {
            n_max = 1;
        }
        Self {
            draft: draft.clone(),
            draw,
            guesser: None,
            lane: draft.lane(steered),
            n_max,
            policy: Policy::new(steered.chances(draw)),
            stats: Stats::default(),
            text: prompt.to_vec(),
            tokens: Vec::new(),
            signs: Vec::new(),
            found: Vec::new(),
            asked: false,
            passed: None,
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
    /// `ends` tells of a guess whether the text would end with it; `goes_on` is asked before each decode.
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
        (self.asked, self.passed) = (false, None);
        let n_max = self.n_max.min(n_max);
        if n_max > 1 && !self.take_from_text(steered, n_max, &mut ends) {
            self.take_from_model(steered, chain, n_max, &mut ends, &mut goes_on)?;
        }
        if !goes_on() {
            // Nobody will look at the rows.
            steered.drop_ahead();
            self.tokens.truncate(1);
            self.signs.clear();
        }
        steered.decode(&self.tokens)?;
        Ok(self.tokens.len())
    }

    /// Guesses as the text went on before; whether it did, and that is worth more than asking a model.
    fn take_from_text(&mut self, steered: &Steered, n_max: usize, ends: &mut impl FnMut(Token) -> bool) -> bool {
        if !self.draft.drafters.contains(&Drafter::Lookup) {
            return false;
        }
        let length = look_up(&self.text, n_max - 1, &mut self.found);
        if length == 0 {
            return false;
        }
        let n = if self.draft.length == Length::Auto {
            let costs = steered.costs();
            let (n, worth) = self.policy.of_match(costs, length, n_max);
            let other = self.lane.map_or(0.0, |lane| self.policy.hope(costs, lane, n_max));
            if worth > other { n } else { 0 }
        } else {
            self.found.len()
        };
        for &guess in self.found.iter().take(n) {
            // Some lane may lack a token of the base's prompt.
            if steered.is_eog(guess) || steered.never().binary_search(&guess).is_ok() || ends(guess) {
                break;
            }
            self.tokens.push(guess);
            self.signs.push(Sign::Match(length));
        }
        !self.signs.is_empty()
    }

    /// Lets a model guess, token by token.
    fn take_from_model(
        &mut self,
        steered: &mut Steered,
        chain: &Chain,
        n_max: usize,
        ends: &mut impl FnMut(Token) -> bool,
        goes_on: &mut impl FnMut() -> bool,
    ) -> Result<(), Error> {
        let Some(lane) = self.lane else { return Ok(()) };
        let is_auto = self.draft.length == Length::Auto;
        if is_auto && !self.policy.asks() {
            return Ok(());
        }
        // A chain that cannot be copied guesses nothing.
        let Ok(guesser) = chain.guesser(self.draw, self.guesser.take()) else { return Ok(()) };
        let guesser = self.guesser.insert(guesser);
        self.asked = true;
        let mut reach = 1.0;
        while goes_on() {
            let n = self.tokens.len();
            let row = match steered.ahead(lane, self.tokens[n - 1]) {
                Ok(row) => row,
                Err(error) => {
                    steered.drop_ahead();
                    return Err(error);
                }
            };
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
            let chance = self.policy.chances.get(sign);
            if is_auto && self.policy.worth(steered.costs(), lane, n, n_max, reach, chance) <= 0.0 {
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
        for &sign in &self.signs[..n_accept] {
            self.policy.chances.learn(sign, true);
        }
        let last = self.signs.get(n_accept).map(|&sign| (self.tokens[n_accept + 1], sign)).or(self.passed);
        if let (Some((guess, sign)), Some(next)) = (last, next) {
            self.policy.chances.learn(sign, guess == next);
        }
        self.policy.learn_pace(1 + n_accept, self.asked, self.signs.is_empty(), seconds);
        *steered.chances_mut(self.draw) = self.policy.chances;
        self.tokens.clear();
    }
}
