//! What is measured of a prediction, token by token: its loss, whether its top token is another than the base's, and how
//! far it is from the base.

use crate::arithmetic::offset::add_dense;
use crate::arithmetic::row::Row;
use crate::arithmetic::softmax;
use crate::arithmetic::statistics::GroupedMean;
use crate::llama::Token;
use crate::steer::{Error, Role, Topology, Weights};

/// Who predicts.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A lane by itself.
    Alone(usize),
    /// The sum under these weights.
    Sum(Weights),
}

impl Subject {
    /// Every lane by itself, the base first.
    pub fn lanes(topology: &Topology) -> impl Iterator<Item = Self> {
        (0..topology.lanes().len()).map(Self::Alone)
    }
}

/// One subject at one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Nats.
    pub loss: f64,
    /// 1 where the top token is another than the base's, else 0.
    pub changed: f64,
    /// The Kullback–Leibler divergence from the base's distribution, in nats; over the tokens that both have.
    pub divergence: f64,
}

/// One subject over all texts, each of which is a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Nats a token.
    pub loss: GroupedMean,
    /// Share of tokens at which the top token is another than the base's.
    pub changed: GroupedMean,
    /// Nats.
    pub divergence: GroupedMean,
    /// The loss minus that of each lane alone, token by token.
    against: Vec<GroupedMean>,
}

impl Figures {
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss.mean().exp()
    }

    /// Its loss minus a lane's, token by token: how much better (below 0) or worse it is.
    #[must_use]
    pub fn against(&self, lane: usize) -> &GroupedMean {
        &self.against[lane]
    }
}

/// The figures of subjects of which the first are the lanes, as [`Subject::lanes`] has them.
#[derive(Debug)]
pub struct Tally {
    n_lanes: usize,
    figures: Vec<Figures>,
}

impl Tally {
    #[must_use]
    pub fn new(n_lanes: usize, n_subjects: usize) -> Self {
        let figures = Figures { against: vec![GroupedMean::default(); n_lanes], ..Figures::default() };
        Self { n_lanes, figures: vec![figures; n_subjects] }
    }

    /// Takes in a text: every subject's point at each of its tokens, token by token.
    pub fn take_in(&mut self, points: &[Point]) {
        for of_token in points.chunks(self.figures.len()) {
            for (figures, point) in self.figures.iter_mut().zip(of_token) {
                figures.loss.push(point.loss);
                figures.changed.push(point.changed);
                figures.divergence.push(point.divergence);
                for (against, lane) in figures.against.iter_mut().zip(&of_token[..self.n_lanes]) {
                    against.push(point.loss - lane.loss);
                }
            }
        }
        for figures in &mut self.figures {
            let Figures { loss, changed, divergence, against } = figures;
            [loss, changed, divergence].into_iter().chain(against).for_each(GroupedMean::next_group);
        }
    }

    #[must_use]
    pub fn into_figures(self) -> Vec<Figures> {
        self.figures
    }
}

/// The lane of the expert that predicts best alone, where one has a lane that is not the base's; `figures` are those of
/// the lanes.
#[must_use]
pub fn best_expert(topology: &Topology, figures: &[Figures]) -> Option<usize> {
    let is_expert = |lane: &usize| matches!(topology.lanes()[*lane].role, Role::Expert(_));
    let loss = |lane: &usize| figures[*lane].loss.mean();
    (0..topology.lanes().len()).filter(is_expert).min_by(|a, b| loss(a).total_cmp(&loss(b)))
}

/// What a subject predicts with, by the base's ids `[n_vocab]`: −∞ for a token that a lane by itself lacks.
pub(super) fn fill<'a>(
    topology: &'a Topology,
    subject: &Subject,
    position: usize,
    row: impl Fn(usize) -> Result<Row<'a>, Error>,
    dense: &mut Vec<f32>,
) -> Result<(), Error> {
    let base = row(0)?.logits();
    dense.clear();
    match subject {
        Subject::Alone(lane) => {
            let row = row(*lane)?;
            dense.extend((0..base.len()).map(|id| row.get(id).unwrap_or(f32::NEG_INFINITY)));
        }
        Subject::Sum(weights) => {
            dense.extend_from_slice(base);
            let terms = topology.terms(weights, position, row)?;
            add_dense(dense, &terms)?;
        }
    }
    Ok(())
}

/// Scores one token for every subject: a point each. `row` has the lanes' rows, by the base's ids, at that position of the
/// answer.
pub fn score<'a>(
    topology: &'a Topology,
    subjects: &[Subject],
    position: usize,
    token: Token,
    row: impl Fn(usize) -> Result<Row<'a>, Error>,
    points: &mut Vec<Point>,
) -> Result<(), Error> {
    let id = token as usize;
    let base = row(0)?.logits();
    let (top, base_sum) = (softmax::argmax(base), softmax::log_sum_exp(base));
    let mut dense = Vec::with_capacity(base.len());
    for subject in subjects {
        if *subject == Subject::Alone(0) {
            points.push(Point { loss: base_sum - f64::from(base[id]), changed: 0.0, divergence: 0.0 });
            continue;
        }
        fill(topology, subject, position, &row, &mut dense)?;
        let (mut sum, divergence) = softmax::divergence(&dense, base, base_sum);
        if let Subject::Alone(lane) = subject {
            let (row, role) = (row(*lane)?, topology.lanes()[*lane].role);
            row.get(id).ok_or(Error::Lacking { role, token })?;
            // By itself it may choose tokens too that the base lacks.
            if !row.is_in_order() || row.logits().len() != base.len() {
                sum = softmax::log_sum_exp(row.logits());
            }
        }
        let changed = if softmax::argmax(&dense) == top { 0.0 } else { 1.0 };
        points.push(Point { loss: sum - f64::from(dense[id]), changed, divergence });
    }
    Ok(())
}
