//! The drafts of one text, round by round.

use super::lookup::look_up;
use super::policy::{Policy, Share};
use super::{Confidence, Draft, Drafter, Length, Stats};
use crate::arithmetic::row::Row;
use crate::arithmetic::softmax;
use crate::llama::Token;
use crate::llama::chain::Chain;
use crate::llama::draft_chain::{DraftChain, Draw};
use crate::steer::{Ensemble, Sampled};

/// Drafts for one generation.
pub struct Drafting {
    draft: Draft,
    draw: Draw,
    /// The last one: its memory serves the next.
    chain: Option<DraftChain>,
    /// The lane that drafts, where one does.
    lane: Option<usize>,
    /// Most tokens in a round.
    n_max: usize,
    stats: Stats,
    /// The prompt and everything chosen, by the ids of the lane that is sampled from.
    text: Vec<Token>,
    /// The running round: drafts behind the token that was chosen last, each with a confidence.
    drafts: Vec<Token>,
    confidences: Vec<Confidence>,
    found: Vec<Token>,
    /// A round is running; a model drafts in it, and its next row is awaited.
    is_open: bool,
    by_model: bool,
    awaits: bool,
    /// The chance that all drafts so far are accepted.
    reach: f64,
    /// A model's last draft, where that was not taken; the text's, where none of it was.
    passed: Option<(Token, Confidence)>,
    declined: Option<(Token, Confidence)>,
}

impl Drafting {
    pub fn new(draft: &Draft, draw: Draw, ensemble: &Ensemble, sampled: Sampled, prompt: &[Token]) -> Self {
        Self {
            draft: draft.clone(),
            draw,
            chain: None,
            lane: draft.lane(ensemble, sampled),
            n_max: draft.n_step_of(ensemble),
            stats: Stats::default(),
            text: prompt.to_vec(),
            drafts: Vec::new(),
            confidences: Vec::new(),
            found: Vec::new(),
            is_open: false,
            by_model: false,
            awaits: false,
            reach: 1.0,
            passed: None,
            declined: None,
        }
    }

