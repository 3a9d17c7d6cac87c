//! How far to guess: as far as the guesses are worth their time.
//!
//! A step of `n` tokens costs `C(n)` seconds and gives `G(n) = 1 + Σ Π p` tokens, with `p` the chance that a guess is
//! kept. In the long run the most tokens a second, `R`, come from steps that maximise `G(n) − R·C(n)` (renewal-reward,
//! Dinkelbach); `R` is what was reached lately, `C` is measured, and `p` is what became of guesses that looked alike
//! (`SpecDec`++, arXiv 2405.19715, has the threshold form of the rule).

use crate::steer::lanes::{Costs, Step};

/// What a guess looked like before it was checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sign {
    /// Its probability to the model that made it.
    Probability(f32),
    /// Tokens at the end of the text that stood before it the last time.
    Match(usize),
}

/// Upper ends of the ranges of probabilities that are told apart.
const PROBABILITIES: [f32; 8] = [0.2, 0.4, 0.6, 0.75, 0.9, 0.97, 0.995, 1.0];
/// The same for the lengths of matches.
const MATCHES: [usize; 5] = [2, 3, 4, 7, usize::MAX];
/// Chances of a guess of each length of match, before anything was seen.
const MATCH_CHANCES: [f64; 5] = [0.4, 0.5, 0.6, 0.75, 0.9];
/// What the cost of a further token is taken for, as a share of the first one's, before it was measured: little, so
/// that it is tried.
const HOPED_COST: f64 = 0.15;
/// Tokens without a guess after which guesses are tried again, since texts change.
const PATIENCE: usize = 64;
/// How many guesses are tried then.
pub(super) const TRIED: usize = 3;
/// What is kept of older steps at each new one, for the rate that was reached.
const MEMORY: f64 = 0.9;

#[derive(Debug, Clone)]
pub(super) struct Policy {
    by_probability: [Chance; PROBABILITIES.len()],
    by_match: [Chance; MATCHES.len()],
    /// A model's next guess, of which nothing is known yet.
    unseen: Chance,
    /// Tokens and seconds of the last steps.
    reached: (f64, f64),
    n_quiet: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let mut below = 0.0;
        let by_probability = PROBABILITIES.map(|upper| {
            let middle = f64::from(below + upper) / 2.0;
            below = upper;
            Chance::expected(middle, 2.0, 0.99)
        });
        let by_match = MATCH_CHANCES.map(|chance| Chance::expected(chance, 2.0, 0.98));
        let unseen = Chance::expected(0.75, 4.0, 0.97);
        Self { by_probability, by_match, unseen, reached: (0.0, 0.0), n_quiet: 0 }
    }
}

impl Policy {
    /// The chance that a guess is kept, if those before it are.
    pub fn chance(&self, sign: Sign) -> f64 {
        match sign {
            Sign::Probability(p) => self.by_probability[range(&PROBABILITIES, p)].get(),
            Sign::Match(length) => self.by_match[range(&MATCHES, length)].get(),
        }
    }

    /// What it is worth, in tokens, to let a model go on guessing behind `n` tokens of a step: the chosen one and guesses
    /// that are all kept with a chance of `reach`. Nothing or less: decode what there is.
    pub fn worth(&self, costs: &Costs, lane: usize, n: usize, n_max: usize, reach: f64) -> f64 {
        let chance = self.unseen.get();
        let ahead = costs.ahead(lane).unwrap_or(0.0);
        let now = step_cost(costs, Step::Behind, n);
        let mut gain = 0.0;
        let mut next = reach;
        let mut best = f64::NEG_INFINITY;
        for m in n + 1..=n_max {
            next *= chance;
            gain += next;
            let spent = (m - n) as f64 * ahead + step_cost(costs, Step::Behind, m) - now;
            best = best.max(gain - self.rate(costs) * spent);
        }
        best
    }

