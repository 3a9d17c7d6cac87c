//! How well every role, and the steered model at several α, predict a text: one pass over the lanes.
//!
//! Protocol: the text is cut into windows that do not overlap. A window holds as many tokens as the context, the
//! model's BOS in front where it has one, and every token behind the first of the window is scored given those before
//! it. Loss is in nats a token; the standard error takes windows as independent.

use crate::arithmetic::offset::{Term, add_dense};
use crate::arithmetic::softmax;
use crate::arithmetic::statistics::GroupedMean;
use crate::llama::context::Outputs;
use crate::llama::{self, Token, stage};
use crate::steer::{Ensemble, Error, Role, Sampled, Sequence, Work};

/// Who predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Predictor {
    Alone(Role),
    /// The base with every pair at this α.
    Steered(f32),
    /// The base with every pair at its own α.
    Planned,
}

/// One predictor's loss over the text.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictorLoss {
    pub predictor: Predictor,
    /// Nats a token.
    pub loss: GroupedMean,
    /// Its loss minus the base's, token by token: how much better (below 0) or worse it is.
    pub against_base: GroupedMean,
}

impl PredictorLoss {
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss.mean().exp()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    pub n_tokens: usize,
    /// Windows that were measured, and that there were to measure.
    pub n_windows: usize,
    pub n_windows_all: usize,
    pub n_ctx: usize,
    pub rows: Vec<PredictorLoss>,
}

