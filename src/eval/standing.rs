//! How contenders stand against one another: scores, paired differences, the gap that is closed, a verdict.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::contender::{Contender, Kind};
use super::results::{Answered, Record, Results};
use super::scoring::{Score, Unit};
use super::task::Task;
use crate::arithmetic::bootstrap::{Estimate, ratio};
use crate::generate::Finish;

/// Every interval is drawn from this.
const SEED: u64 = 1;

/// What the row is called whose α was chosen on one half of the items and is reported on the other.
pub const CHOSEN: &str = "steered, α of the other half";

/// A contender's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub contender: String,
    pub kind: Kind,
    /// The α that was asked for, where it is one for all pairs.
    pub alpha: Option<f32>,
    /// The contenders that were best on either half, each of which answers the other; of the row [`CHOSEN`] alone.
    pub chosen: Option<[String; 2]>,
    /// Each of the task's scores, in its order.
    pub scores: Vec<Estimate>,
    pub n_items: usize,
    /// Tokens of all answers.
    pub n_tokens: usize,
    /// Answers that were as long as the task allows, and may have been cut off before their end.
    pub n_cut: usize,
    /// What it took, all runs together.
    pub seconds: f64,
    /// What a token takes it, the base's being 1.
    pub cost: Option<f64>,
    /// Its score minus the base's and minus the best expert's, over the items that both answered, by the score that the task
    /// compares by. `None` for that contender itself, or where it did not answer.
    pub against_base: Option<Estimate>,
    pub against_expert: Option<Estimate>,
    /// The part of the way from the base to the tuned model that steering goes. `None` where the tuned model is not
    /// better than the base beyond chance.
    pub gap: Option<Estimate>,
    pub verdict: Option<Verdict>,
}

impl Row {
    /// Tokens of an answer, on average.
    #[must_use]
    pub fn tokens_per_item(&self) -> Option<f64> {
        (self.n_items > 0).then(|| self.n_tokens as f64 / self.n_items as f64)
    }

    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        self.n_tokens as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Whether steering is worth it: whether a steered contender beats the base and the expert alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both intervals are on the better side of 0.
    Yes,
    /// It is worse than one of them: an interval is on the worse side.
    No,
    Undecided,
}

impl Verdict {
    fn of(base: &Estimate, expert: &Estimate, unit: Unit) -> Self {
        let sign =
            |estimate: &Estimate| estimate.sign().map(|sign| if unit.sign() < 0.0 { sign.reverse() } else { sign });
        match [sign(base), sign(expert)] {
            [Some(Ordering::Greater), Some(Ordering::Greater)] => Self::Yes,
            signs if signs.contains(&Some(Ordering::Less)) => Self::No,
            _ => Self::Undecided,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undecided => "undecided",
        }
    }
}

