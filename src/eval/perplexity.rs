//! How well every role, and the steered model under several weights, predict texts: one pass over the lanes.
//!
//! Loss is in nats a token; the standard error takes texts ([`super::texts`]: windows or documents) as independent.

use super::figures::{self, Figures, Subject, Tally};
use super::reading::{self, Predicted};
use super::texts::Texts;
use crate::steer::{Ensemble, Error, Role, Weights};

/// Who predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Predictor {
    Alone(Role),
    /// The base with every pair at this α.
    Steered(f32),
    /// The base and every pair by the weights of the plan.
    Planned,
}

/// One predictor's figures over the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictorLoss {
    pub predictor: Predictor,
    pub figures: Figures,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    pub n_tokens: usize,
    /// Texts that were measured, and that there were to measure.
    pub n_texts: usize,
    pub n_texts_all: usize,
    pub n_ctx: usize,
    /// Every lane alone, the base first; then the other predictors.
    pub rows: Vec<PredictorLoss>,
    /// The lane of the expert that predicts best alone.
    pub expert: Option<usize>,
}

/// Measures the windows of `text`, at most `max_windows`: see [`measure_texts`].
pub fn measure(
    ensemble: &mut Ensemble,
    text: &str,
    predictors: &[Predictor],
    max_windows: Option<usize>,
    progress: impl FnMut(usize, usize) -> bool,
) -> Result<Losses, Error> {
    let texts = Texts::windows(ensemble, text, max_windows)?;
    measure_texts(ensemble, &texts, predictors, progress)
}

/// Measures texts: every lane alone, then `predictors`; as many texts at once as the ensemble has room for. `progress`
/// hears how many tokens are done of how many, and answers whether to go on; on a no the report covers what was done.
pub fn measure_texts(
    ensemble: &mut Ensemble,
    texts: &Texts,
    predictors: &[Predictor],
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Losses, Error> {
    let topology = ensemble.topology().clone();
    let subject = |predictor: &Predictor| match *predictor {
        // Those alone are the lanes, which come first anyway.
        Predictor::Alone(role) => topology.lane(role).map(Subject::Alone).ok_or(Error::NoLane { role }),
        Predictor::Steered(alpha) => {
            Ok(Subject::Sum(Weights::constant(1.0, &vec![(alpha, alpha); topology.n_pairs()])))
        }
        Predictor::Planned => Ok(Subject::Sum(topology.planned().clone())),
    };
    let asked = predictors.iter().map(subject).collect::<Result<Vec<_>, _>>()?;
    let subjects: Vec<_> = Subject::lanes(&topology).chain(asked).collect();
    let (n_lanes, n_all) = (topology.lanes().len(), texts.n_tokens());

    let mut points = vec![Vec::new(); texts.len()];
    let each = |predicted: &Predicted<'_>| {
        let Predicted { ensemble, sequence, text, position, token, .. } = *predicted;
        ensemble.check_finite(sequence, position)?;
        let row = |lane| ensemble.lane_row(sequence, lane, position);
        figures::score(ensemble.topology(), &subjects, position, token, row, &mut points[text])
    };
    reading::read(ensemble, texts, each, |done| progress(done, n_all))?;

    // What was scored of a text that was broken off counts, as a text of its own.
    let mut tally = Tally::new(n_lanes, subjects.len());
    points.iter().filter(|points| !points.is_empty()).for_each(|points| tally.take_in(points));
    let n_texts = points.iter().filter(|points| !points.is_empty()).count();
    let n_tokens = points.iter().map(|points| points.len() / subjects.len()).sum();
    progress(n_tokens, n_all);
    let figures = tally.into_figures();
    let expert = figures::best_expert(&topology, &figures);
    let alone = topology.lanes().iter().map(|lane| Predictor::Alone(lane.role));
    let named = alone.chain(predictors.iter().copied()).zip(figures);
    let rows = named.map(|(predictor, figures)| PredictorLoss { predictor, figures }).collect();
    Ok(Losses { n_tokens, n_texts, n_texts_all: texts.len(), n_ctx: ensemble.n_ctx(), rows, expert })
}
