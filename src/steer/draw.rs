//! A server that samples: the offset goes there, and a token comes back.

use std::sync::Arc;

use super::context::Context;
use super::error::{Error, on_server};
use super::sequence::{Sequence, ServerDraw};
use super::{Ensemble, Role};
use crate::arithmetic::hidden;
use crate::arithmetic::offset::add_dense;
use crate::llama::Token;
use crate::{remote, sampling};

impl Ensemble {
    /// Whether the server that holds the base draws a sequence's tokens.
    pub(super) fn is_drawn(&self, sequence: &Sequence) -> bool {
        self.context(sequence.sampled()).remote().is_some_and(|context| context.server().draws())
    }

    /// Refuses what a server that draws cannot be sent as an offset of every token: terms with the base's own row.
    pub fn check_drawn(&self, weights: &super::Weights) -> Result<(), Error> {
        let base = self.lane(Role::Base);
        let refuse = |what: &str| Err(on_server(Role::Base)(remote::Error::NotExact { what: what.to_owned() }));
        if self.topology.pairs.iter().any(|pair| pair.expert == base || pair.antiexpert == base) {
            return refuse("a pair one side of which is the base: its logits never come here");
        }
        if weights.has_base() {
            return refuse("a weight of the base other than 1: its logits never come here");
        }
        Ok(())
    }

    /// Sends the offset at a sequence's next position, and lets the server draw.
    pub(super) fn send_offset(&mut self, sequence: &Sequence) -> Result<(), Error> {
        let lane = sequence.sampled();
        let role = self.lanes()[lane].role;
        let no_draw = || {
            let what = "scores of a text: a server that samples tells one token".to_owned();
            on_server(role)(remote::Error::NotExact { what })
        };
        let draw: Arc<ServerDraw> = sequence.draw.clone().ok_or_else(no_draw)?;
        let position = sequence.n_generated();
        let mut offset = vec![0.0; self.topology.n_vocab];
        add_dense(&mut offset, &self.terms(sequence, position)?)?;
        for &(token, bias) in &draw.sampling.logit_bias {
            if let Some(offset) = offset.get_mut(token as usize) {
                *offset += bias;
            }
        }
        let threshold = self.server().and_then(|server| server.spec().offset_threshold).unwrap_or(0.0);
        let mut biases = far_from_most(&offset, threshold);
        biases.retain(|(id, _)| draw.never.binary_search(id).is_err());
        biases.extend(draw.never.iter().map(|&token| (token, None)));
        let seed = draw.sampling.seed.map_or_else(sampling::random_seed, |seed| at_position(seed, position));
        let Context::Remote(remote) = &mut self.contexts[self.topology.lanes[lane].context] else { return Ok(()) };
        remote.context.draw(sequence.tracks[lane].seq, biases, &draw.sampling, seed);
        Ok(())
    }

    /// Asks the server for ids that it does not show, where some of them could matter to the sum at the last `n_rows` positions
    /// of a sequence; whether it did.
    pub(super) fn ask_for_hidden(&mut self, sequence: &Sequence, n_rows: usize) -> Result<bool, Error> {
        let Some(n) = self.server().and_then(|server| server.n_named()) else { return Ok(false) };
        let first = (sequence.n_generated() + 1).saturating_sub(n_rows);
        let (mut all_wanted, mut composed) = (Vec::new(), Vec::new());
        for place in 0..n_rows {
            let position = first + place;
            let Some(row) = self.told(sequence, position)? else { continue };
            let Some(shown) = row.shown() else { continue };
            self.composed(sequence, position, 0.0, &mut composed)?;
            let bound = hidden::hidden(row.logits(), &composed, shown, row.rest(), row.cap());
            let wanted = hidden::most_wanted(row.logits(), &composed, shown, bound, n);
            if !wanted.is_empty() {
                all_wanted.push((place, wanted));
            }
        }
        let lane = sequence.sampled();
        let Context::Remote(remote) = &mut self.contexts[self.topology.lanes[lane].context] else { return Ok(false) };
        let is_asked = !all_wanted.is_empty();
        if is_asked {
            remote.context.name(sequence.tracks[lane].seq, all_wanted);
        }
        Ok(is_asked)
    }

