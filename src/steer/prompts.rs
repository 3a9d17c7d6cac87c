//! What lanes are given to continue.

use super::error::{Error, in_lane};
use super::sequence::{Prompts, Sampled};
use super::{Ensemble, Loaded, Role};
use crate::llama::Token;
use crate::prompt::{self, CallStyle, Conversation, Piece};
use crate::recipe;

/// What lanes make their prompts of.
#[derive(Debug, Clone, Copy)]
enum Given<'a> {
    /// With the way in which calls are written.
    Conversation(&'a Conversation, CallStyle),
    /// `is_own`: tokens in it are by the ids of the only lane in use, else by the base's.
    Raw { pieces: &'a [Piece], is_own: bool },
}

impl Loaded {
    /// What every lane in use is given of a conversation; `views` are those that differ from the lanes' own.
    pub fn prompts(
        &self,
        sampled: Sampled,
        conversation: &Conversation,
        views: &[(Role, recipe::View)],
    ) -> Result<Prompts, Error> {
        let style = self.call_style(sampled)?;
        self.seen_by_all(sampled, Given::Conversation(conversation, style), views)
    }

    /// How calls of tools are written: as the template of the model that is to be imitated has it.
    pub fn call_style(&self, sampled: Sampled) -> Result<CallStyle, Error> {
        let topology = &self.topology;
        let imitated = topology.roles().find(|role| matches!(role, Role::Expert(_))).unwrap_or(Role::Base);
        let role = if let Sampled::Alone(role) = sampled { role } else { imitated };
        let lane = self.lane(role).ok_or(Error::NoLane { role })?;
        Ok(self.lanes()[lane].view.style())
    }

    /// What every lane in use is given of a text as it is, tokens in it by the ids of the lane that is sampled from: neither
    /// template nor system prompt, but the prefix and the prompt of each lane's view.
    pub fn raw(&self, sampled: Sampled, pieces: &[Piece], views: &[(Role, recipe::View)]) -> Result<Prompts, Error> {
        if let Some((role, _)) = views.iter().find(|(_, view)| view.system.is_some()) {
            return Err(Error::OwnSystem { role: *role });
        }
        let is_own = matches!(sampled, Sampled::Alone(_));
        self.seen_by_all(sampled, Given::Raw { pieces, is_own }, views)
    }

    fn seen_by_all(
        &self,
        sampled: Sampled,
        given: Given<'_>,
        views: &[(Role, recipe::View)],
    ) -> Result<Prompts, Error> {
        let alone = self.alone(sampled)?;
        for (role, view) in views {
            let lane = self.lane(*role).ok_or(Error::NoLane { role: *role })?;
            if let Some(other) = self.topology.roles().find(|other| other != role && self.lane(*other) == Some(lane)) {
                return Err(Error::SharedLane { role: *role, other });
            }
            if view.template.is_some() {
                return Err(Error::OwnTemplate { role: *role });
            }
        }
        let mut lanes = vec![Vec::new(); self.lanes().len()];
        for lane in alone.map_or(0..lanes.len(), |lane| lane..lane + 1) {
            let asked = views.iter().find(|(role, _)| self.lane(*role) == Some(lane)).map(|(_, view)| view);
            lanes[lane] = self.prompt(lane, given, asked)?;
        }
        Ok(Prompts { lanes, sampled: alone.unwrap_or(0) })
    }

    fn prompt(&self, index: usize, given: Given<'_>, asked: Option<&recipe::View>) -> Result<Vec<Token>, Error> {
        let mut view = self.lanes()[index].view.clone();
        if let Some(asked) = asked {
            let over = |own: &mut Option<String>, asked: &Option<String>| *own = asked.clone().or(own.take());
            over(&mut view.system, &asked.system);
            over(&mut view.prefix, &asked.prefix);
            over(&mut view.prompt, &asked.prompt);
        }
        let tokens = self.seen(index, &view, given)?;
        if !tokens.is_empty() || view.prompt.is_none() {
            return Ok(tokens);
        }
        // Nothing is shown on purpose, and the model puts no token in front of a text. It begins with the BOS that its file
        // names all the same, else with the last token of the prompt, as in the guidance of transformers.
        if let Some(bos) = self.model(index).declared_bos() {
            return Ok(vec![bos]);
        }
        let mut tokens = self.seen(index, &prompt::View { prompt: None, ..view }, given)?;
        Ok(tokens.split_off(tokens.len().saturating_sub(1)))
    }

    /// What is given under a view, by a lane's own ids.
    fn seen(&self, index: usize, view: &prompt::View, given: Given<'_>) -> Result<Vec<Token>, Error> {
        let (lane, model) = (&self.lanes()[index], self.model(index));
        let role = lane.role;
        let (mut pieces, is_own) = match given {
            Given::Conversation(conversation, style) => {
                (view.render_as(conversation, style).map_err(|source| Error::Prompt { role, source })?, false)
            }
            Given::Raw { pieces, is_own } => (view.render_raw(pieces), is_own),
        };
        for piece in &mut pieces {
            let Piece::Tokens(tokens) = piece else { continue };
            if is_own {
                tokens.iter().try_for_each(|&token| model.check(token)).map_err(in_lane(role))?;
            } else {
                for token in tokens {
                    self.topology.check_range(*token)?;
                    *token = lane.own(*token)?;
                }
            }
        }
        let tokens = match given {
            Given::Conversation(..) => model.tokenize_pieces(&pieces),
            Given::Raw { .. } => model.tokenize_raw(&pieces),
        };
        tokens.map_err(in_lane(role))
    }

    /// The same tokens for every lane in use, by the ids of the lane that is sampled from.
    pub fn same(&self, sampled: Sampled, tokens: &[Token]) -> Result<Prompts, Error> {
        let alone = self.alone(sampled)?;
        if let Some(lane) = alone {
            let model = self.model(lane);
            tokens.iter().try_for_each(|&token| model.check(token)).map_err(in_lane(self.lanes()[lane].role))?;
        }
        let lanes = self.lanes().iter().enumerate().map(|(i, lane)| match alone {
            None => {
                let own = |&token: &Token| self.topology.check_range(token).and_then(|()| lane.own(token));
                tokens.iter().map(own).collect()
            }
            Some(alone) => Ok(if alone == i { tokens.to_vec() } else { Vec::new() }),
        });
        Ok(Prompts { lanes: lanes.collect::<Result<_, _>>()?, sampled: alone.unwrap_or(0) })
    }
}

impl Loaded {
    /// Puts tokens behind the prompts of every lane in use, whatever its view, by the ids of the lane that is sampled from.
    pub fn extend(&self, prompts: &mut Prompts, sampled: Sampled, tokens: &[Token]) -> Result<(), Error> {
        let behind = self.same(sampled, tokens).map_err(|error| {
            let is_refused = |token: &Token| self.same(sampled, &[*token]).is_err();
            let position = tokens.iter().position(is_refused).unwrap_or(0);
            Error::Begun { position, source: Box::new(error) }
        })?;
        for (lane, behind) in prompts.lanes.iter_mut().zip(&behind.lanes) {
            lane.extend_from_slice(behind);
        }
        Ok(())
    }
}

impl Ensemble {
    /// See [`Loaded::prompts`].
    pub fn prompts(
        &self,
        sampled: Sampled,
        conversation: &Conversation,
        views: &[(Role, recipe::View)],
    ) -> Result<Prompts, Error> {
        self.loaded.prompts(sampled, conversation, views)
    }

    /// See [`Loaded::same`].
    pub fn same(&self, sampled: Sampled, tokens: &[Token]) -> Result<Prompts, Error> {
        self.loaded.same(sampled, tokens)
    }

    /// Refuses prompts that are empty, or that leave no room behind them.
    pub fn check_room(&self, prompts: &Prompts, sampled: Sampled) -> Result<(), Error> {
        for lane in self.alone(sampled)?.map_or(0..self.lanes().len(), |lane| lane..lane + 1) {
            let (role, n_prompt, n_ctx) = (self.lanes()[lane].role, prompts.lane(lane).len(), self.n_ctx_of(lane));
            if n_prompt == 0 {
                return Err(Error::EmptyPrompt { role });
            }
            if n_prompt >= n_ctx {
                return Err(Error::PromptTooLong { role, n_prompt, n_ctx });
            }
        }
        Ok(())
    }
}