    /// Whether its lengths follow from what steps were measured to cost.
    pub fn is_timed(&self) -> bool {
        self.draft.length == Length::Timed
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What the running round drafts behind its first token.
    pub fn drafts(&self) -> &[Token] {
        &self.drafts
    }

    /// The lane that drafts, where one may.
    pub fn lane(&self) -> Option<usize> {
        self.lane.filter(|_| self.n_max > 1)
    }

    /// The lane that is to decode the last token ahead of the others, if a draft of it is wanted.
    pub fn awaits(&self) -> Option<usize> {
        self.lane.filter(|_| self.awaits)
    }

    /// The lane whose model was to draft in the running round.
    pub fn drafter(&self) -> Option<usize> {
        self.lane.filter(|_| self.by_model)
    }

    /// Begins a round behind the token that was chosen last. `ends` tells of a draft whether the text would end with it,
    /// `is_told` whether every lane can be told it.
    pub fn begin(
        &mut self,
        chain: &Chain,
        chosen: Token,
        policy: &Policy,
        share: Share,
        mut ends: impl FnMut(Token) -> bool,
        is_told: impl Fn(Token) -> bool,
    ) {
        self.text.push(chosen);
        self.drafts.clear();
        self.confidences.clear();
        (self.is_open, self.by_model, self.awaits, self.reach) = (true, false, false, 1.0);
        (self.passed, self.declined) = (None, None);
        let share = Share { n_max: share.n_max.min(self.n_max), ..share };
        if share.n_max <= 1 {
            return;
        }
        // A chain that cannot be copied drafts nothing.
        let may_draft = chain.can_clone() && (!self.draft.length.adapts() || policy.drafts(share.n_texts));
        let lane = self.lane.filter(|_| may_draft);
        if self.take_from_text(chain, policy, lane, share, &mut ends, is_told) || lane.is_none() {
            return;
        }
        let Ok(drafter) = chain.drafter(self.draw, self.chain.take()) else { return };
        self.chain = Some(drafter);
        (self.by_model, self.awaits) = (true, true);
    }

    /// Drafts what the form of the answer leaves no choice of, or as the text went on before, where that is worth more than the drafts of a lane's model; whether it is.
    fn take_from_text(
        &mut self,
        chain: &Chain,
        policy: &Policy,
        lane: Option<usize>,
        share: Share,
        ends: &mut impl FnMut(Token) -> bool,
        is_told: impl Fn(Token) -> bool,
    ) -> bool {
        if !self.draft.drafters.contains(&Drafter::Lookup) {
            return false;
        }
        self.found = chain.forced();
        self.found.truncate(share.n_max - 1);
        let confidence = if self.found.is_empty() {
            match look_up(&self.text, share.n_max - 1, &mut self.found) {
                0 => return false,
                length => Confidence::Match(length),
            }
        } else {
            Confidence::Forced
        };
        let n = if self.draft.length.adapts() {
            let (n, worth) = policy.of_text(self.draw, confidence, share);
            let other = lane.map_or(0.0, |lane| policy.hope(self.draw, lane, share));
            if worth > other { n } else { 0 }
        } else {
            self.found.len()
        };
        if n == 0 {
            self.declined = Some((self.found[0], confidence));
        }
        for &draft in self.found.iter().take(n) {
            // Some lane may lack a token of the base's prompt.
            if !is_told(draft) || ends(draft) {
                break;
            }
            self.drafts.push(draft);
            self.confidences.push(confidence);
        }
        // Where its first token would end the text, no model has to say what follows.
        n > 0
    }

    /// Looks at the row that the lane put out behind the last token: the next draft, if there is to be one, after which the
    /// lane decodes again.
    pub fn look(
        &mut self,
        row: Row<'_>,
        policy: &Policy,
        share: Share,
        mut ends: impl FnMut(Token) -> bool,
    ) -> Option<Token> {
        self.awaits = false;
        let n = 1 + self.drafts.len();
        let lane = self.lane?;
        let share = Share { n_max: share.n_max.min(self.n_max), ..share };
        if n >= share.n_max {
            return None;
        }
        let drafter = self.chain.as_mut()?;
        // What cannot be drafted, such as the end of a grammar, the chain will tell by itself.
        let draft = drafter.draft(row).ok()?;
        let (p, best) = softmax::probabilities(row.logits(), row.get(draft as usize).unwrap_or(f32::NEG_INFINITY));
        if p < self.draft.min_p || ends(draft) {
            return None;
        }
        let confidence = if p < best { Confidence::Drawn(p) } else { Confidence::Likeliest(p) };
        let chance = policy.chance(self.draw, confidence);
        if self.draft.length.adapts() && policy.worth(self.draw, lane, n, share, self.reach, chance) <= 0.0 {
            self.passed = Some((draft, confidence));
            return None;
        }
        drafter.accept(draft).ok()?;
        self.reach *= chance;
        self.drafts.push(draft);
        self.confidences.push(confidence);
        self.awaits = true;
        Some(draft)
    }

    /// Takes the last draft back.
    pub fn drop_last(&mut self) {
        self.drafts.pop();
        self.confidences.pop();
        self.awaits = false;
    }

    /// Takes all drafts back.
    pub fn drop_all(&mut self) {
        self.drafts.clear();
        self.confidences.clear();
        self.awaits = false;
    }

    /// The round is over: so many drafts were accepted, and `next` is what was chosen behind them, if anything was. What it
    /// teaches of drafts stays with the models.
    pub fn settle(&mut self, policy: &mut Policy, n_accept: usize, next: Option<Token>) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let by_lookup = self.confidences.first().is_some_and(|confidence| !confidence.is_model());
        self.stats.count(self.confidences.len(), n_accept, by_lookup);
        self.text.extend_from_slice(&self.drafts[..n_accept]);
        let chances = policy.chances_mut(self.draw);
        for &confidence in &self.confidences[..n_accept] {
            chances.learn(confidence, true);
        }
        let first = self.drafts.first().copied().filter(|_| n_accept > 0).or(next);
        if let (Some((draft, confidence)), Some(first)) = (self.declined, first) {
            chances.learn(confidence, draft == first);
        }
        let last =
            self.confidences.get(n_accept).map(|&confidence| (self.drafts[n_accept], confidence)).or(self.passed);
        if let (Some((draft, confidence)), Some(next)) = (last, next) {
            chances.learn(confidence, draft == next);
        }
        self.drafts.clear();
        self.confidences.clear();
        self.awaits = false;
    }
}