/// Rows of the contenders that answered anything of the first `n_items`, in order, and one of the best α of either half where
/// several were tried. Of several experts the best is the one that others are compared with.
#[must_use]
pub fn of(task: &Task, contenders: &[Contender], results: &Results, n_items: usize) -> Vec<Row> {
    let (scores, compared) = (task.scores(), task.compared_by());
    let mut all: Vec<Standing<'_>> = contenders
        .iter()
        .map(|contender| Standing::of(contender, results.of(&contender.name, n_items)))
        .filter(|standing| !standing.records.is_empty())
        .collect();
    let steered = |standing: &&Standing<'_>| standing.kind == Kind::Steered;
    if let Some(score) = compared
        && let Some(chosen) = Standing::chosen(&all.iter().filter(steered).collect::<Vec<_>>(), score)
    {
        let behind = all.iter().rposition(|standing| standing.kind == Kind::Steered).map_or(all.len(), |last| last + 1);
        all.insert(behind, chosen);
    }
    let base = all.iter().find(|standing| standing.kind == Kind::Base);
    let tuned = all.iter().find(|standing| standing.kind == Kind::Tuned);
    let experts = all.iter().filter(|standing| standing.kind == Kind::Expert);
    // Of equal ones the first.
    let expert = compared.and_then(|score| {
        experts.reduce(|best, other| if other.goodness(score) > best.goodness(score) { other } else { best })
    });
    let against = |of: &Standing<'_>, other: Option<&Standing<'_>>| {
        let parts = of.against(other.filter(|other| other.name != of.name)?, compared?);
        Some(Estimate::of_difference(&parts, SEED)).filter(|difference| difference.n > 0)
    };
    let row = |of: &Standing<'_>| {
        let (against_base, against_expert) = (against(of, base), against(of, expert));
        let is_steered = of.kind == Kind::Steered;
        let verdict = match (&against_base, &against_expert, compared) {
            (Some(base), Some(expert), Some(score)) if is_steered => Some(Verdict::of(base, expert, score.unit)),
            _ => None,
        };
        Row {
            contender: of.name.clone(),
            kind: of.kind,
            alpha: of.alpha,
            chosen: of.chosen.clone(),
            scores: scores.iter().map(|&score| Estimate::of_ratio(&of.parts(score), SEED)).collect(),
            n_items: of.records.len(),
            n_tokens: of.n_tokens(),
            n_cut: of.records.values().filter(|record| is_cut(record)).count(),
            seconds: of.seconds(),
            cost: base.map(|base| of.seconds_per_token() / base.seconds_per_token()).filter(|cost| cost.is_finite()),
            against_base,
            against_expert,
            gap: compared.filter(|_| is_steered).and_then(|score| gap(of, base?, tuned?, score)),
            verdict,
        }
    };
    all.iter().map(row).collect()
}

fn is_cut(record: &Record) -> bool {
    matches!(&record.answer, Answered::Written { finish_reason, .. } if finish_reason == Finish::Length.name())
}

/// The share of the gap between base and tuned model that is closed.
fn gap(of: &Standing<'_>, base: &Standing<'_>, tuned: &Standing<'_>, score: Score<'_>) -> Option<Estimate> {
    let all = of.records.keys().filter(|item| base.records.contains_key(item) && tuned.records.contains_key(item));
    let parts: Vec<_> = all
        .map(|item| {
            let [of, base, tuned] = [of, base, tuned].map(|standing| score.part(standing.records[item]).0);
            (score.unit.sign() * (of - base), score.unit.sign() * (tuned - base))
        })
        .collect();
    let whole: Vec<_> = parts.iter().map(|&(_, whole)| (whole, 1.0)).collect();
    let is_wide = Estimate::of_difference(&whole, SEED).sign() == Some(Ordering::Greater);
    is_wide.then(|| Estimate::of_ratio(&parts, SEED))
}

impl Score<'_> {
    /// What a record has of it, and the weight of that: 1, or its tokens or bytes.
    fn part(&self, record: &Record) -> (f64, f64) {
        let weight = match (self.unit, &record.answer) {
            (Unit::Nats, _) => record.n_tokens as f64,
            (Unit::Bits, Answered::Scored { n_bytes, .. }) => *n_bytes as f64,
            _ => 1.0,
        };
        (record.scores.get(self.name).copied().unwrap_or_default() * weight, weight)
    }
}

/// A contender's answers.
#[derive(Debug)]
struct Standing<'a> {
    name: String,
    kind: Kind,
    alpha: Option<f32>,
    chosen: Option<[String; 2]>,
    records: BTreeMap<usize, &'a Record>,
}

impl<'a> Standing<'a> {
    fn of(contender: &Contender, records: impl Iterator<Item = &'a Record>) -> Self {
        let records = records.map(|record| (record.item, record)).collect();
        let alpha = match &contender.weights.alpha[..] {
            [alpha] => alpha.as_constant(),
            _ => None,
        };
        Self { name: contender.name.clone(), kind: contender.kind, alpha, chosen: None, records }
    }

