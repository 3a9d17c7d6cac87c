//! What a stage's lanes are to hold.

use proxytune::llama::Token;
use proxytune::steer::{Error, Prompts, Side, Topology};

/// A text that may begin otherwise for experts than for antiexperts, by the lanes' own ids.
#[derive(Debug, Clone)]
pub struct StageText {
    prompts: Prompts,
    /// Tokens behind what was fed.
    n_generated: usize,
    /// A token that some lane lacks, and how many tokens came with it and behind it: the text cannot be read while they
    /// are there.
    refused: Option<(String, usize)>,
}

impl StageText {
    pub fn new(topology: &Topology) -> Self {
        Self { prompts: Prompts::empty(topology), n_generated: 0, refused: None }
    }

    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    pub fn n_generated(&self) -> usize {
        self.n_generated
    }

    /// Tokens of the shortest lane.
    fn len(&self) -> usize {
        (0..self.prompts.n_lanes()).map(|lane| self.prompts.lane(lane).len()).min().unwrap_or(0)
    }

    /// Whether there is anything to read on every lane; else why not, if something was accepted at all.
    pub fn check(&self, topology: &Topology) -> Result<bool, String> {
        if let Some((reason, _)) = &self.refused {
            return Err(reason.clone());
        }
        if self.len() > 0 {
            return Ok(true);
        }
        let lanes = topology.lanes().iter().enumerate();
        let nothing_fed = lanes.clone().find(|(i, _)| self.prompts.lane(*i).is_empty());
        let is_begun = lanes.clone().any(|(i, _)| !self.prompts.lane(i).is_empty());
        match nothing_fed {
            Some((_, lane)) if is_begun => Err(Error::NothingFed { role: lane.role }.to_string()),
            _ => Ok(false),
        }
    }

    /// The text of a side becomes this, by the base's ids, which were checked.
    pub fn feed(&mut self, topology: &Topology, side: Side, tokens: &[Token]) {
        for (i, lane) in topology.lanes().iter().enumerate().filter(|(_, lane)| side.has(lane.role)) {
            let own = self.prompts.lane_mut(i);
            own.clear();
            own.extend(tokens.iter().filter_map(|&token| lane.id(token)));
        }
        (self.n_generated, self.refused) = (0, None);
    }

    /// Every lane's text goes on by a token of the base.
    pub fn push(&mut self, topology: &Topology, token: Token) {
        if let Some((_, n)) = &mut self.refused {
            *n += 1;
            return;
        }
        if let Some(lane) = topology.lanes().iter().find(|lane| lane.id(token).is_none()) {
            self.refused = Some((Error::Lacking { role: lane.role, token }.to_string(), 1));
            return;
        }
        for (i, lane) in topology.lanes().iter().enumerate() {
            self.prompts.lane_mut(i).extend(lane.id(token));
        }
        self.n_generated += 1;
    }

    /// Takes back the last `n` tokens of every lane.
    pub fn roll_back(&mut self, mut n: usize) {
        if let Some((_, n_refused)) = &mut self.refused {
            let n_back = n.min(*n_refused);
            *n_refused -= n_back;
            n -= n_back;
            if *n_refused == 0 {
                self.refused = None;
            }
        }
        for lane in 0..self.prompts.n_lanes() {
            let own = self.prompts.lane_mut(lane);
            own.truncate(own.len().saturating_sub(n));
        }
        self.n_generated = self.n_generated.saturating_sub(n);
    }
}
