//! Prompts into lanes, as far as they do not hold them already.

use super::Lanes;
use crate::llama::context::{Outputs, Part};
use crate::steer::error::in_lane;
use crate::steer::{Error, Prompts};

impl Lanes {
    /// Gives every lane its prompt; the last token of each puts out a row. What a lane holds already is kept as far
    /// as it is the same, and only the rest is decoded, in pieces. `go_on` is asked before each piece; the answer is
    /// whether all was decoded.
    pub fn prefill(&mut self, prompts: &Prompts, go_on: impl FnMut() -> bool) -> Result<bool, Error> {
        for (lane, prompt) in self.iter().zip(&prompts.0) {
            let (role, n_prompt, n_ctx) = (lane.role(), prompt.len(), lane.n_ctx());
            if n_prompt >= n_ctx {
                return Err(Error::PromptTooLong { role, n_prompt, n_ctx });
            }
        }
        self.fill(prompts, go_on)
    }

    /// [`Self::prefill`] that may fill a lane to its last place.
    pub(in crate::steer) fn fill(&mut self, prompts: &Prompts, mut go_on: impl FnMut() -> bool) -> Result<bool, Error> {
        if let Some((lane, _)) = self.iter().zip(&prompts.0).find(|(_, prompt)| prompt.is_empty()) {
            return Err(Error::EmptyPrompt { role: lane.role() });
        }
        let cast = &mut self.cast;
        (cast.n_generated, cast.first_position, cast.n_rows) = (0, 0, 1);
        // Until every lane has its prompt.
        cast.out_of_step = true;
        for (lane, prompt) in cast.lanes.iter_mut().zip(&prompts.0) {
            // All but the last token, which has to put out a row.
            let front = &prompt[..prompt.len() - 1];
            let n_same = lane.held.iter().zip(front).take_while(|(held, new)| held == new).count();
            lane.roll_back(&mut self.contexts[lane.context], n_same);
            lane.ahead.forget();
        }
        for i in 0..self.contexts.len() {
            if !self.prefill_context(i, prompts, &mut go_on)? {
                return Ok(false);
            }
        }
        self.cast.out_of_step = false;
        Ok(true)
    }

    /// Decodes what the lanes of a context lack of their prompts. A context's rows are those of its last decode, so
    /// where it has several lanes, their last tokens come together at the end.
    fn prefill_context(
        &mut self,
        i: usize,
        prompts: &Prompts,
        go_on: &mut impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        let Self { contexts, cast } = self;
        let context = &mut contexts[i];
        let is_alone = cast.lanes.iter().filter(|lane| lane.context == i).count() == 1;
        let of_context = || prompts.0.iter().enumerate().filter(|(n, _)| cast.lanes[*n].context == i);
        let which: Vec<_> = of_context().map(|(n, prompt)| (n, prompt.as_slice())).collect();
        for &(n, prompt) in &which {
            let lane = &mut cast.lanes[n];
            let prompt = if is_alone { prompt } else { &prompt[..prompt.len() - 1] };
            let mut pieces = prompt[lane.held.len()..].chunks(context.n_batch()).peekable();
            while let Some(piece) = pieces.next() {
                if !go_on() {
                    return Ok(false);
                }
                let is_last = is_alone && pieces.peek().is_none();
                let outputs = if is_last { Outputs::Last } else { Outputs::None };
                let part = Part { seq: lane.seq, tokens: piece, outputs };
                let submitted = context.submit(std::iter::once(part));
                lane.agree_with(context);
                submitted.map_err(in_lane(lane.role))?;
                context.wait();
                lane.held.extend_from_slice(piece);
            }
        }
        if is_alone || which.is_empty() {
            return Ok(true);
        }
        if !go_on() {
            return Ok(false);
        }
        let last = which.iter().map(|&(n, prompt)| (n, &prompt[prompt.len() - 1..]));
        let parts = last.map(|(n, tokens)| Part { seq: cast.lanes[n].seq, tokens, outputs: Outputs::Last });
        let submitted = context.submit(parts);
        for &(n, _) in &which {
            cast.lanes[n].agree_with(context);
        }
        submitted.map_err(in_lane(cast.lanes[which[0].0].role))?;
        context.wait();
        for (n, prompt) in which {
            cast.lanes[n].held.extend(prompt.last());
        }
        Ok(true)
    }
}