    /// What is best on every other item answers those between, and the other way round: nobody is judged by items on which
    /// it was chosen. `None` for fewer than two, or fewer than two items in either half.
    fn chosen(steered: &[&Self], score: Score<'_>) -> Option<Self> {
        let (first, others) = steered.split_first().filter(|(_, others)| !others.is_empty())?;
        let has = |item: &&usize| others.iter().all(|other| other.records.contains_key(*item));
        let items: Vec<usize> = first.records.keys().filter(has).copied().collect();
        if items.len() < 4 {
            return None;
        }
        let half = |which: usize| items.iter().copied().skip(which).step_by(2);
        let best = |which: usize| {
            let goodness = |standing: &Self| {
                let of_half = half(which).map(|item| score.part(standing.records[&item]));
                score.unit.sign() * ratio(of_half)
            };
            steered.iter().copied().reduce(|best, other| if goodness(other) > goodness(best) { other } else { best })
        };
        let (best_of_even, best_of_odd) = (best(0)?, best(1)?);
        let even = half(0).map(|item| (item, best_of_odd.records[&item]));
        let odd = half(1).map(|item| (item, best_of_even.records[&item]));
        Some(Self {
            name: CHOSEN.to_owned(),
            kind: Kind::Steered,
            alpha: None,
            chosen: Some([best_of_even.name.clone(), best_of_odd.name.clone()]),
            records: even.chain(odd).collect(),
        })
    }

    fn parts(&self, score: Score<'_>) -> Vec<(f64, f64)> {
        self.records.values().map(|record| score.part(record)).collect()
    }

    /// The score, turned so that more is better.
    fn goodness(&self, score: Score<'_>) -> f64 {
        score.unit.sign() * ratio(self.records.values().map(|record| score.part(record)))
    }

    /// How much more than another one it has of a score, item by item, with each item's weight.
    fn against(&self, other: &Self, score: Score<'_>) -> Vec<(f64, f64)> {
        let difference = |(item, record): (&usize, &&Record)| {
            let ((a, weight), (b, _)) = (score.part(record), score.part(other.records.get(item)?));
            Some((a - b, weight))
        };
        self.records.iter().filter_map(difference).collect()
    }

    fn n_tokens(&self) -> usize {
        self.records.values().map(|record| record.n_tokens).sum()
    }

    fn seconds(&self) -> f64 {
        self.records.values().map(|record| record.wall_seconds).sum()
    }

