//! How far to draft: as far as the drafts are worth their time.
//!
//! A step of `n` tokens costs `C(n)` seconds and gives `G(n) = 1 + Σ Π p` tokens, with `p` the chance that a draft is
//! accepted. In the long run the most tokens a second, `R`, come from steps that maximise `G(n) − R·C(n)` (renewal-reward,
//! Dinkelbach); `R` is what was reached lately, `C` is measured or assumed, and `p` is what became of drafts that looked
//! alike (`SpecDec`++, arXiv 2405.19715, has the threshold form of the rule).
//!
//! With costs that are assumed, everything follows from the text: the same text drafts the same on every run, however busy
//! the machine is. With costs that are measured it does not, and where logits depend on how many tokens are decoded at once,
//! neither is the text the same.
//!
//! Where several texts share a step, `n` and `R` are those of all of them: what one of them drafts costs what its tokens
//! add to the batch. A model's first draft is free: its row is needed whatever comes of it. So is the next draft behind one
//! that is taken.

use std::time::Duration;

use super::chances::{ByDraw, Chances, Confidence};
use super::costs::{Assumed, Costs, Order};
use crate::llama::draft_chain::Draw;

/// The cost of a further token where it is assumed, or was not measured yet, as a share of the first one's: as much as on a
/// few cores, so that only likely drafts are tried. A machine for which it is less shows it with them where it is measured.
pub const EXPECTED_COST: f64 = 0.5;
/// Tokens without a model's drafts after which one may try again, since texts change.
const PATIENCE: usize = 64;
/// Times that a model decoded ahead and nothing was drafted, after which a step goes without, to know what that is worth.
const IDLE: usize = 16;
/// How much slower a model's drafts may seem before they count as slower.
const DOUBT: f64 = 0.95;
/// Rounds with a model's drafts before they may count as slower.
const N_TRIED: usize = 4;
/// What is kept of older steps at each new one, for the rate that was reached.
const MEMORY: f64 = 0.95;

/// A text's share of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Most tokens that it may bring.
    pub n_max: usize,
    /// Texts in the step, and tokens that the others bring.
    pub n_texts: usize,
    pub n_other: usize,
}

impl Share {
    /// The whole step.
    #[must_use]
    pub fn all(n_max: usize) -> Self {
        Self { n_max, n_texts: 1, n_other: 0 }
    }
}

/// What a round of all texts came to.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub n_texts: usize,
    /// Tokens that were chosen.
    pub n_tokens: usize,
    /// Some model was to draft; nothing was drafted by anyone.
    pub by_model: bool,
    pub is_plain: bool,
    /// Tokens that were decoded ahead of the step, and in it.
    pub n_ahead: usize,
    pub n_step: usize,
    pub order: Order,
    /// What all of it took.
    pub spent: Duration,
}

/// The rule, with what it knows of the models: it serves one text after the other, and several at once.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    costs: Costs,
    chances: ByDraw,
    /// By the number of texts in a step.
    paces: Vec<Paces>,
}

/// What was reached with so many texts.
#[derive(Debug, Clone, Copy, Default)]
struct Paces {
    /// Of the last rounds; of those in which a model was to draft, and of those without any draft.
    reached: Pace,
    drafting: Pace,
    plain: Pace,
    /// Tokens since a model was to draft; rounds in which it was and drafted nothing; rounds in which it was at all.
    n_quiet: usize,
    n_idle: usize,
    n_drafting: usize,
}

impl Policy {
    /// One that goes by costs which nobody measures.
    #[must_use]
    pub fn assuming(costs: Assumed) -> Self {
        Self { costs: Costs::assumed(costs), ..Self::default() }
    }

    /// What decoding costs.
    #[must_use]
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// The same, to be taught.
    pub fn costs_mut(&mut self) -> &mut Costs {
        &mut self.costs
    }

