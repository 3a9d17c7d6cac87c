//! What a subject predicts at one position, to be asked for the loss of several tokens.

use super::figures::{self, Subject};
use crate::arithmetic::row::Row;
use crate::arithmetic::softmax;
use crate::llama::Token;
use crate::steer::{Error, Topology};

#[derive(Debug, Default)]
pub(super) struct Prediction {
    /// `[n_vocab]` by the base's ids.
    dense: Vec<f32>,
    sum: f64,
}

impl Prediction {
    /// Takes in the lanes' rows, by the base's ids, at that position of the answer.
    pub fn fill<'a>(
        &mut self,
        topology: &'a Topology,
        subject: &Subject,
        position: usize,
        row: impl Fn(usize) -> Result<Row<'a>, Error>,
    ) -> Result<(), Error> {
        figures::fill(topology, subject, position, &row, &mut self.dense)?;
        self.sum = match subject {
            // By itself it may choose tokens too that the base lacks.
            Subject::Alone(lane) => softmax::log_sum_exp(row(*lane)?.logits()),
            Subject::Sum(_) => softmax::log_sum_exp(&self.dense),
        };
        Ok(())
    }

    /// Nats; refused of a token that a lane by itself lacks.
    pub fn loss(&self, topology: &Topology, subject: &Subject, token: Token) -> Result<f64, Error> {
        match (subject, self.dense[token as usize]) {
            (Subject::Alone(lane), f32::NEG_INFINITY) => {
                Err(Error::Lacking { role: topology.lanes()[*lane].role, token })
            }
            (_, logit) => Ok(self.sum - f64::from(logit)),
        }
    }
}
