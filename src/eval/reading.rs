//! Reads texts on all lanes, many at once, and shows every row that predicts a token which is scored.

use super::texts::{Text, Texts};
use crate::llama::Token;
use crate::llama::context::Outputs;
use crate::steer::{Ensemble, Error, Sampled, Sequence, Work};

/// A token that is predicted: the ensemble has its rows at `position` of `sequence` until the next step.
pub struct Predicted<'a> {
    pub ensemble: &'a Ensemble,
    pub sequence: &'a Sequence,
    /// Which of the texts, and which token of its answer.
    pub text: usize,
    pub position: usize,
    pub token: Token,
}

/// A text that is being read.
struct Reading<'a> {
    index: usize,
    text: &'a Text,
    sequence: Sequence,
    /// The prompt is read, or read along with the answer.
    is_in_answer: bool,
    n_scored: usize,
}

/// Reads texts in their order, as many at once as the ensemble has room for. `each` is shown every token that is
/// predicted, in order within a text; `progress` hears how many there were before each step, and answers whether to go
/// on. Whether nobody broke it off.
pub fn read(
    ensemble: &mut Ensemble,
    texts: &Texts,
    mut each: impl FnMut(&Predicted<'_>) -> Result<(), Error>,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<bool, Error> {
    let mut open = Vec::new();
    let read = read_all(ensemble, &texts.all, &mut open, &mut each, &mut progress);
    for Reading { sequence, .. } in open {
        ensemble.close(sequence);
    }
    read
}

fn read_all<'a>(
    ensemble: &mut Ensemble,
    texts: &'a [Text],
    open: &mut Vec<Reading<'a>>,
    each: &mut dyn FnMut(&Predicted<'_>) -> Result<(), Error>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, Error> {
    let mut waiting = texts.iter().enumerate();
    let mut n_scored = 0;
    loop {
        while ensemble.has_free() {
            let Some((index, text)) = waiting.next() else { break };
            let sequence = ensemble.open()?;
            open.push(Reading { index, text, sequence, is_in_answer: false, n_scored: 0 });
            let Some(reading) = open.last_mut() else { break };
            reading.begin(ensemble)?;
        }
        if open.is_empty() {
            return Ok(true);
        }
        if !progress(n_scored) {
            return Ok(false);
        }
        let (n_batch, n_rows) = (ensemble.n_batch(), ensemble.n_rows_max().min(ensemble.n_batch()));
        let n_open = open.len();
        let mut works = Vec::with_capacity(n_open);
        for Reading { sequence, is_in_answer, .. } in open.iter_mut() {
            let (most, outputs) = if *is_in_answer { (n_rows, Outputs::All) } else { (n_batch, Outputs::Last) };
            works.push(Work { sequence, n_tokens: (most / n_open).max(1), outputs, ahead: None });
        }
        ensemble.step(&mut works).into_iter().collect::<Result<(), _>>()?;
        for reading in open.iter_mut() {
            n_scored += reading.take_in(ensemble, each)?;
        }
        for i in (0..open.len()).rev() {
            if open[i].n_scored == open[i].text.answer.len() {
                ensemble.close(open.remove(i).sequence);
            }
        }
    }
}

impl Reading<'_> {
    fn begin(&mut self, ensemble: &mut Ensemble) -> Result<(), Error> {
        let Text { prompts, .. } = self.text;
        ensemble.begin(&mut self.sequence, Sampled::Steered, prompts)?;
        // A token in front of the text is read along with it.
        if prompts.longest() == 1 { self.enter_answer(ensemble) } else { Ok(()) }
    }

    /// Wants the answer but for its last token, behind which nothing is known.
    fn enter_answer(&mut self, ensemble: &Ensemble) -> Result<(), Error> {
        self.is_in_answer = true;
        let answer = &self.text.answer;
        answer[..answer.len() - 1].iter().try_for_each(|&token| ensemble.push(&mut self.sequence, token))
    }

    /// Shows the tokens whose rows the last step put out; how many.
    fn take_in(
        &mut self,
        ensemble: &Ensemble,
        each: &mut dyn FnMut(&Predicted<'_>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let n_prompt = self.text.prompts.lane(0).len();
        let is_read = self.is_in_answer || self.sequence.n_missing() == 0;
        if !is_read {
            return Ok(0);
        }
        let n_before = self.n_scored;
        let n_rows = (self.sequence.n_held(0) + 1).saturating_sub(n_prompt);
        while self.n_scored < self.text.answer.len().min(n_rows) {
            let (sequence, position, text) = (&self.sequence, self.n_scored, self.index);
            each(&Predicted { ensemble, sequence, text, position, token: self.text.answer[position] })?;
            self.n_scored += 1;
        }
        if !self.is_in_answer {
            self.enter_answer(ensemble)?;
        }
        Ok(self.n_scored - n_before)
    }
}