    /// What was seen to become of drafts.
    #[must_use]
    pub fn chances(&self, draw: Draw) -> &Chances {
        self.chances.of(draw)
    }

    /// The same, to be taught.
    pub fn chances_mut(&mut self, draw: Draw) -> &mut Chances {
        self.chances.of_mut(draw)
    }

    /// The chance that a draft is accepted if those before it are.
    #[must_use]
    pub fn chance(&self, draw: Draw, confidence: Confidence) -> f64 {
        self.chances(draw).get(confidence)
    }

    /// Whether a model is to draft. That is not free where the lanes would compute at the same time.
    #[must_use]
    pub fn drafts(&self, n_texts: usize) -> bool {
        let Paces { drafting, plain, n_quiet, n_idle, n_drafting, .. } = self.paces(n_texts);
        match (drafting.get(), plain.get()) {
            (_, None) => false,
            (None, _) => true,
            (Some(drafting), Some(plain)) if drafting > plain * DOUBT || n_drafting < N_TRIED => n_idle < IDLE,
            _ => n_quiet >= PATIENCE,
        }
    }

    fn paces(&self, n_texts: usize) -> Paces {
        self.paces.get(n_texts).copied().unwrap_or_default()
    }

    /// What it is worth, in tokens, to take a draft that is accepted with a chance of `chance` behind the `n` tokens of a
    /// text's share that are all accepted with a chance of `reach`, and others behind it as far as they pay.
    #[must_use]
    pub fn worth(&self, draw: Draw, lane: usize, n: usize, share: Share, reach: f64, chance: f64) -> f64 {
        let Share { n_max, n_other, n_texts } = share;
        let ahead = self.costs.ahead(lane).unwrap_or(0.0);
        let order = Order::Behind(lane);
        let now = step_cost(&self.costs, order, n_other + n);
        let mut gain = 0.0;
        let mut next = reach * chance;
        let mut best = f64::NEG_INFINITY;
        for m in n + 1..=n_max {
            gain += next;
            next *= self.chances(draw).unseen();
            let spent = (m - n) as f64 * ahead + step_cost(&self.costs, order, n_other + m) - now;
            best = best.max(gain - self.rate(n_texts) * spent);
        }
        best
    }

    /// What a model's drafts are worth, in tokens, before it has drafted any.
    #[must_use]
    pub fn hope(&self, draw: Draw, lane: usize, share: Share) -> f64 {
        self.worth(draw, lane, 1, share, 1.0, self.chances(draw).unseen())
    }

    /// Of drafts that the text or its form gives, how many to take, with what they are worth in tokens.
    #[must_use]
    pub fn of_text(&self, draw: Draw, confidence: Confidence, share: Share) -> (usize, f64) {
        let Share { n_max, n_other, n_texts } = share;
        let chance = self.chance(draw, confidence);
        let now = step_cost(&self.costs, Order::AtOnce, n_other + 1);
        let mut best = (0, 0.0);
        let (mut gain, mut next) = (0.0, 1.0);
        for n in 1..n_max {
            next *= chance;
            gain += next;
            let worth = gain - self.rate(n_texts) * (step_cost(&self.costs, Order::AtOnce, n_other + n + 1) - now);
            if worth > best.1 {
                best = (n, worth);
            }
        }
        best
    }

    /// Tokens a second of all texts, as reached lately; before anything was reached, as far as a step of one token each goes.
    fn rate(&self, n_texts: usize) -> f64 {
        let of_one = || n_texts as f64 / step_cost(&self.costs, Order::AtOnce, n_texts);
        self.paces(n_texts).reached.get().unwrap_or_else(|| of_one().min(f64::MAX))
    }

