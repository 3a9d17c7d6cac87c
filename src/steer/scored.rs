//! A prompt whose own tokens are looked at: lanes put out a row behind each of them.
//!
//! While it is read, the tokens behind the first one stand where an answer's do. A row belongs to the token that it
//! predicts, so all lanes have to be given the same tokens.

use super::error::Error;
use super::sequence::{Prompts, Sampled, Sequence};
use super::{Ensemble, Role};

impl Ensemble {
    /// Refuses prompts that are not the same tokens on every lane in use.
    pub fn check_alike(&self, sampled: Sampled, prompts: &Prompts) -> Result<(), Error> {
        if self.alone(sampled)?.is_some() {
            return Ok(());
        }
        let expected = prompts.sampled();
        let is_alike = |(i, lane): (usize, &super::Lane)| {
            let own = prompts.lane(i);
            own.len() == expected.len() && own.iter().zip(expected).all(|(&own, &token)| lane.id(token) == Some(own))
        };
        match self.lanes().iter().enumerate().position(|lane| !is_alike(lane)) {
            Some(lane) => Err(Error::OtherTokens { role: self.lanes()[lane].role, sampled: Role::Base }),
            None => Ok(()),
        }
    }

    /// Makes a sequence want these prompts, which are the same tokens on every lane in use, with a row behind each. Nothing
    /// that its lanes hold is kept, since rows were put out for none of it.
    pub fn begin_scored(&mut self, sequence: &mut Sequence, sampled: Sampled, prompts: &Prompts) -> Result<(), Error> {
        sequence.alone = self.alone(sampled)?;
        for lane in sequence.lanes() {
            self.roll_back(sequence, lane, 0);
        }
        self.begin(sequence, sampled, prompts)?;
        for lane in sequence.lanes() {
            sequence.tracks[lane].n_prompt = prompts.lane(lane).len().min(1);
        }
        sequence.n_generated = prompts.sampled().len().saturating_sub(1);
        Ok(())
    }

    /// Makes the lanes in use go on from the same token: where one lost what it held, the others give it up too.
    pub fn level(&mut self, sequence: &mut Sequence) {
        loop {
            let least = sequence.lanes().map(|lane| sequence.n_held(lane)).min().unwrap_or(0);
            let Some(ahead) = sequence.lanes().find(|&lane| sequence.n_held(lane) > least) else { return };
            self.roll_back(sequence, ahead, least);
        }
    }

    /// The answer begins behind everything that is wanted.
    pub fn begin_answer(&self, sequence: &mut Sequence) {
        sequence.n_generated = 0;
        sequence.tracks.iter_mut().for_each(|track| track.n_prompt = track.wanted.len());
    }
}