/// Measures `text`: every lane alone, then `predictors`; as many windows at once as the ensemble has texts. `progress`
/// hears how many tokens are done of how many, and answers whether to go on; on a no the report covers what was done.
pub fn measure(
    ensemble: &mut Ensemble,
    text: &str,
    predictors: &[Predictor],
    max_windows: Option<usize>,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Losses, Error> {
    let in_base = |source| Error::Lane { role: Role::Base, source };
    let (n_ctx, model) = (ensemble.n_ctx(), ensemble.model(0).clone());
    let bos = model.leading_bos();
    let mut tokens = model.tokenize(text).map_err(in_base)?;
    if bos.is_some() && tokens.first() == bos.as_ref() {
        tokens.remove(0);
    }
    let n_new = (n_ctx - usize::from(bos.is_some())).max(1);
    let windows: Vec<_> = tokens.chunks(n_new).take(max_windows.unwrap_or(usize::MAX)).collect();
    let n_windows_all = windows.len();
    let n_all: usize = windows.iter().map(|window| window.len()).sum();

    let mut scores = Scores::new(ensemble, predictors);
    let (mut n_done, mut n_windows) = (0, 0);
    for group in windows.chunks(ensemble.n_texts().max(1)) {
        if !progress(n_done, n_all) {
            break;
        }
        let mut open = Vec::new();
        let read = open_windows(ensemble, group, bos, &mut open)
            .and_then(|()| read_windows(ensemble, &mut open, &mut scores, |n| progress(n_done + n, n_all)));
        for window in open {
            // What was scored of a window that was broken off counts, as a window of its own.
            n_windows += usize::from(scores.take_in(&window.losses));
            ensemble.close(window.sequence);
        }
        n_done += group.iter().map(|window| window.len()).sum::<usize>();
        if !read? {
            break;
        }
    }
    progress(n_done.min(n_all), n_all);
    let n_tokens = scores.rows.first().map_or(0, |row| row.loss.n() as usize);
    Ok(Losses { n_tokens, n_windows, n_windows_all, n_ctx, rows: scores.rows })
}

/// A window that is being read.
struct Window {
    sequence: Sequence,
    tokens: Vec<Token>,
    /// Positions that are scored, and each one's losses, row by row.
    n_scored: usize,
    losses: Vec<f64>,
}

fn open_windows(
    ensemble: &mut Ensemble,
    group: &[&[Token]],
    bos: Option<Token>,
    open: &mut Vec<Window>,
) -> Result<(), Error> {
    for new in group {
        let tokens: Vec<Token> = bos.into_iter().chain(new.iter().copied()).collect();
        let sequence = ensemble.open()?;
        open.push(Window { sequence, tokens, n_scored: 0, losses: Vec::new() });
        let Some(Window { sequence, tokens, .. }) = open.last_mut() else { continue };
        let prompts = ensemble.same(Sampled::Steered, &tokens[..1])?;
        ensemble.begin(sequence, Sampled::Steered, &prompts)?;
        // The row behind the last token predicts nothing that is known.
        for &token in &tokens[1..tokens.len().max(2) - 1] {
            ensemble.push(sequence, token)?;
        }
    }
    Ok(())
}

/// Decodes and scores windows to their ends, all of them together; whether nobody broke that off.
fn read_windows(
    ensemble: &mut Ensemble,
    windows: &mut [Window],
    scores: &mut Scores,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<bool, Error> {
    loop {
        let unread = || windows.iter().filter(|window| window.n_scored + 1 < window.tokens.len()).count();
        let n_unread = unread();
        if n_unread == 0 {
            return Ok(true);
        }
        let n_scored: usize = windows.iter().map(|window| window.n_scored).sum();
        if n_scored > 0 && !progress(n_scored) {
            return Ok(false);
        }
        let n_tokens = (ensemble.n_rows_max().min(ensemble.n_batch()) / n_unread).max(1);
        let reading = windows.iter_mut().filter(|window| window.n_scored + 1 < window.tokens.len());
        let mut works: Vec<_> = reading
            .map(|Window { sequence, .. }| Work { sequence, n_tokens, outputs: Outputs::All, ahead: None })
            .collect();
        ensemble.step(&mut works).into_iter().collect::<Result<(), _>>()?;
        for Window { sequence, tokens, n_scored, losses } in windows.iter_mut() {
            while *n_scored < sequence.n_held(0).min(tokens.len() - 1) {
                scores.score(ensemble, sequence, *n_scored, tokens[*n_scored + 1], losses)?;
                *n_scored += 1;
            }
        }
    }
}

/// Losses as they come in.
struct Scores {
    rows: Vec<PredictorLoss>,
    composed: Vec<f32>,
}

impl Scores {
    /// The base first; every later row is compared with it.
    fn new(ensemble: &Ensemble, predictors: &[Predictor]) -> Self {
        let alone = ensemble.lanes().iter().map(|lane| Predictor::Alone(lane.role));
        let row =
            |predictor| PredictorLoss { predictor, loss: GroupedMean::default(), against_base: GroupedMean::default() };
        Self { rows: alone.chain(predictors.iter().copied()).map(row).collect(), composed: Vec::new() }
    }

    /// Takes in the losses of a window, position by position; whether there are any.
    fn take_in(&mut self, losses: &[f64]) -> bool {
        for position in losses.chunks(self.rows.len()) {
            for (row, loss) in self.rows.iter_mut().zip(position) {
                row.loss.push(*loss);
                row.against_base.push(loss - position[0]);
            }
        }
        for row in &mut self.rows {
            row.loss.next_group();
            row.against_base.next_group();
        }
        !losses.is_empty()
    }

    /// Scores the token that follows a position: a loss for each row.
    fn score(
        &mut self,
        ensemble: &Ensemble,
        sequence: &Sequence,
        position: usize,
        next: Token,
        losses: &mut Vec<f64>,
    ) -> Result<(), Error> {
        let id = next as usize;
        ensemble.check_finite(sequence, position)?;
        let (base, terms) = ensemble.row(sequence, position)?;
        for (i, PredictorLoss { predictor, .. }) in self.rows.iter().enumerate() {
            losses.push(match *predictor {
                Predictor::Alone(Role::Base) => -softmax::logprob(base, id),
                // Those alone are the lanes, in order.
                Predictor::Alone(role) => {
                    let row = ensemble.lane_row(sequence, i, position)?;
                    let logit = row.get(id).ok_or(Error::Lacking { role, token: next })?;
                    softmax::log_sum_exp(row.logits()) - f64::from(logit)
                }
                Predictor::Steered(_) | Predictor::Planned => {
                    let at = terms.iter().map(|term| match *predictor {
                        Predictor::Steered(alpha) => Term { a: alpha, b: alpha, ..*term },
                        _ => *term,
                    });
                    let terms: Vec<_> = at.collect();
                    self.composed.clear();
                    self.composed.extend_from_slice(base);
                    add_dense(&mut self.composed, &terms).map_err(|error| {
                        let failure = stage::Failure::NotFinite { id: error.id };
                        ensemble.blame(sequence, position, llama::Error::Stage(failure))
                    })?;
                    -softmax::logprob(&self.composed, id)
                }
            });
        }
        Ok(())
    }
}
