//! How far to guess: as far as the guesses are worth their time.
//!
//! A step of `n` tokens costs `C(n)` seconds and gives `G(n) = 1 + Σ Π p` tokens, with `p` the chance that a guess is
//! kept. In the long run the most tokens a second, `R`, come from steps that maximise `G(n) − R·C(n)` (renewal-reward,
//! Dinkelbach); `R` is what was reached lately, `C` is measured, and `p` is what became of guesses that looked alike
//! (`SpecDec`++, arXiv 2405.19715, has the threshold form of the rule).
//!
//! A model's first guess is free: its row is needed whatever comes of it. So is the next guess behind one that is taken.

use crate::steer::lanes::{Chances, Costs, Sign, Step};

/// What the cost of a further token is taken for, as a share of the first one's, before it was measured: as much as on a
/// few cores, so that only likely guesses are tried. A machine for which it is less shows it with them.
const EXPECTED_COST: f64 = 0.5;
/// Tokens without asking a model after which one is asked again, since texts change.
const PATIENCE: usize = 64;
/// Times that a model was asked and nothing taken, after which a step goes without, to know what that is worth.
const IDLE: usize = 16;
/// How much slower asking a model may seem before it counts as slower.
const DOUBT: f64 = 0.95;
/// Steps with a question before asking may count as slower.
const N_TRIED: usize = 4;
/// What is kept of older steps at each new one, for the rate that was reached.
const MEMORY: f64 = 0.95;

/// What is known of the models.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub costs: &'a Costs,
    pub chances: &'a Chances,
}

/// The rule, with what it has to know of the running text.
#[derive(Debug, Clone, Default)]
pub(super) struct Policy {
    /// Of the last steps; of those in which a model was asked, and of those without any guess.
    reached: Pace,
    asking: Pace,
    plain: Pace,
    n_quiet: usize,
    n_idle: usize,
    n_asked: usize,
}

impl Policy {
    /// Whether to ask a model for a guess. That is not free where the lanes would compute at the same time.
    pub fn asks(&self) -> bool {
        match (self.asking.get(), self.plain.get()) {
            (_, None) => false,
            (None, _) => true,
            (Some(asking), Some(plain)) if asking > plain * DOUBT || self.n_asked < N_TRIED => self.n_idle < IDLE,
            _ => self.n_quiet >= PATIENCE,
        }
    }

    /// What it is worth, in tokens, to take a guess that is kept with a chance of `chance` behind the `n` tokens of a step that
    /// are all kept with a chance of `reach`, and others behind it as far as they pay.
    pub fn worth(&self, known: Known<'_>, lane: usize, n: usize, n_max: usize, reach: f64, chance: f64) -> f64 {
        let Known { costs, chances } = known;
        let ahead = costs.ahead(lane).unwrap_or(0.0);
        let now = step_cost(costs, Step::Behind, n);
        let mut gain = 0.0;
        let mut next = reach * chance;
        let mut best = f64::NEG_INFINITY;
        for m in n + 1..=n_max {
            gain += next;
            next *= chances.unseen();
            let spent = (m - n) as f64 * ahead + step_cost(costs, Step::Behind, m) - now;
            best = best.max(gain - self.rate(costs) * spent);
        }
        best
    }

    /// What a model's guesses are worth, in tokens, before it is asked.
    pub fn hope(&self, known: Known<'_>, lane: usize, n_max: usize) -> f64 {
        self.worth(known, lane, 1, n_max, 1.0, known.chances.unseen())
    }

