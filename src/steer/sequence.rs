//! One text on its lanes: plain data, owned by whoever runs the text.
//!
//! Of every lane a sequence knows the tokens that the lane is to hold and how many it holds. Reading a prompt, decoding a
//! token, catching up with drafts and scoring are one thing then: a step that brings `n_held` nearer to what is wanted.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::weights::Weights;
use super::{Role, Topology};
use crate::llama::Token;
use crate::sampling::Sampling;

/// What a text is sampled from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampled {
    /// The base with every pair, by the base's ids.
    #[default]
    Steered,
    /// One role by itself, by its own ids.
    Alone(Role),
}

/// What each lane in use is given to continue, by its own ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    pub(super) lanes: Vec<Vec<Token>>,
    /// The lane that is sampled from.
    pub(super) sampled: usize,
}

impl Prompts {
    /// Nothing for any lane.
    #[must_use]
    pub fn empty(topology: &Topology) -> Self {
        Self { lanes: vec![Vec::new(); topology.lanes().len()], sampled: 0 }
    }

    #[must_use]
    pub fn n_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// What a lane is given, to be changed.
    pub fn lane_mut(&mut self, lane: usize) -> &mut Vec<Token> {
        &mut self.lanes[lane]
    }

    /// What the lane is given that tokens are chosen for.
    #[must_use]
    pub fn sampled(&self) -> &[Token] {
        self.lanes.get(self.sampled).map_or(&[], Vec::as_slice)
    }

    /// Tokens of the longest lane.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.lanes.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Tokens of all lanes together.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.lanes.iter().map(Vec::len).sum()
    }

    /// Keeps what each lane has at the beginning of both.
    pub fn keep_common(&mut self, other: &Self) {
        for (lane, other) in self.lanes.iter_mut().zip(&other.lanes) {
            let n_common = lane.iter().zip(other).take_while(|(a, b)| a == b).count();
            lane.truncate(n_common);
        }
    }

    /// What a lane is given.
    #[must_use]
    pub fn lane(&self, lane: usize) -> &[Token] {
        self.lanes.get(lane).map_or(&[], Vec::as_slice)
    }
}

/// A text.
#[derive(Debug)]
pub struct Sequence {
    /// Which of the ensemble's texts it is.
    pub(super) text: usize,
    /// One for each lane of the ensemble.
    pub(super) tracks: Vec<Track>,
    /// The only lane in use, if not all are.
    pub(super) alone: Option<usize>,
    pub(super) weights: Weights,
    /// Tokens behind the prompts.
    pub(super) n_generated: usize,
    /// How a server draws, where it is one that does.
    pub(super) draw: Option<Arc<ServerDraw>>,
}

/// What a server draws a token from, beside the offset that it is sent.
#[derive(Debug)]
pub struct ServerDraw {
    pub sampling: Sampling,
    /// Tokens that must not be chosen; sorted.
    pub never: Vec<Token>,
}

/// A text on one lane, by the lane's own ids.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The sequence of the lane's context.
    pub seq: usize,
    pub wanted: Vec<Token>,
    pub n_prompt: usize,
    pub n_held: usize,
    /// The token behind which the first of the track's rows stands. Those that had to outlive a decode of the context are
    /// copied here, `n_kept` of them; the rest is the context's.
    pub first_row: usize,
    pub n_kept: usize,
    pub kept: Vec<f32>,
    /// The other lanes have caught up: the next row begins anew.
    pub is_settled: bool,
    /// Nothing is decoded, until something is asked of the lane again.
    pub rests: bool,
}

impl Track {
    /// Tokens that the lane has still to decode.
    pub fn n_missing(&self) -> usize {
        self.wanted.len() - self.n_held
    }

    /// Tokens at the beginning that the lane holds already.
    pub fn n_common(&self, prompt: &[Token]) -> usize {
        self.wanted[..self.n_held].iter().zip(prompt).take_while(|(held, new)| held == new).count()
    }

    pub fn forget_rows(&mut self) {
        (self.n_kept, self.is_settled) = (0, false);
        self.kept.clear();
    }

    /// Forgets the rows behind what the lane still holds.
    pub fn forget_later_rows(&mut self) {
        if let Some(n_vocab) = self.kept.len().checked_div(self.n_kept) {
            self.n_kept = self.n_kept.min(self.n_held.saturating_sub(self.first_row));
            self.kept.truncate(self.n_kept * n_vocab);
        }
    }
}

impl Sequence {
    pub(super) fn new(text: usize, tracks: Vec<Track>) -> Self {
        Self { text, tracks, alone: None, weights: Weights::default(), n_generated: 0, draw: None }
    }

    /// The lanes in use.
    #[must_use]
    pub fn lanes(&self) -> Range<usize> {
        self.alone.map_or(0..self.tracks.len(), |lane| lane..lane + 1)
    }

    /// Those of them that decode: no row of the others is asked for at present.
    pub fn awake(&self) -> impl Iterator<Item = usize> + '_ {
        self.lanes().filter(|&lane| !self.tracks[lane].rests)
    }

    /// The lane whose ids its tokens have.
    #[must_use]
    pub fn sampled(&self) -> usize {
        self.alone.unwrap_or(0)
    }

    /// Whether it is the base with its pairs, and not one role by itself.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.alone.is_none()
    }

    /// The weights of the sum; they may change between steps.
    pub fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    /// Says how a server that draws the tokens is to do so.
    pub fn draw_with(&mut self, draw: Arc<ServerDraw>) {
        self.draw = Some(draw);
    }

    /// Tokens behind the prompts, decoded or not.
    #[must_use]
    pub fn n_generated(&self) -> usize {
        self.n_generated
    }

    /// Tokens that a lane holds.
    #[must_use]
    pub fn n_held(&self, lane: usize) -> usize {
        self.tracks[lane].n_held
    }

    /// Tokens that all lanes hold together, those that are not in use too.
    #[must_use]
    pub fn n_held_by_all(&self) -> usize {
        self.tracks.iter().map(|track| track.n_held).sum()
    }

    /// Tokens that the lane which lacks most of them has still to decode; one that rests lacks nothing.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        self.awake().map(|lane| self.tracks[lane].n_missing()).max().unwrap_or(0)
    }

    /// Tokens of the longest lane, decoded or not.
    #[must_use]
    pub fn n_wanted(&self) -> usize {
        self.tracks[self.lanes()].iter().map(|track| track.wanted.len()).max().unwrap_or(0)
    }

    /// Tokens of the shortest lane, decoded or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracks[self.lanes()].iter().map(|track| track.wanted.len()).min().unwrap_or(0)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it wants just these prompts, with nothing behind them.
    #[must_use]
    pub fn wants(&self, prompts: &Prompts) -> bool {
        self.is_steered()
            && self.n_generated == 0
            && self.tracks.iter().zip(&prompts.lanes).all(|(track, prompt)| track.wanted == *prompt)
    }

    /// Tokens at the beginning of prompts that it holds already, all their lanes together.
    #[must_use]
    pub fn n_common(&self, prompts: &Prompts) -> usize {
        self.tracks.iter().zip(&prompts.lanes).map(|(track, prompt)| track.n_common(prompt)).sum()
    }
}
