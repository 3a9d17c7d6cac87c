//! How far each side of the sum goes along the answer: `w · base + Σ (a · expert − b · antiexpert)`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Error, Role};
use crate::recipe::Schedule;

/// What a request asks of the sum; what it leaves open is as planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightsRequest {
    /// α of each pair, or one for all; empty for what was planned.
    pub alpha: Vec<Schedule>,
    /// α of single pairs, by their names, over the above.
    pub pairs: BTreeMap<String, Schedule>,
    /// The antiexperts' weight where it is not α: one for each pair, or one for all.
    pub antiexpert: Vec<Schedule>,
    /// The base's weight where it is not 1.
    pub base: Option<Schedule>,
}

/// The weights of one sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    /// `None` for 1.
    base: Option<Schedule>,
    pairs: Vec<PairWeights>,
}

#[derive(Debug, Clone, PartialEq)]
struct PairWeights {
    a: Schedule,
    b: Schedule,
}

impl Weights {
    /// Those of the base (`None` for 1) and of each pair's sides as planned.
    pub(super) fn planned<'a>(base: Option<&Schedule>, pairs: impl Iterator<Item = [&'a Schedule; 2]>) -> Self {
        Self { base: base.cloned(), pairs: pairs.map(|[a, b]| PairWeights { a: a.clone(), b: b.clone() }).collect() }
    }

    /// The same all along the answer: the base's weight, and those of each pair's sides.
    #[must_use]
    pub fn constant(base: f32, pairs: &[(f32, f32)]) -> Self {
        let pair = |&(a, b): &(f32, f32)| PairWeights { a: Schedule::constant(a), b: Schedule::constant(b) };
        Self { base: Some(Schedule::constant(base)).filter(|_| base != 1.0), pairs: pairs.iter().map(pair).collect() }
    }

    /// What is asked for, over these; `names` are those of the pairs, in order.
    pub(super) fn with(mut self, asked: &WeightsRequest, names: &[&str]) -> Result<Self, Error> {
        let n_pairs = self.pairs.len();
        if let Some(name) = asked.pairs.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(Error::NoPair { name: name.clone(), known: names.join(", ") });
        }
        for given in [&asked.alpha, &asked.antiexpert] {
            if given.len() > 1 && given.len() != n_pairs {
                return Err(Error::Alphas { got: given.len(), n_pairs });
            }
        }
        let mut given = asked.alpha.iter().chain(asked.pairs.values()).chain(&asked.antiexpert).chain(&asked.base);
        given.try_for_each(Schedule::validate)?;
        let of = |given: &[Schedule], i: usize| given.get(i).or(given.first()).cloned();
        for (i, pair) in self.pairs.iter_mut().enumerate() {
            let named = names.get(i).and_then(|name| asked.pairs.get(*name)).cloned();
            if let Some(alpha) = named.or_else(|| of(&asked.alpha, i)) {
                *pair = PairWeights { a: alpha.clone(), b: alpha };
            }
            if let Some(b) = of(&asked.antiexpert, i) {
                pair.b = b;
            }
        }
        self.base = asked.base.clone().or(self.base);
        Ok(self)
    }

    /// Whether they change along the answer.
    #[must_use]
    pub fn change(&self) -> bool {
        let mut all = self.base.iter().chain(self.pairs.iter().flat_map(|pair| [&pair.a, &pair.b]));
        all.any(|weight| weight.as_constant().is_none())
    }

    /// The one α of every side of every pair, beside a base of weight 1; `None` for anything else.
    #[must_use]
    pub fn one_alpha(&self) -> Option<f32> {
        let mut sides = self.pairs.iter().flat_map(|pair| [&pair.a, &pair.b]);
        let alpha = self.pairs.first()?.a.as_constant()?;
        let is_alpha = |weight: &Schedule| weight.as_constant() == Some(alpha);
        (self.are_alphas() && sides.all(is_alpha)).then_some(alpha)
    }

    /// Whether both sides of every pair have one α, beside a base of weight 1.
    #[must_use]
    pub fn are_alphas(&self) -> bool {
        let of_base = self.base.as_ref().is_none_or(|weight| weight.as_constant() == Some(1.0));
        of_base && self.pairs.iter().all(|pair| pair.a == pair.b)
    }

    /// Those of the answer's first position, all along it.
    #[must_use]
    pub fn of_first_position(&self) -> Self {
        self.each(|schedule| Schedule::constant(schedule.at(0)))
    }

    /// The same as seen from a position of the answer on, which becomes 0.
    #[must_use]
    pub fn behind(&self, n: usize) -> Self {
        self.each(|schedule| schedule.behind(n))
    }

    fn each(&self, change: impl Fn(&Schedule) -> Schedule) -> Self {
        let pairs = self.pairs.iter().map(|PairWeights { a, b }| PairWeights { a: change(a), b: change(b) });
        Self { base: self.base.as_ref().map(&change), pairs: pairs.collect() }
    }

    /// α of every pair, in order; its expert's weight where the two sides differ.
    pub fn alphas(&self) -> impl Iterator<Item = &Schedule> {
        self.pairs.iter().map(|pair| &pair.a)
    }

    /// Whether the base's weight and those of the sides that compute what it does, of which `is_base` tells, come to 0 all
    /// along the answer.
    pub(super) fn cancel_base(&self, is_base: impl Fn(Role) -> bool) -> bool {
        let schedules = self.base.iter().chain(self.pairs.iter().flat_map(|pair| [&pair.a, &pair.b]));
        // Between two neighbouring knots of all schedules everything is on a straight line: its ends decide.
        let mut ends = schedules.flat_map(Schedule::positions).flat_map(|knot| [knot, knot.saturating_sub(1)]);
        let sides = |position: usize| {
            let pair = |i: usize| {
                let (a, b) = self.at(i, position);
                let of = |role, weight| if is_base(role) { weight } else { 0.0 };
                of(Role::Expert(i), a) - of(Role::Antiexpert(i), b)
            };
            (0..self.pairs.len()).map(pair).sum::<f32>()
        };
        !self.pairs.is_empty() && ends.all(|position| (self.base_at(position) + sides(position)).abs() < 1e-6)
    }

    /// Whether the base has a weight of its own.
    #[must_use]
    pub fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// The base's weight at a position of the answer.
    #[must_use]
    pub fn base_at(&self, position: usize) -> f32 {
        self.base.as_ref().map_or(1.0, |weight| weight.at(position))
    }

    /// Whether a pair has no say at a position of the answer, so that nobody asks for its rows.
    #[must_use]
    pub fn leave_out(&self, pair: usize, position: usize) -> bool {
        self.at(pair, position) == (0.0, 0.0)
    }

    /// The weights of a pair's sides at a position of the answer.
    #[must_use]
    pub fn at(&self, pair: usize, position: usize) -> (f32, f32) {
        self.pairs.get(pair).map_or((0.0, 0.0), |PairWeights { a, b }| (a.at(position), b.at(position)))
    }
}