    /// Waits for what was asked for so.
    pub(super) fn collect_named(&mut self, sequence: &Sequence) -> Result<(), Error> {
        let lane = sequence.sampled();
        let role = self.lanes()[lane].role;
        let Context::Remote(remote) = &mut self.contexts[self.topology.lanes[lane].context] else { return Ok(()) };
        let named = remote.context.collect_named(sequence.tracks[lane].seq);
        named.map_err(on_server(role))
    }

    /// Waits for the token that a sequence's server draws.
    pub(super) fn collect_drawn(&mut self, sequence: &Sequence) -> Result<(), Error> {
        let lane = sequence.sampled();
        let role = self.lanes()[lane].role;
        let Context::Remote(remote) = &mut self.contexts[self.topology.lanes[lane].context] else { return Ok(()) };
        let drawn = remote.collect_drawn(sequence.tracks[lane].seq);
        drawn.map_err(on_server(role))
    }
}

/// Another seed at each position, since every request begins anew: the finaliser of `SplitMix64`.
fn at_position(seed: u32, position: usize) -> u32 {
    let mut mixed = u64::from(seed) ^ (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as u32
}

/// Offsets but for those within `threshold` of a number near which most of them lie, and from which all are counted: a
/// constant cancels in the softmax. Leaving them out changes no log-probability by more than twice the threshold.
fn far_from_most(offset: &[f32], threshold: f32) -> Vec<(Token, Option<f32>)> {
    let mut centre = 0.0;
    if threshold > 0.0 {
        let mut sorted = offset.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let (mut first, mut most) = (0, 0);
        for last in 0..sorted.len() {
            while sorted[last] - sorted[first] > 2.0 * threshold {
                first += 1;
            }
            if last - first + 1 > most {
                most = last - first + 1;
                centre = f32::midpoint(sorted[first], sorted[last]);
            }
        }
    }
    let far = offset.iter().enumerate().filter(|(_, offset)| (**offset - centre).abs() > threshold);
    far.map(|(id, offset)| (id as Token, Some(offset - centre))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_counted_from_where_most_of_them_lie() {
        let offset = [5.0, 1.0, 1.0625, 0.9375, 1.03125, -3.0];
        assert_eq!(far_from_most(&offset, 0.0).len(), 6);
        let far = far_from_most(&offset, 0.125);
        assert_eq!(far.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 5]);
        assert!(far[0].1.is_some_and(|bias| (bias - 4.0).abs() < 1e-6), "{far:?}");
        assert_eq!(far_from_most(&[0.0, 0.0, 2.0], 0.0), [(2, Some(2.0))]);
    }

    #[test]
    fn leaving_offsets_out_changes_no_probability_by_more_than_is_said() {
        let offset: Vec<f32> = (0..200).map(|i| (i as f32 * 0.37).sin() * 0.3).collect();
        let base: Vec<f32> = (0..200).map(|i| (i as f32 * 1.7).cos() * 4.0).collect();
        let threshold = 0.05;
        let mut sent = base.clone();
        for (id, bias) in far_from_most(&offset, threshold) {
            sent[id as usize] += bias.unwrap_or(0.0);
        }
        let whole: Vec<f32> = base.iter().zip(&offset).map(|(base, offset)| base + offset).collect();
        let logprobs = |row: &[f32]| {
            let sum = crate::arithmetic::softmax::log_sum_exp(row);
            row.iter().map(|logit| f64::from(*logit) - sum).collect::<Vec<_>>()
        };
        let apart = logprobs(&sent).iter().zip(logprobs(&whole)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart <= 2.0 * f64::from(threshold) && apart > 0.0, "{apart}");
    }

    #[test]
    fn every_position_has_a_seed_of_its_own() {
        let seeds: std::collections::BTreeSet<u32> = (0..1000).map(|position| at_position(7, position)).collect();
        assert_eq!(seeds.len(), 1000);
    }
}
