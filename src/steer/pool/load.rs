//! From files to the lanes of the pairs, checked against a vocabulary that somebody else owns.

use std::path::{Path, PathBuf};

use super::{Ids, Place, Pool, Steering};
use crate::gguf;
use crate::llama::backend::Backend;
use crate::recipe::player::Lora;
use crate::recipe::{ModelName, Recipe, View};
use crate::steer::error::Error;
use crate::steer::lanes::{Cast, Lane};
use crate::steer::load::{Models, Seat, Seats, same_file};
use crate::steer::offset::{Offset, Pair};
use crate::steer::plan::{File, ids_of};
use crate::steer::{ModelSource, PairPlan, Role, from_recipe};
use crate::vocab::Vocabulary;

/// Which pairs, for which base, for how many texts.
#[derive(Debug)]
pub struct PoolPlan {
    pub pairs: Vec<PairPlan>,
    pub base: BaseVocabulary,
    /// Take small models whose special tokens are not all the base's.
    pub allow_drift: bool,
    /// Most texts at once. They share the cells of each context.
    pub n_texts: usize,
}

/// What the small models' tokens have to be.
#[derive(Debug)]
pub enum BaseVocabulary {
    /// As the base's file says.
    File(PathBuf),
    /// As the llama.cpp that runs the base says: text and `llama_token_attr` of each token.
    Tokens(Vec<(Box<[u8]>, u32)>),
}

impl PoolPlan {
    /// The pairs of a recipe. `defaults` is how models are loaded and computed as far as the recipe does not say.
    pub fn of_recipe(
        recipe: &Recipe,
        base: BaseVocabulary,
        defaults: &ModelSource,
        backend: &Backend,
    ) -> Result<Self, Error> {
        for (i, pair) in recipe.pairs.iter().enumerate() {
            for (role, player) in [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)] {
                let Some(player) = player else { continue };
                if player.model == ModelName::Base {
                    return Err(Error::OfBase { role });
                }
                if player.view != View::default() {
                    return Err(Error::OwnPrompt { role });
                }
            }
        }
        let pairs = from_recipe::pairs(recipe, defaults, backend)?;
        Ok(Self { pairs, base, allow_drift: false, n_texts: 1 })
    }

    fn sources(&self) -> Result<Vec<(Role, &ModelSource)>, Error> {
        let mut sources = Vec::new();
        for (i, pair) in self.pairs.iter().enumerate() {
            for (role, side) in [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)] {
                let Some(side) = side else { continue };
                sources.push((role, side.source.as_ref().ok_or(Error::OfBase { role })?));
            }
        }
        Ok(sources)
    }

    /// Reads every file's header before the first one is loaded, as [`crate::steer::Plan::check`] does.
    fn check(&self) -> Result<Option<Vocabulary>, Error> {
        let base = match &self.base {
            BaseVocabulary::Tokens(_) => None,
            BaseVocabulary::File(path) => {
                let in_file = |source| Error::File { role: Role::Base, source };
                Some((path, File::read(path).map_err(in_file)?.vocabulary))
            }
        };
        for (role, ModelSource { path, adapters, .. }) in self.sources()? {
            let in_file = |source| Error::File { role, source };
            if base.as_ref().is_some_and(|(base, _)| same_file(base, path)) {
                return Err(Error::OfBase { role });
            }
            let file = File::read(path).map_err(in_file)?;
            if file.header.tensors().is_empty() {
                return Err(Error::NoWeights { role, path: path.clone() });
            }
            let fits = |lora: &Lora| gguf::adapter::check(&lora.path, &file.header);
            adapters.iter().try_for_each(fits).map_err(|source| Error::Adapter { role, source })?;
            if let Some((_, base)) = &base {
                ids_of(role, path, base, &file.vocabulary, self.allow_drift)?;
            }
        }
        Ok(base.map(|(_, vocabulary)| vocabulary))
    }
}

impl Pool {
    /// Checks the files of a plan, loads those that `models` does not have yet, and opens their contexts.
    pub fn load(
        backend: &Backend,
        plan: &PoolPlan,
        models: &mut Models,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Self, Error> {
        let in_file = plan.check()?;
        let base = match (&plan.base, &in_file) {
            (BaseVocabulary::Tokens(tokens), _) => &Vocabulary::of_attributes(tokens.iter().cloned()),
            (BaseVocabulary::File(path), None) => {
                return Err(Error::NoWeights { role: Role::Base, path: path.clone() });
            }
            (BaseVocabulary::File(_), Some(vocabulary)) => vocabulary,
        };
        let mut seats = Seats::default();
        let mut places = Vec::new();
        for (role, source) in plan.sources()? {
            let computer = models.computer(backend, role, source, progress)?;
            // Each side is compared with a vocabulary of its own kind: llama.cpp changes some of what files say.
            let own = match in_file {
                Some(_) => File::read(&source.path).map_err(|source| Error::File { role, source })?.vocabulary,
                None => computer.model.vocabulary(),
            };
            let ids = ids_of(role, &source.path, base, &own, plan.allow_drift)?;
            let seat = Seat { role, view: crate::prompt::View::default(), ids };
            // All experts are fed the same, and so are all antiexperts; one that is both may see two texts.
            let is_expert = |role| matches!(role, Role::Expert(_));
            let lane = seats.of(computer, seat, |other| is_expert(other.role) == is_expert(role));
            places.push((role, lane));
        }
        let place = |role| places.iter().find(|(of, _)| *of == role).map(|(_, lane)| *lane);
        let pairs = plan.pairs.iter().enumerate().map(|(i, pair)| Pair {
            planned: pair.alpha.clone(),
            alpha: pair.alpha.clone(),
            expert: place(Role::Expert(i)),
            antiexpert: place(Role::Antiexpert(i)),
        });
        let offset = Offset { pairs: pairs.collect() };

        let n_texts = plan.n_texts.max(1);
        let mut lanes = seats.open(|lanes| lanes.len() * (n_texts - 1))?;
        let cast = std::mem::take(&mut lanes.cast);
        let n_lanes = |context| cast.lanes.iter().filter(|lane| lane.context == context).count();
        let of_text = |text: usize| {
            let lane = |lane: &Lane| {
                let seq = lane.seq + text * n_lanes(lane.context);
                Lane::new(lane.role, lane.context, seq, lane.view.clone(), lane.ids.clone())
            };
            Place(Cast::of(cast.lanes.iter().map(lane).collect()))
        };
        let idle = (0..n_texts).map(of_text).collect();
        let ids = |lane: &Lane| Ids {
            role: lane.role,
            n_vocab: lanes.contexts[lane.context].n_vocab(),
            map: lane.ids.clone(),
        };
        let steering = Steering { offset, lanes: cast.lanes.iter().map(ids).collect(), n_vocab: base.len() };
        Ok(Self { lanes, idle, steering })
    }
}
