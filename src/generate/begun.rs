//! Tokens that an answer begins with. Nobody chooses them, and the answer goes on behind them as if they had been chosen.

use std::time::{Duration, Instant};

use super::form::Asked;
use super::text::TextStream;
use crate::llama::chain::Chain;
use crate::llama::{self, Token};
use crate::parameter::OutOfRange;
use crate::steer::error::in_lane;
use crate::steer::{Ends, Ensemble, Error};

/// What a grammar may take for them: all texts wait for it.
const MAX_TIME: Duration = Duration::from_secs(2);

/// Whoever hears of the tokens of an answer.
pub(super) struct Hearers<'a> {
    pub chain: &'a mut Chain,
    pub text: &'a mut TextStream,
    pub asked: &'a mut Asked,
}

impl Hearers<'_> {
    /// Tells them of tokens by the ids of `lane`. Refused where the answer could not have begun so.
    pub fn begin(&mut self, ensemble: &Ensemble, lane: usize, ends: &Ends, tokens: &[Token]) -> Result<(), Error> {
        let began = Instant::now();
        let mut bytes = Vec::new();
        for (position, &token) in tokens.iter().enumerate() {
            let refused = |source: Error| Error::Begun { position, source: Box::new(source) };
            if ends.is_eog(token) {
                let expected = "one behind which the answer goes on";
                return Err(refused(OutOfRange::new("token", format!("{token}, which ends a text"), expected).into()));
            }
            self.chain.accept(token).map_err(|error| refused(Error::Chain(error)))?;
            if self.chain.has_form() && began.elapsed() > MAX_TIME {
                let (seconds, n_tokens) = (began.elapsed().as_secs_f32(), position as u32 + 1);
                return Err(Error::Chain(llama::Error::SlowGrammar { seconds, n_tokens }));
            }
            let piece = ensemble.model(lane).append_piece(token, &mut bytes);
            piece.map_err(in_lane(ensemble.lanes()[lane].role))?;
        }
        self.asked.hear(&self.text.begin(&bytes));
        match self.text.stopped_by() {
            None => Ok(()),
            Some(stop) => {
                let got = format!("a text with the stop string {stop:?} in it");
                Err(OutOfRange::new("begin", got, "the beginning of an answer that goes on").into())
            }
        }
    }
}
