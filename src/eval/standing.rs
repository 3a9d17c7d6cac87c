//! How contenders stand against one another: shares of right answers, paired differences, a verdict.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::results::{Record, Results};
use super::runner::{Contender, Kind};
use super::task::Task;
use crate::arithmetic::bootstrap::Estimate;
use crate::generate::Finish;

/// Every interval is drawn from this.
const SEED: u64 = 1;

/// A contender's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub contender: String,
    pub kind: Kind,
    /// The share of right answers by each filter, in the task's order.
    pub shares: Vec<Estimate>,
    pub n_items: usize,
    /// Tokens of all answers.
    pub n_tokens: usize,
    /// Answers that were as long as the task allows, and may have been cut off before their end.
    pub n_cut: usize,
    /// What it took, all runs together.
    pub seconds: f64,
    /// Its share minus the base's and minus the expert's, over the items that both answered, by the filter that the task
    /// compares by. `None` for that contender itself, or where it did not answer.
    pub against_base: Option<Estimate>,
    pub against_expert: Option<Estimate>,
}

/// Whether steering is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It beats base and expert: both intervals are above 0.
    Yes,
    /// It is worse than one of them: an interval is below 0.
    No,
    Undecided,
}

impl Verdict {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undecided => "undecided",
        }
    }
}

impl Row {
    /// Whether a steered contender beats the base and the expert alone. `None` for others, and where either did not answer.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let (base, expert) = (self.against_base?, self.against_expert?);
        if self.kind != Kind::Steered {
            return None;
        }
        let signs = [base.sign(), expert.sign()];
        Some(match signs {
            [Some(Ordering::Greater), Some(Ordering::Greater)] => Verdict::Yes,
            _ if signs.contains(&Some(Ordering::Less)) => Verdict::No,
            _ => Verdict::Undecided,
        })
    }
}

/// Rows of the contenders that answered anything of the first `n_items`, in order. Of several experts the best is the one
/// that others are compared with.
#[must_use]
pub fn of(task: &Task, contenders: &[Contender], results: &Results, n_items: usize) -> Vec<Row> {
    let filter = task.compared_by();
    let answered: Vec<Answered<'_>> = contenders
        .iter()
        .map(|contender| Answered::new(contender, results.of(&contender.name, n_items), filter))
        .filter(|answered| !answered.records.is_empty())
        .collect();
    let base = answered.iter().find(|answered| answered.contender.kind == Kind::Base);
    let experts = answered.iter().filter(|answered| answered.contender.kind == Kind::Expert);
    // Of equal ones the first.
    let expert = experts.reduce(|best, other| if other.share() > best.share() { other } else { best });
    let against = |of: &Answered<'_>, other: Option<&Answered<'_>>| {
        let other = other.filter(|other| other.contender != of.contender)?;
        let both = of.right.iter().filter_map(|(item, a)| Some((*a, *other.right.get(item)?)));
        Some(Estimate::of_difference(both, SEED)).filter(|difference| difference.n > 0)
    };
    let row = |of: &Answered<'_>| Row {
        contender: of.contender.name.clone(),
        kind: of.contender.kind,
        shares: task.exact.names().map(|name| Estimate::of(&right(&of.records, name), SEED)).collect(),
        n_items: of.records.len(),
        n_tokens: of.records.iter().map(|record| record.n_tokens).sum(),
        n_cut: of.records.iter().filter(|record| record.finish_reason == Finish::Length.name()).count(),
        seconds: of.records.iter().map(|record| record.wall_seconds).sum(),
        against_base: against(of, base),
        against_expert: against(of, expert),
    };
    answered.iter().map(row).collect()
}

/// A contender's answers, and which of them are right by the filter that is compared by.
struct Answered<'a> {
    contender: &'a Contender,
    records: Vec<&'a Record>,
    right: BTreeMap<usize, f64>,
}

impl<'a> Answered<'a> {
    fn new(contender: &'a Contender, records: impl Iterator<Item = &'a Record>, filter: &str) -> Self {
        let records: Vec<_> = records.collect();
        let right = records.iter().map(|record| record.item).zip(right(&records, filter)).collect();
        Self { contender, records, right }
    }

    fn share(&self) -> f64 {
        self.right.values().sum::<f64>() / self.right.len() as f64
    }
}

/// 1 for every right answer, 0 for every wrong one.
fn right(records: &[&Record], filter: &str) -> Vec<f64> {
    records.iter().map(|record| f64::from(u8::from(record.correct.get(filter) == Some(&true)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::{Role, Sampled, WeightsRequest};

    fn row(base: (f64, f64), expert: (f64, f64)) -> Row {
        let against = |interval: (f64, f64)| Some(Estimate { mean: 0.0, interval: Some(interval), n: 9 });
        Row {
            contender: "steered".to_owned(),
            kind: Kind::Steered,
            shares: Vec::new(),
            n_items: 9,
            n_tokens: 0,
            n_cut: 0,
            seconds: 0.0,
            against_base: against(base),
            against_expert: against(expert),
        }
    }

    #[test]
    fn a_verdict_needs_both_intervals() {
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
            assert_eq!(row(base, expert).verdict(), Some(verdict), "{base:?} {expert:?}");
        }
        assert_eq!(Row { kind: Kind::Tuned, ..row(above, above) }.verdict(), None);
        assert_eq!(Row { against_expert: None, ..row(above, above) }.verdict(), None);
    }

    #[test]
    fn differences_are_over_the_items_that_both_answered() {
        let task = Task::open("gsm8k").expect("a bundled task");
        let contender = |name: &str, kind, role| Contender {
            name: name.to_owned(),
            kind,
            sampled: Sampled::Alone(role),
            weights: WeightsRequest::default(),
        };
        let contenders = [
            contender("base", Kind::Base, Role::Base),
            contender("expert", Kind::Expert, Role::Expert(0)),
            contender("expert 2", Kind::Expert, Role::Expert(1)),
            contender("antiexpert", Kind::Antiexpert, Role::Antiexpert(0)),
        ];
        let mut results = Results::default();
        let mut add = |contender: &str, item, is_right| {
            let correct = [("strict".to_owned(), false), ("flexible".to_owned(), is_right)].into();
            let record = Record {
                item,
                contender: contender.to_owned(),
                text: String::new(),
                extracted: BTreeMap::new(),
                correct,
                n_tokens: 2,
                finish_reason: "stop".to_owned(),
                seconds: 1.0,
                wall_seconds: 0.5,
            };
            results.add(record).expect("nothing is written");
        };
        for item in 0..4 {
            add("base", item, item == 0);
            add("expert", item, item == 1);
            add("expert 2", item, item != 1);
        }
        let rows = of(&task, &contenders, &results, 3);
        assert_eq!(rows.iter().map(|row| row.contender.as_str()).collect::<Vec<_>>(), ["base", "expert", "expert 2"]);
        let share = |row: &Row| (row.shares[0].mean, row.shares[1].mean, row.n_items, row.n_tokens, row.seconds);
        assert_eq!(share(&rows[2]), (0.0, 2.0 / 3.0, 3, 6, 1.5));
        let mean = |estimate: Option<Estimate>| estimate.map(|estimate| (estimate.mean, estimate.n));
        assert_eq!((mean(rows[0].against_base), mean(rows[0].against_expert)), (None, Some((-1.0 / 3.0, 3))));
        assert_eq!((mean(rows[2].against_base), mean(rows[2].against_expert)), (Some((1.0 / 3.0, 3)), None));
        assert_eq!(mean(rows[1].against_expert), Some((-1.0 / 3.0, 3)), "the second expert is the better one");
    }
}