    /// Of guesses that the text gives, how many to take, with what they are worth in tokens.
    pub fn of_match(&self, known: Known<'_>, length: usize, n_max: usize) -> (usize, f64) {
        let Known { costs, chances } = known;
        let chance = chances.get(Sign::Match(length));
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

    /// Tokens a second, as reached lately; before anything was reached, as far as a step of one token goes.
    fn rate(&self, costs: &Costs) -> f64 {
        self.reached.get().unwrap_or_else(|| step_cost(costs, Step::AtOnce, 1).recip().min(f64::MAX))
    }

    /// Hears how many tokens a step gave, whether a model was asked, whether nothing was guessed, and what it all took.
    pub fn learn_pace(&mut self, n: usize, asked: bool, nothing: bool, seconds: f64) {
        self.reached.add(n, seconds);
        if asked {
            self.asking.add(n, seconds);
            self.n_asked += 1;
            self.n_idle += usize::from(nothing);
        } else if nothing {
            self.plain.add(n, seconds);
            self.n_idle = 0;
        }
        self.n_quiet = if asked { 0 } else { self.n_quiet + n };
    }
}

/// Seconds of a step of `n` tokens: as measured, else on the line between or through the nearest that were.
fn step_cost(costs: &Costs, step: Step, n: usize) -> f64 {
    if let Some(seconds) = costs.step(step, n) {
        return seconds;
    }
    let one = costs.step(step, 1).or_else(|| costs.step(Step::AtOnce, 1));
    let first = one.map(|seconds| (1, seconds));
    let points = || first.into_iter().chain(costs.measured(step).filter(|(n, _)| *n > 1));
    let below = points().filter(|(m, _)| *m < n).last();
    let above = points().find(|(m, _)| *m > n);
    let per_token = |(m, a): (usize, f64), (n, b): (usize, f64)| (b - a) / (n as f64 - m as f64);
    match (below, above) {
        (Some(below), Some(above)) => below.1 + per_token(below, above) * (n - below.0) as f64,
        (Some(below), None) => {
            let before = points().filter(|(m, _)| *m < below.0).last();
            let slope = match before {
                Some(before) => per_token(before, below).max(0.0),
                None => expected_slope(costs, step, below.1),
            };
            below.1 + slope * (n - below.0) as f64
        }
        (None, Some((_, above))) => above,
        (None, None) => 0.0,
    }
}

/// Seconds of a further token, where no size of step has been measured often enough, with `one` for a step of one token:
/// the least of what single measurements say, of which one may have been disturbed.
fn expected_slope(costs: &Costs, step: Step, one: f64) -> f64 {
    let slopes = costs.tried(step).filter(|(n, _)| *n > 1).map(|(n, seconds)| (seconds - one) / (n - 1) as f64);
    let (n, least) = slopes.fold((0, f64::INFINITY), |(n, least), slope| (n + 1, slope.min(least)));
    if n < 2 { EXPECTED_COST * one } else { least.max(0.0) }
}

/// Tokens and seconds, of which the last count most.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    tokens: f64,
    seconds: f64,
}

