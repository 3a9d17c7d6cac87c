//! Reads texts on all lanes, many at once, and shows every row that predicts a token which is scored.
//!
//! A sequence takes one text after the other, and keeps what the next one's prompts have in common with what it holds. What
//! all prompts begin with, the examples of a task, is read once and given to every sequence.

use super::texts::{Text, Texts};
use crate::llama::Token;
use crate::llama::context::Outputs;
use crate::steer::{Ensemble, Error, Sampled, Sequence, Work};

/// A beginning of fewer tokens is read by every sequence for itself.
const MIN_SHARED: usize = 32;
/// Texts are put in order within so many times those that are read at once.
const N_WINDOWS: usize = 4;

/// A token that is predicted: the ensemble has its rows at `position` of `sequence` until the next step.
pub struct Predicted<'a> {
    pub ensemble: &'a Ensemble,
    pub sequence: &'a Sequence,
    /// Which of the texts, which of its answers, and which token of that.
    pub text: usize,
    pub answer: usize,
    pub position: usize,
    pub token: Token,
}

/// A text that is being read.
struct Reading<'a> {
    index: usize,
    text: &'a Text,
    sequence: Sequence,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The prompt is read; behind it comes this answer.
    Prompt {
        next: usize,
    },
    /// An answer is read; so many of its tokens were shown.
    Answer {
        index: usize,
        n_shown: usize,
    },
    Done,
}

/// Whoever is shown the tokens.
type Each<'a> = dyn FnMut(&Predicted<'_>) -> Result<(), Error> + 'a;

/// Reads texts, about in their order, as many at once as the ensemble has room for. `each` is shown every token that is
/// predicted, in order within an answer; `progress` hears how many there were before each step, and answers whether to go
/// on. Whether nobody broke it off.
pub fn read(
    ensemble: &mut Ensemble,
    texts: &Texts,
    mut each: impl FnMut(&Predicted<'_>) -> Result<(), Error>,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<bool, Error> {
    let (mut open, mut free) = (Vec::new(), Vec::new());
    let read = begin_all(ensemble, texts, &mut free, &mut progress)
        .and_then(|()| read_all(ensemble, &texts.all, &mut open, &mut free, &mut each, &mut progress));
    for sequence in open.into_iter().map(|reading| reading.sequence).chain(free) {
        ensemble.close(sequence);
    }
    read
}

/// A sequence for every text that is read at the same time, each of which holds what all prompts begin with, or what was read
/// of it until somebody broke it off.
fn begin_all(
    ensemble: &mut Ensemble,
    texts: &Texts,
    free: &mut Vec<Sequence>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<(), Error> {
    let n_at_once = ensemble.n_texts().min(texts.len());
    let shared = texts.beginning();
    let is_shared = n_at_once > 1 && shared.longest() >= MIN_SHARED;
    while free.len() < n_at_once && ensemble.has_free() {
        let sequence = match free.first() {
            Some(first) if is_shared => ensemble.fork(first)?,
            _ => ensemble.open()?,
        };
        free.push(sequence);
        if let ([first], true) = (&mut free[..], is_shared) {
            ensemble.begin(first, Sampled::Steered, &shared)?;
            ensemble.read(first, || progress(0))?;
        }
    }
    Ok(())
}

fn read_all<'a>(
    ensemble: &mut Ensemble,
    texts: &'a [Text],
    open: &mut Vec<Reading<'a>>,
    free: &mut Vec<Sequence>,
    each: &mut Each<'_>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, Error> {
    let mut waiting = alike_together(texts, free.len()).into_iter().map(|index| (index, &texts[index])).peekable();
    let mut n_shown = 0;
    loop {
        while waiting.peek().is_some()
            && let Some(sequence) = free.pop()
            && let Some((index, text)) = waiting.next()
        {
            open.push(Reading { index, text, sequence, phase: Phase::Prompt { next: 0 } });
            open.last_mut().map_or(Ok(()), |reading| reading.begin(ensemble))?;
        }
        if open.is_empty() {
            return Ok(true);
        }
        if !progress(n_shown) {
            return Ok(false);
        }
        step(ensemble, open)?;
        for reading in open.iter_mut() {
            n_shown += reading.take_in(ensemble, each)?;
        }
        for i in (0..open.len()).rev() {
            if open[i].phase == Phase::Done {
                free.push(open.remove(i).sequence);
            }
        }
    }
}

/// The order in which texts are read: those of about the same length together, since llama.cpp computes batches of sequences
/// of their own in parts to which each gives as many tokens as the shortest has. No text is moved far, so that a run that is
/// broken off has read about the first ones.
fn alike_together(texts: &[Text], n_at_once: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..texts.len()).collect();
    for window in order.chunks_mut((N_WINDOWS * n_at_once).max(1)) {
        window.sort_by_key(|&index| std::cmp::Reverse(texts[index].prompts.longest()));
    }
    order
}