    /// Of guesses that the text gives, how many to take, with what they are worth in tokens.
    pub fn of_match(&self, costs: &Costs, length: usize, n_max: usize) -> (usize, f64) {
        let chance = self.chance(Sign::Match(length));
        let now = step_cost(costs, Step::AtOnce, 1);
        let mut best = (0, 0.0);
        let (mut gain, mut next) = (0.0, 1.0);
        for n in 1..n_max {
            next *= chance;
            gain += next;
            let worth = gain - self.rate(costs) * (step_cost(costs, Step::AtOnce, n + 1) - now);
            if worth > best.1 {
                best = (n, worth);
            }
        }
        best
    }

    /// Whether guesses were left out for so long that some are tried whatever they seem worth.
    pub fn is_curious(&self) -> bool {
        self.n_quiet >= PATIENCE
    }

    /// Tokens a second, as reached lately; before anything was reached, as far as a step of one token goes.
    fn rate(&self, costs: &Costs) -> f64 {
        let (tokens, seconds) = self.reached;
        if seconds > 0.0 { tokens / seconds } else { step_cost(costs, Step::AtOnce, 1).recip().min(f64::MAX) }
    }

    /// Takes in a step: the guesses' signs in order, how many were kept, whether the next one was refused (else nobody
    /// asked), and what it all took.
    pub fn learn(&mut self, signs: &[Sign], n_accept: usize, refused: bool, seconds: f64) {
        for (i, &sign) in signs.iter().enumerate().take(n_accept + usize::from(refused)) {
            let kept = i < n_accept;
            match sign {
                Sign::Probability(p) => {
                    self.by_probability[range(&PROBABILITIES, p)].learn(kept);
                    self.unseen.learn(kept);
                }
                Sign::Match(length) => self.by_match[range(&MATCHES, length)].learn(kept),
            }
        }
        let n = 1 + n_accept;
        self.n_quiet = if signs.is_empty() { self.n_quiet + n } else { 0 };
        self.reached = (self.reached.0 * MEMORY + n as f64, self.reached.1 * MEMORY + seconds);
    }
}

fn range<T: PartialOrd>(upper: &[T], x: T) -> usize {
    upper.iter().position(|upper| x <= *upper).unwrap_or(upper.len() - 1)
}

/// Seconds of a step of `n` tokens: as measured, else on the line between or through the nearest that were.
fn step_cost(costs: &Costs, step: Step, n: usize) -> f64 {
    if let Some(seconds) = costs.step(step, n) {
        return seconds;
    }
    let one = costs.step(Step::AtOnce, 1);
    let first = one.map(|seconds| (1, seconds));
    let points = || first.into_iter().chain(costs.measured(step).filter(|(n, _)| *n > 1));
    let below = points().filter(|(m, _)| *m < n).last();
    let above = points().find(|(m, _)| *m > n);
    let per_token = |(m, a): (usize, f64), (n, b): (usize, f64)| (b - a) / (n as f64 - m as f64);
    match (below, above) {
        (Some(below), Some(above)) => below.1 + per_token(below, above) * (n - below.0) as f64,
        (Some(below), None) => {
            let before = points().filter(|(m, _)| *m < below.0).last();
            let slope = before.map_or(HOPED_COST * below.1, |before| per_token(before, below).max(0.0));
            below.1 + slope * (n - below.0) as f64
        }
        (None, Some((_, above))) => above,
        (None, None) => 0.0,
    }
}

/// A share of what went well, in which the last cases count most, with what is expected before the first.
#[derive(Debug, Clone, Copy)]
struct Chance {
    good: f64,
    all: f64,
    memory: f64,
}

impl Chance {
    fn expected(chance: f64, weight: f64, memory: f64) -> Self {
        Self { good: chance * weight, all: weight, memory }
    }

    fn get(self) -> f64 {
        self.good / self.all
    }

    fn learn(&mut self, good: bool) {
        self.good = self.good * self.memory + f64::from(u8::from(good));
        self.all = self.all * self.memory + 1.0;
    }
}