    /// Hears what a round came to.
    pub fn learn(&mut self, round: Round) {
        let Round { n_texts, n_tokens, by_model, is_plain, n_ahead, n_step, order, spent } = round;
        let seconds = self.costs.round(order, n_ahead, n_step, spent);
        if self.paces.len() <= n_texts {
            self.paces.resize(n_texts + 1, Paces::default());
        }
        let paces = &mut self.paces[n_texts];
        paces.reached.add(n_tokens, seconds);
        if by_model {
            paces.drafting.add(n_tokens, seconds);
            paces.n_drafting += 1;
            paces.n_idle += usize::from(is_plain);
        } else if is_plain {
            paces.plain.add(n_tokens, seconds);
            paces.n_idle = 0;
        }
        paces.n_quiet = if by_model { 0 } else { paces.n_quiet + n_tokens };
    }
}

/// Seconds of a step of `n` tokens: as measured, else on the line between or through the nearest that were.
fn step_cost(costs: &Costs, order: Order, n: usize) -> f64 {
    if let Some(seconds) = costs.step(order, n) {
        return seconds;
    }
    let one = costs.step(order, 1).or_else(|| costs.step(Order::AtOnce, 1));
    let first = one.map(|seconds| (1, seconds));
    let points = || first.into_iter().chain(costs.measured(order).filter(|(n, _)| *n > 1));
    let below = points().filter(|(m, _)| *m < n).last();
    let above = points().find(|(m, _)| *m > n);
    let per_token = |(m, a): (usize, f64), (n, b): (usize, f64)| (b - a) / (n as f64 - m as f64);
    match (below, above) {
        (Some(below), Some(above)) => below.1 + per_token(below, above) * (n - below.0) as f64,
        (Some(below), None) => {
            let before = points().filter(|(m, _)| *m < below.0).last();
            let slope = match before {
                Some(before) => per_token(before, below).max(0.0),
                None => expected_slope(costs, order, below.1),
            };
            below.1 + slope * (n - below.0) as f64
        }
        (None, Some((_, above))) => above,
        (None, None) => 0.0,
    }
}