impl Pace {
    /// Tokens a second; `None` before the first.
    fn get(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens / self.seconds)
    }

    fn add(&mut self, n: usize, seconds: f64) {
        self.tokens = self.tokens * MEMORY + n as f64;
        self.seconds = self.seconds * MEMORY + seconds;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a machine's steps cost, in seconds, a step of the base alone being one.
    struct Machine {
        ahead: f64,
        others: fn(usize) -> f64,
    }

    /// Two cores: the cost of further tokens as measured for a base in Q4_0, with a pair of a fifth of it.
    const CORES: Machine = Machine { ahead: 0.2, others: |n| [1.2, 1.95, 2.75, 2.85, 3.75, 4.65, 5.2, 5.65][n - 1] };
    /// A device that reads weights once for up to eight tokens.
    const DEVICE: Machine = Machine { ahead: 0.1, others: |n| 1.1 + 0.1 * (n - 1) as f64 };

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f64 / f64::from(1 << 24)
        }
    }

    /// Probabilities that a model gives its guesses, and how often they are right then.
    type Text = &'static [(f32, f64)];
    const MIXED: Text = &[(0.99, 0.98), (0.99, 0.98), (0.8, 0.85), (0.5, 0.5), (0.3, 0.25)];
    const SURE: Text = &[(0.99, 0.97)];
    const HOPELESS: Text = &[(0.5, 0.1), (0.9, 0.15)];

    const LONG: usize = 6000;

    /// Tokens a second over a text, taking every guess for which `takes` says so.
    fn pace(
        machine: &Machine,
        text: Text,
        n_max: usize,
        n_predict: usize,
        random: &mut Random,
        takes: impl Fn(&Policy, Known<'_>, usize, f64, f32) -> bool,
    ) -> f64 {
        let (mut policy, mut costs, mut chances) = (Policy::default(), Costs::default(), Chances::default());
        let (mut tokens, mut seconds) = (0, 0.0);
        while tokens < n_predict {
            let asked = policy.asks();
            let (mut n, mut reach, mut n_kept, mut missed) = (1, 1.0, 0, false);
            let (mut taken, mut passed) = (Vec::new(), None);
            loop {
                if !asked {
                    break;
                }
                let (p, right) = text[(random.next() * text.len() as f64) as usize];
                let is_right = random.next() < right;
                costs.add_ahead(0, Duration::from_secs_f64(machine.ahead));
                if n == n_max {
                    break;
                }
                if !takes(&policy, Known { costs: &costs, chances: &chances }, n, reach, p) {
                    passed = Some((p, is_right));
                    break;
                }
                reach *= chances.get(Sign::Likeliest(p));
                taken.push(p);
                missed |= !is_right;
                n_kept += usize::from(!missed);
                n += 1;
            }
            let step = (machine.others)(n);
            let (kind, alone) = if asked { (Step::Behind, 0.0) } else { (Step::AtOnce, machine.ahead) };
            costs.add_step(kind, n, Duration::from_secs_f64(step + alone));
            let spent = step + machine.ahead * n as f64;
            for (i, &p) in taken.iter().enumerate().take(n_kept + 1) {
                chances.learn(Sign::Likeliest(p), i < n_kept);
            }
            if let Some((p, is_right)) = passed.filter(|_| !missed) {
                chances.learn(Sign::Likeliest(p), is_right);
            }
            policy.learn_pace(1 + n_kept, asked, taken.is_empty(), spent);
            tokens += 1 + n_kept;
            seconds += spent;
        }
        tokens as f64 / seconds
    }

    fn adaptive(machine: &Machine, text: Text, n_predict: usize, random: &mut Random) -> f64 {
        pace(machine, text, 8, n_predict, random, |policy, known, n, reach, p| {
            policy.worth(known, 0, n, 8, reach, known.chances.get(Sign::Likeliest(p))) > 0.0
        })
    }

    #[test]
    fn it_comes_near_the_best_that_can_be_fixed() {
        for (machine, text) in [(CORES, MIXED), (CORES, SURE), (DEVICE, MIXED), (DEVICE, SURE)] {
            let thresholds = [0.0, 0.4, 0.7, 0.9].into_iter().flat_map(|least| (1..=8).map(move |n| (least, n)));
            let fixed = thresholds
                .map(|(least, n_max)| pace(&machine, text, n_max, LONG, &mut Random(7), |_, _, _, _, p| p >= least));
            let best = fixed.fold(0.0, f64::max);
            let adaptive = adaptive(&machine, text, LONG, &mut Random(7));
            assert!(adaptive > 0.94 * best, "{adaptive} where {best} can be reached");
        }
    }

    #[test]
    fn where_guesses_fail_it_is_lockstep() {
        let adaptive = adaptive(&CORES, HOPELESS, LONG, &mut Random(7));
        let lockstep = 1.0 / (CORES.ahead + (CORES.others)(1));
        assert!(adaptive > 0.97 * lockstep, "{adaptive} against {lockstep}");
    }

    /// The median pace of texts of 48 tokens against lockstep, each with nothing known beforehand.
    fn of_short_texts(machine: &Machine, text: Text) -> f64 {
        let mut random = Random(7);
        let mut paces: Vec<_> = (0..199).map(|_| adaptive(machine, text, 48, &mut random)).collect();
        paces.sort_by(f64::total_cmp);
        paces[99] * (machine.ahead + (machine.others)(1))
    }

    #[test]
    fn what_a_short_text_costs_to_learn_and_gains() {
        assert!(of_short_texts(&CORES, HOPELESS) > 0.97);
        assert!(of_short_texts(&CORES, MIXED) > 1.1);
        assert!(of_short_texts(&CORES, SURE) > 1.3);
        assert!(of_short_texts(&DEVICE, SURE) > 2.5);
    }
}
