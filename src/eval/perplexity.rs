//! How well every role, and the steered model at several α, predict a text: one pass over the lanes.
//!
//! Protocol: the text is cut into windows that do not overlap. A window holds as many tokens as the context, the
//! model's BOS in front where it has one, and every token behind the first of the window is scored given those before
//! it. Loss is in nats a token; the standard error takes windows as independent.

use crate::arithmetic::offset::{Term, add_dense};
use crate::arithmetic::softmax;
use crate::arithmetic::statistics::GroupedMean;
use crate::llama::{self, Token, stage};
use crate::steer::{Error, Role, Steered};

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
pub struct Row {
    pub predictor: Predictor,
    /// Nats a token.
    pub loss: GroupedMean,
    /// Its loss minus the base's, token by token: how much better (below 0) or worse it is.
    pub against_base: GroupedMean,
}

impl Row {
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss.mean().exp()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub n_tokens: usize,
    /// Windows that were measured, and that there were to measure.
    pub n_windows: usize,
    pub n_windows_all: usize,
    pub n_ctx: usize,
    pub rows: Vec<Row>,
}

/// Measures `text`: every lane alone, then `predictors`. `progress` hears how many tokens are done of how many, and answers whether to go on; on a no the
/// report covers what was done.
pub fn measure(
    steered: &mut Steered,
    text: &str,
    predictors: &[Predictor],
    max_windows: Option<usize>,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Report, Error> {
    let in_base = |source| Error::Lane { role: Role::Base, source };
    let base = steered.base();
    let n_ctx = base.n_ctx();
    let bos = base.model().leading_bos();
    let mut tokens = base.model().tokenize(text).map_err(in_base)?;
    if bos.is_some() && tokens.first() == bos.as_ref() {
        tokens.remove(0);
    }
    let n_new = (n_ctx - usize::from(bos.is_some())).max(1);
    let windows: Vec<_> = tokens.chunks(n_new).take(max_windows.unwrap_or(usize::MAX)).collect();
    let n_windows_all = windows.len();
    let n_all: usize = windows.iter().map(|window| window.len()).sum();

    let mut scores = Scores::new(steered, predictors);
    let (mut n_done, mut n_windows) = (0, 0);
    let mut window = Vec::with_capacity(n_ctx);
    'windows: for new in windows {
        if !progress(n_done, n_all) {
            break;
        }
        window.clear();
        window.extend(bos);
        window.extend_from_slice(new);
        steered.clear();
        let n_rows_max = steered.n_rows_max();
        // The row behind the last token predicts nothing that is known.
        let n_rows = window.len() - 1;
        let mut start = 0;
        while start < n_rows {
            if start > 0 && !progress(n_done + start, n_all) {
                // What was scored of it counts, as a window of its own.
                scores.next_window();
                n_windows += 1;
                break 'windows;
            }
            let piece = start..n_rows.min(start + n_rows_max);
            steered.decode(&window[piece.clone()])?;
            for (i, place) in piece.clone().enumerate() {
                scores.add(steered, i, window[place + 1])?;
            }
            start = piece.end;
        }
        scores.next_window();
        n_done += new.len();
        n_windows += 1;
    }
    progress(n_done, n_all);
    let n_tokens = scores.rows.first().map_or(0, |row| row.loss.n() as usize);
    Ok(Report { n_tokens, n_windows, n_windows_all, n_ctx, rows: scores.rows })
}

/// Losses as they come in.
struct Scores {
    rows: Vec<Row>,
    composed: Vec<f32>,
}

impl Scores {
    /// The base first; every later row is compared with it.
    fn new(steered: &Steered, predictors: &[Predictor]) -> Self {
        let alone = steered.iter().map(|lane| Predictor::Alone(lane.role()));
        let row = |predictor| Row { predictor, loss: GroupedMean::default(), against_base: GroupedMean::default() };
        let rows = alone.chain(predictors.iter().copied()).map(row).collect();
        Self { rows, composed: Vec::new() }
    }

    fn next_window(&mut self) {
        for row in &mut self.rows {
            row.loss.next_group();
            row.against_base.next_group();
        }
    }

    /// Scores the token that follows row `i`.
    fn add(&mut self, steered: &Steered, i: usize, next: Token) -> Result<(), Error> {
        let id = next as usize;
        steered.check_finite(i)?;
        let (base, terms) = steered.row(i)?;
        let base_loss = -softmax::logprob(base, id);
        let mut lanes = steered.rows(i).skip(1);
        for row in &mut self.rows {
            let loss = match row.predictor {
                Predictor::Alone(Role::Base) => base_loss,
                Predictor::Alone(role) => {
                    let Some((_, row)) = lanes.next().transpose()? else { continue };
                    let logit = row.get(id).ok_or(Error::Lacking { role, token: next })?;
                    softmax::log_sum_exp(row.logits()) - f64::from(logit)
                }
                Predictor::Steered(_) | Predictor::Planned => {
                    let alpha = |term: &Term<'_>| match row.predictor {
                        Predictor::Steered(alpha) => alpha,
                        _ => term.alpha,
                    };
                    let terms: Vec<_> = terms.iter().map(|term| Term { alpha: alpha(term), ..*term }).collect();
                    self.composed.clear();
                    self.composed.extend_from_slice(base);
                    add_dense(&mut self.composed, &terms).map_err(|error| {
                        let failure = stage::Failure::NotFinite { id: error.id };
                        steered.blame(i, llama::Error::Stage(failure))
                    })?;
                    -softmax::logprob(&self.composed, id)
                }
            };
            row.loss.push(loss);
            row.against_base.push(loss - base_loss);
        }
        Ok(())
    }
}