/// Seconds of a further token, where no size of step has been measured often enough, with `one` for a step of one token:
/// the least of what single measurements say, of which one may have been disturbed.
fn expected_slope(costs: &Costs, order: Order, one: f64) -> f64 {
    let slopes = costs.tried(order).filter(|(n, _)| *n > 1).map(|(n, seconds)| (seconds - one) / (n - 1) as f64);
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
    use super::*;

    const DRAW: Draw = Draw::Likeliest;

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

    /// Probabilities that a model gives its drafts, and how often they are right then.
    type Scenario = &'static [(f32, f64)];
    const MIXED: Scenario = &[(0.99, 0.98), (0.99, 0.98), (0.8, 0.85), (0.5, 0.5), (0.3, 0.25)];
    const SURE: Scenario = &[(0.99, 0.97)];
    const HOPELESS: Scenario = &[(0.5, 0.1), (0.9, 0.15)];

    const LONG: usize = 6000;

    /// Tokens a second over a text, taking every draft for which `takes` says so.
    fn pace(
        machine: &Machine,
        text: Scenario,
        n_max: usize,
        n_predict: usize,
        random: &mut Random,
        mut policy: Policy,
        takes: impl Fn(&Policy, usize, f64, f32) -> bool,
    ) -> f64 {
        let (mut tokens, mut seconds) = (0, 0.0);
        while tokens < n_predict {
            let by_model = policy.drafts(1);
            let (mut n, mut reach, mut n_accept, mut missed) = (1, 1.0, 0, false);
            let (mut taken, mut passed) = (Vec::new(), None);
            loop {
                if !by_model {
                    break;
                }
                let (p, right) = text[(random.next() * text.len() as f64) as usize];
                let is_right = random.next() < right;
                policy.costs.add_ahead(0, Duration::from_secs_f64(machine.ahead));
                if n == n_max {
                    break;
                }
                if !takes(&policy, n, reach, p) {
                    passed = Some((p, is_right));
                    break;
                }
                reach *= policy.chance(DRAW, Confidence::Likeliest(p));
                taken.push(p);
                missed |= !is_right;
                n_accept += usize::from(!missed);
                n += 1;
            }
            let step = (machine.others)(n);
            let (order, alone) = if by_model { (Order::Behind(0), 0.0) } else { (Order::AtOnce, machine.ahead) };
            policy.costs.add_step(order, n, Duration::from_secs_f64(step + alone));
            let spent = step + machine.ahead * n as f64;
            for (i, &p) in taken.iter().enumerate().take(n_accept + 1) {
                policy.chances_mut(DRAW).learn(Confidence::Likeliest(p), i < n_accept);
            }
            if let Some((p, is_right)) = passed.filter(|_| !missed) {
                policy.chances_mut(DRAW).learn(Confidence::Likeliest(p), is_right);
            }
            let spent_all = Duration::from_secs_f64(spent);
            policy.learn(Round {
                n_texts: 1,
                n_tokens: 1 + n_accept,
                by_model,
                is_plain: taken.is_empty(),
                n_ahead: if by_model { n } else { 0 },
                n_step: n,
                order,
                spent: spent_all,
            });
            tokens += 1 + n_accept;
            seconds += spent;
        }
        tokens as f64 / seconds
    }

    fn adaptive(machine: &Machine, text: Scenario, n_predict: usize, random: &mut Random) -> f64 {
        adaptive_with(Policy::default(), machine, text, n_predict, random)
    }

    fn adaptive_with(policy: Policy, machine: &Machine, text: Scenario, n_predict: usize, random: &mut Random) -> f64 {
        pace(machine, text, 8, n_predict, random, policy, |policy, n, reach, p| {
            let share = Share::all(8);
            policy.worth(DRAW, 0, n, share, reach, policy.chance(DRAW, Confidence::Likeliest(p))) > 0.0
        })
    }

    #[test]
    fn it_comes_near_the_best_that_can_be_fixed() {
        for (machine, text) in [(CORES, MIXED), (CORES, SURE), (DEVICE, MIXED), (DEVICE, SURE)] {
            let thresholds = [0.0, 0.4, 0.7, 0.9].into_iter().flat_map(|least| (1..=8).map(move |n| (least, n)));
            let fixed = thresholds.map(|(least, n_max)| {
                pace(&machine, text, n_max, LONG, &mut Random(7), Policy::default(), |_, _, _, p| p >= least)
            });
            let best = fixed.fold(0.0, f64::max);
            let adaptive = adaptive(&machine, text, LONG, &mut Random(7));
            assert!(adaptive > 0.94 * best, "{adaptive} where {best} can be reached");
        }
    }

    #[test]
    fn where_drafts_fail_it_is_lockstep() {
        let adaptive = adaptive(&CORES, HOPELESS, LONG, &mut Random(7));
        let lockstep = 1.0 / (CORES.ahead + (CORES.others)(1));
        assert!(adaptive > 0.97 * lockstep, "{adaptive} against {lockstep}");
    }

    /// An expert of a sixth of a step.
    fn assuming() -> Policy {
        Policy::assuming(Assumed::in_turns(vec![0.167, 0.833], EXPECTED_COST))
    }

    /// Nobody measures what these machines' steps cost, and drafts pay where they are right.
    #[test]
    fn assumed_costs_come_near() {
        for (machine, text, least) in [
            (CORES, HOPELESS, 0.97),
            (CORES, MIXED, 1.1),
            (CORES, SURE, 1.3),
            (DEVICE, HOPELESS, 0.97),
            (DEVICE, SURE, 2.0),
        ] {
            let pace = adaptive_with(assuming(), &machine, text, LONG, &mut Random(7));
            let lockstep = 1.0 / (machine.ahead + (machine.others)(1));
            assert!(pace > least * lockstep, "{pace} against {lockstep}, expected {least} times as much");
        }
    }

    /// The median pace of texts of 48 tokens against lockstep, each with nothing known beforehand.
    fn of_short_texts(machine: &Machine, text: Scenario) -> f64 {
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