/// `α = 0.5`, with what differs from that: `α = 1.2 expert / 0.8 antiexpert, base × 0.7`.
impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, PairWeights { a, b }) in self.pairs.iter().enumerate() {
            f.write_str(if i == 0 { "α = " } else { ", " })?;
            if a == b { write!(f, "{a}") } else { write!(f, "{a} expert / {b} antiexpert") }?;
        }
        match &self.base {
            Some(base) => write!(f, "{}base × {base}", if self.pairs.is_empty() { "" } else { ", " }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_that_leaves_the_sum_is_seen() {
        let schedule = |text: &str| text.parse::<Schedule>().expect(text);
        let cancels = |alphas: &[&str], bases: &[Role]| {
            let alphas: Vec<_> = alphas.iter().map(|text| schedule(text)).collect();
            Weights::planned(None, alphas.iter().map(|alpha| [alpha, alpha])).cancel_base(|role| bases.contains(&role))
        };
        let (expert, antiexpert) = (Role::Expert(0), Role::Antiexpert(0));
        assert!(cancels(&["1"], &[antiexpert]));
        assert!(cancels(&["-1"], &[expert]));
        assert!(cancels(&["0.3", "0.7"], &[antiexpert, Role::Antiexpert(1)]));
        assert!(cancels(&["1@0,0.5@8..0@16", "0@0,0.5@8..1@16"], &[antiexpert, Role::Antiexpert(1)]));
        for (alphas, bases) in [
            (&["0.99"][..], &[antiexpert][..]),
            (&["1@0..0.5@64"], &[antiexpert]),
            (&["1@0,0.5@64"], &[antiexpert]),
            (&["1"], &[expert]),
            (&["1"], &[expert, antiexpert]),
            (&["1"], &[]),
            (&[], &[]),
        ] {
            assert!(!cancels(alphas, bases), "{alphas:?} {bases:?}");
        }
        let weighted = |base: &str, a: &str, b: &str| {
            let [base, a, b] = [base, a, b].map(schedule);
            Weights::planned(Some(&base), [[&a, &b]].into_iter()).cancel_base(|role| role == antiexpert)
        };
        assert!(weighted("0.5", "2", "0.5") && weighted("1@0..0@8", "1", "1@0..0@8"));
        assert!(!weighted("0.5", "1", "1") && !weighted("1", "1", "0.5"));
    }

    #[test]
    fn weights_in_words() {
        let [half, two] = [0.5, 2.0].map(Schedule::constant);
        let shown = |base, pairs: &[[&Schedule; 2]]| Weights::planned(base, pairs.iter().copied()).to_string();
        assert_eq!(shown(None, &[[&half, &half], [&two, &two]]), "α = 0.5, 2");
        assert_eq!(shown(Some(&half), &[[&two, &half]]), "α = 2 expert / 0.5 antiexpert, base × 0.5");
        let all = Schedule::constant(1.0);
        let one = |base, pairs: &[[&Schedule; 2]]| Weights::planned(base, pairs.iter().copied()).one_alpha();
        assert_eq!(one(Some(&all), &[[&half, &half], [&half, &half]]), Some(0.5));
        assert_eq!(one(None, &[[&half, &half], [&two, &two]]), None);
        assert_eq!((one(None, &[[&half, &two]]), one(Some(&half), &[[&half, &half]])), (None, None));
        let are = |base, pairs: &[[&Schedule; 2]]| Weights::planned(base, pairs.iter().copied()).are_alphas();
        assert!(are(None, &[[&half, &half], [&two, &two]]) && are(Some(&all), &[[&half, &half]]) && are(None, &[]));
        assert!(!are(None, &[[&half, &half], [&two, &half]]) && !are(Some(&half), &[[&half, &half]]));
        assert_eq!((shown(None, &[]), shown(Some(&two), &[])), (String::new(), "base × 2".to_owned()));
    }

    #[test]
    fn one_for_all_one_for_each_or_as_planned() {
        let planned = [0.5, 0.25].map(Schedule::constant);
        let plan = Weights::planned(None, planned.iter().map(|alpha| [alpha, alpha]));
        let with = |asked: WeightsRequest| plan.clone().with(&asked, &["left", "right"]);
        let at = |weights: &Weights| [weights.at(0, 3), weights.at(1, 3)];
        let all = |alphas: &[f32]| alphas.iter().map(|&alpha| Schedule::constant(alpha)).collect::<Vec<_>>();
        let weights = with(WeightsRequest::default()).expect("the plan's");
        assert_eq!((at(&weights), weights.base_at(0)), ([(0.5, 0.5), (0.25, 0.25)], 1.0));
        let weights = with(WeightsRequest { alpha: all(&[2.0]), ..WeightsRequest::default() }).expect("one for all");
        assert_eq!(at(&weights), [(2.0, 2.0), (2.0, 2.0)]);
        let asked = WeightsRequest {
            alpha: all(&[1.0, -1.0]),
            antiexpert: all(&[0.5]),
            base: Some(Schedule::constant(0.5)),
            ..WeightsRequest::default()
        };
        let weights = with(asked).expect("one for each");
        assert_eq!((at(&weights), weights.base_at(7)), ([(1.0, 0.5), (-1.0, 0.5)], 0.5));
        let error =
            with(WeightsRequest { alpha: all(&[1.0; 3]), ..WeightsRequest::default() }).expect_err("three for two");
        assert!(matches!(error, Error::Alphas { got: 3, n_pairs: 2 }));
        let named = |name: &str, alpha: Vec<Schedule>| {
            let pairs = [(name.to_owned(), Schedule::constant(3.0))].into();
            with(WeightsRequest { alpha, pairs, ..WeightsRequest::default() })
        };
        assert_eq!(at(&named("right", Vec::new()).expect("by name")), [(0.5, 0.5), (3.0, 3.0)]);
        assert_eq!(at(&named("left", all(&[2.0])).expect("by name")), [(3.0, 3.0), (2.0, 2.0)]);
        let error = named("up", Vec::new()).expect_err("there is none").to_string();
        assert_eq!(error, "there is no pair \"up\", expected one of left, right");
        // What is planned of single sides and of the base stays, as far as nothing else is asked for.
        let [half, two] = [0.5, 2.0].map(Schedule::constant);
        let own = || Weights::planned(Some(&half), [[&two, &half]].into_iter());
        let weights = own().with(&WeightsRequest::default(), &["1"]).expect("the plan's");
        assert_eq!((weights.at(0, 0), weights.base_at(0)), ((2.0, 0.5), 0.5));
        let asked = WeightsRequest { alpha: all(&[1.0]), ..WeightsRequest::default() };
        let weights = own().with(&asked, &["1"]).expect("another α");
        assert_eq!((weights.at(0, 0), weights.base_at(0)), ((1.0, 1.0), 0.5));
        let asked = WeightsRequest { base: Some(Schedule::constant(1.0)), ..WeightsRequest::default() };
        assert_eq!(own().with(&asked, &["1"]).expect("another base").base_at(0), 1.0);
    }
}