    fn seconds_per_token(&self) -> f64 {
        self.seconds() / self.n_tokens() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::{Role, Sampled, WeightsRequest};

    #[test]
    fn a_verdict_needs_both_intervals() {
        let estimate = |interval: (f64, f64)| Estimate { mean: 0.0, interval: Some(interval), n: 9 };
        let (above, around, below) = ((0.1, 0.2), (-0.1, 0.1), (-0.2, -0.1));
        for (base, expert, verdict) in [
            (above, above, Verdict::Yes),
            (above, around, Verdict::Undecided),
            (around, around, Verdict::Undecided),
            (above, below, Verdict::No),
            (below, around, Verdict::No),
            // An interval that ends at 0 decides nothing.
            (above, (0.0, 0.1), Verdict::Undecided),
        ] {
            assert_eq!(Verdict::of(&estimate(base), &estimate(expert), Unit::Share), verdict, "{base:?} {expert:?}");
        }
        // Of a loss, less is better.
        assert_eq!(Verdict::of(&estimate(below), &estimate(below), Unit::Bits), Verdict::Yes);
        assert_eq!(Verdict::of(&estimate(below), &estimate(above), Unit::Nats), Verdict::No);
    }

    fn contender(name: &str, kind: Kind) -> Contender {
        Contender {
            name: name.to_owned(),
            kind,
            sampled: Sampled::Alone(Role::Base),
            weights: WeightsRequest::default(),
        }
    }

    /// An answer that is worth so much by the filter that is compared by.
    fn record(contender: &str, item: usize, score: f64) -> Record {
        Record {
            item,
            contender: contender.to_owned(),
            scores: [("strict".to_owned(), 0.0), ("flexible".to_owned(), score)].into(),
            n_tokens: 2,
            wall_seconds: 0.5,
            answer: Answered::Written {
                text: String::new(),
                extracted: BTreeMap::new(),
                finish_reason: "stop".to_owned(),
                seconds: 1.0,
            },
        }
    }

    #[test]
    fn differences_are_over_the_items_that_both_answered() {
        let task = Task::open("gsm8k").expect("a bundled task");
        let contenders = [
            contender("base", Kind::Base),
            contender("expert", Kind::Expert),
            contender("expert 2", Kind::Expert),
            contender("antiexpert", Kind::Antiexpert),
        ];
        let mut results = Results::default();
        let mut add = |contender: &str, item, is_right| {
            results.add(record(contender, item, f64::from(u8::from(is_right)))).expect("nothing is written");
        };
        for item in 0..4 {
            add("base", item, item == 0);
            add("expert", item, item == 1);
            add("expert 2", item, item != 1);
        }
        let rows = of(&task, &contenders, &results, 3);
        assert_eq!(rows.iter().map(|row| row.contender.as_str()).collect::<Vec<_>>(), ["base", "expert", "expert 2"]);
        let share = |row: &Row| (row.scores[0].mean, row.scores[1].mean, row.n_items, row.n_tokens, row.seconds);
        assert_eq!(share(&rows[2]), (0.0, 2.0 / 3.0, 3, 6, 1.5));
        let mean = |estimate: Option<Estimate>| estimate.map(|estimate| (estimate.mean, estimate.n));
        assert_eq!((mean(rows[0].against_base), mean(rows[0].against_expert)), (None, Some((-1.0 / 3.0, 3))));
        assert_eq!((mean(rows[2].against_base), mean(rows[2].against_expert)), (Some((1.0 / 3.0, 3)), None));
        assert_eq!(mean(rows[1].against_expert), Some((-1.0 / 3.0, 3)), "the second expert is the better one");
    }
    #[test]
    fn an_alpha_is_reported_on_the_half_that_did_not_choose_it() {
        let task = Task::open("gsm8k").expect("a bundled task");
        let contenders =
            [contender("base", Kind::Base), contender("α = 1", Kind::Steered), contender("α = 2", Kind::Steered)];
        let mut results = Results::default();
        for item in 0..8 {
            let is_even = item % 2 == 0;
            results.add(record("base", item, 0.0)).expect("nothing is written");
            // The one is right on the even items, the other on the odd ones: chosen on one half, each fails on the other.
            results.add(record("α = 1", item, f64::from(u8::from(is_even)))).expect("nothing is written");
            results.add(record("α = 2", item, f64::from(u8::from(!is_even)))).expect("nothing is written");
        }
        let rows = of(&task, &contenders, &results, 8);
        let chosen = rows.last().expect("a row");
        assert_eq!((chosen.contender.as_str(), rows.len()), (CHOSEN, 4));
        assert_eq!(chosen.chosen, Some(["α = 1".to_owned(), "α = 2".to_owned()]));
        assert_eq!((chosen.scores[1].mean, rows[1].scores[1].mean, chosen.n_items), (0.0, 0.5, 8));
        // One α, or three items, leave nothing to be chosen.
        assert_eq!(of(&task, &contenders[..2], &results, 8).len(), 2);
        assert_eq!(of(&task, &contenders, &results, 3).len(), 3);
    }

    #[test]
    fn the_gap_is_told_where_there_is_one() {
        let task = Task::open("gsm8k").expect("a bundled task");
        let contenders =
            [contender("base", Kind::Base), contender("steered", Kind::Steered), contender("tuned", Kind::Tuned)];
        let gap = |n_tuned: usize| {
            let mut results = Results::default();
            for item in 0..40 {
                for (name, n_right) in [("base", 10), ("steered", 25), ("tuned", n_tuned)] {
                    results.add(record(name, item, f64::from(u8::from(item < n_right)))).expect("nothing is written");
                }
            }
            of(&task, &contenders, &results, 40)[1].gap
        };
        let closed = gap(30).expect("a gap");
        assert!((closed.mean - 0.75).abs() < 1e-12, "{closed:?}");
        assert!(closed.interval.is_some_and(|(low, high)| low > 0.4 && high <= 1.0), "{closed:?}");
        assert_eq!((gap(12), gap(5)), (None, None), "two items may be chance");
    }
}