/// One batch of what the readings lack, the oldest first.
fn step(ensemble: &mut Ensemble, open: &mut [Reading<'_>]) -> Result<(), Error> {
    let mut n_left = ensemble.n_batch();
    let mut n_rows_left = ensemble.n_rows_max().min(n_left);
    let mut works = Vec::with_capacity(open.len());
    for Reading { sequence, phase, .. } in open {
        let n = sequence.n_missing().min(n_left);
        let (n_tokens, n_rows, outputs) = match phase {
            Phase::Answer { .. } => (n.min(n_rows_left), n.min(n_rows_left), Outputs::Scored),
            _ => (n, 1, Outputs::Last),
        };
        if n_tokens > 0 && n_rows <= n_rows_left {
            (n_left, n_rows_left) = (n_left - n_tokens, n_rows_left - n_rows);
            works.push(Work { sequence, n_tokens, outputs, ahead: None });
        }
    }
    ensemble.step(&mut works).into_iter().collect()
}

impl Reading<'_> {
    fn begin(&mut self, ensemble: &mut Ensemble) -> Result<(), Error> {
        let Text { prompts, .. } = self.text;
        ensemble.begin(&mut self.sequence, Sampled::Steered, prompts)?;
        // A token in front of the text is read along with it.
        if prompts.longest() == 1 && self.text.answers.len() == 1 { self.want(ensemble, 0, 0) } else { Ok(()) }
    }

    /// Wants an answer but for its last token, behind which nothing is known.
    fn want(&mut self, ensemble: &Ensemble, index: usize, n_shown: usize) -> Result<(), Error> {
        self.phase = Phase::Answer { index, n_shown };
        let answer = &self.text.answers[index];
        answer[..answer.len() - 1].iter().try_for_each(|&token| ensemble.push(&mut self.sequence, token))
    }

    /// Shows the tokens whose rows the last step put out; how many.
    fn take_in(&mut self, ensemble: &mut Ensemble, each: &mut Each<'_>) -> Result<usize, Error> {
        let (answers, mut n) = (&self.text.answers, 0);
        match self.phase {
            Phase::Prompt { next } if self.sequence.n_missing() == 0 => {
                // The prompt's last row predicts how every answer begins.
                if next == 0 {
                    for answer in 0..answers.len() {
                        self.show(ensemble, answer, 0, each)?;
                    }
                    n = answers.len();
                }
                self.go_on(ensemble, next)?;
            }
            Phase::Prompt { .. } | Phase::Done => {}
            Phase::Answer { index, n_shown } => {
                let n_prompt = self.text.prompts.lane(0).len();
                let n_known = (self.sequence.n_held(0) + 1).saturating_sub(n_prompt).min(answers[index].len());
                for position in n_shown..n_known {
                    self.show(ensemble, index, position, each)?;
                }
                n = n_known.saturating_sub(n_shown);
                self.phase = Phase::Answer { index, n_shown: n_shown + n };
                if n_known == answers[index].len() {
                    self.take_back(ensemble, index + 1)?;
                }
            }
        }
        Ok(n)
    }

    /// Behind the prompt, the first answer from `next` on that is longer than the token that was shown of it.
    fn go_on(&mut self, ensemble: &Ensemble, next: usize) -> Result<(), Error> {
        if let Some(index) = self.longer(next) {
            return self.want(ensemble, index, 1);
        }
        self.phase = Phase::Done;
        Ok(())
    }

    /// Back to the prompt, if there is an answer from `next` on to be read.
    fn take_back(&mut self, ensemble: &mut Ensemble, next: usize) -> Result<(), Error> {
        if self.longer(next).is_none() {
            self.phase = Phase::Done;
        } else if ensemble.can_roll_back() {
            ensemble.keep(&mut self.sequence, 0);
            self.go_on(ensemble, next)?;
        } else {
            ensemble.begin(&mut self.sequence, Sampled::Steered, &self.text.prompts)?;
            self.phase = Phase::Prompt { next };
        }
        Ok(())
    }

    fn longer(&self, next: usize) -> Option<usize> {
        (next..self.text.answers.len()).find(|&index| self.text.answers[index].len() > 1)
    }

    fn show(&self, ensemble: &Ensemble, answer: usize, position: usize, each: &mut Each<'_>) -> Result<(), Error> {
        let token = self.text.answers[answer][position];
        each(&Predicted { ensemble, sequence: &self.sequence, text: self.index, answer, position, token })
    }
}
