//! From files to a steered model: every file is looked at before the first one is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::{Error, in_lane};
use super::offset::{Pair, Side, SmallLane};
use super::{Offset, Role, Steered};
use crate::gguf::Header;
use crate::llama::Token;
use crate::llama::backend::Backend;
use crate::llama::lane::{Lane, LaneParams};
use crate::llama::model::{Model, ModelParams};
use crate::vocab::{self, IdMap, Verdict, Vocabulary};

/// Which files play which roles, and how each is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub base: ModelSource,
    pub pairs: Vec<PairPlan>,
    /// Take small models whose special tokens are not all the base's.
    pub allow_drift: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PairPlan {
    pub alpha: f32,
    pub expert: Option<SidePlan>,
    pub antiexpert: Option<SidePlan>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SidePlan {
    Base,
    Model(ModelSource),
}

/// A file, how it is loaded and how its lane computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSource {
    pub path: PathBuf,
    pub model: ModelParams,
    pub lane: LaneParams,
}

impl Plan {
    /// A model by itself, steered by nothing.
    #[must_use]
    pub fn alone(base: ModelSource) -> Self {
        Self { base, pairs: Vec::new(), allow_drift: false }
    }

    /// Every file with the role it plays, the base first.
    pub fn sources(&self) -> impl Iterator<Item = (Role, &ModelSource)> {
        let sides = self
            .pairs
            .iter()
            .enumerate()
            .flat_map(|(i, pair)| [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)]);
        let files = sides.filter_map(|(role, side)| match side {
            Some(SidePlan::Model(source)) => Some((role, source)),
            _ => None,
        });
        std::iter::once((Role::Base, &self.base)).chain(files)
    }

    /// How every lane computes.
    pub fn lanes_mut(&mut self) -> impl Iterator<Item = &mut LaneParams> {
        let sides = self.pairs.iter_mut().flat_map(|pair| [&mut pair.expert, &mut pair.antiexpert]);
        let lanes = sides.filter_map(|side| match side {
            Some(SidePlan::Model(source)) => Some(&mut source.lane),
            _ => None,
        });
        std::iter::once(&mut self.base.lane).chain(lanes)
    }

    /// Reads every file's header: that it is a model that llama.cpp survives, and that its tokens are the base's.
    pub fn check(&self) -> Result<Facts, Error> {
        let mut facts = Facts { n_ctx_train: usize::MAX, n_vocab: 0, ids: Vec::new() };
        let mut base = None;
        for (role, ModelSource { path, .. }) in self.sources() {
            if facts.ids.iter().any(|(checked, _)| checked == path) {
                continue;
            }
            let in_file = |source| Error::File { role, source };
            let header = Header::read(path).map_err(in_file)?;
            let vocabulary = Vocabulary::of(&header).map_err(in_file)?;
            if header.tensors().is_empty() {
                return Err(Error::NoWeights { role, path: path.clone() });
            }
            facts.n_ctx_train = facts.n_ctx_train.min(header.n_ctx_train().map_err(in_file)?);
            let base = base.get_or_insert_with(|| vocabulary.clone());
            let ids = match vocab::compare(base, &vocabulary) {
                Verdict::Different(differences) => {
                    return Err(Error::Vocabulary { role, path: path.clone(), differences: Box::new(differences) });
                }
                Verdict::Drifted { differences, .. } if !self.allow_drift => {
                    return Err(Error::Drift { role, path: path.clone(), differences: Box::new(differences) });
                }
                verdict => verdict.ids().cloned(),
            };
            facts.ids.push((path.clone(), ids));
        }
        facts.n_vocab = base.map_or(0, |base| base.len());
        Ok(facts)
    }
}

/// What the files of a plan say before they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The longest text that every model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Size of the base's vocabulary.
    pub n_vocab: usize,
    /// Every file, with its ids for the base's tokens where they are not the same.
    ids: Vec<(PathBuf, Option<IdMap>)>,
}

impl Facts {
    fn ids(&self, path: &Path) -> Option<&IdMap> {
        self.ids.iter().find(|(file, _)| file == path).and_then(|(_, ids)| ids.as_ref())
    }
}

/// Models by file, so that each file is loaded once however many roles it plays.
#[derive(Debug, Default)]
pub struct Models(Vec<(ModelSource, Arc<Model>)>);

impl Models {
    /// The model of a source, loaded unless it already is.
    pub fn get(
        &mut self,
        backend: &Backend,
        role: Role,
        source: &ModelSource,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Arc<Model>, Error> {
        let same = |a: &ModelSource| a.model == source.model && same_file(&a.path, &source.path);
        if let Some((_, model)) = self.0.iter().find(|(loaded, _)| same(loaded)) {
            return Ok(model.clone());
        }
        let report = |share| progress(role, &source.path, share);
        let model = Model::load(backend, &source.path, &source.model, report).map_err(in_lane(role))?;
        let model = Arc::new(model);
        self.0.push((source.clone(), model.clone()));
        Ok(model)
    }

    /// How many files are loaded.
    #[must_use]
    pub fn n_loaded(&self) -> usize {
        self.0.len()
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

impl Steered {
    /// Checks the files of a plan, loads those that `models` does not have yet, and opens a lane for each role.
    ///
    /// `progress` hears of each file being loaded, as a share of 0 to 1, and answers whether to go on.
    pub fn load(
        backend: &Backend,
        plan: &Plan,
        models: &mut Models,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Self, Error> {
        let facts = plan.check()?;
        let base_model = models.get(backend, Role::Base, &plan.base, progress)?;
        let mut eog = eog_of(&base_model, None);
        let mut offset = Offset::default();
        for (i, plan) in plan.pairs.iter().enumerate() {
            let mut side = |role, side: &Option<SidePlan>| {
                let source = match side {
                    None => return Ok(None),
                    Some(SidePlan::Base) => return Ok(Some(Side::Base)),
                    Some(SidePlan::Model(source)) => source,
                };
                let model = models.get(backend, role, source, progress)?;
                // The same model under the same prompt has the same logits.
                if Arc::ptr_eq(&model, &base_model) {
                    return Ok(Some(Side::Base));
                }
                let ids = facts.ids(&source.path);
                if matches!(role, Role::Expert(_)) {
                    eog.extend(eog_of(&model, ids));
                }
                let is_there = |small: &SmallLane| Arc::ptr_eq(small.lane.model(), &model);
                if let Some(lane) = offset.lanes.iter().position(is_there) {
                    return Ok(Some(Side::Lane(lane)));
                }
                let lane = Lane::new(model, &source.lane).map_err(in_lane(role))?;
                offset.lanes.push(SmallLane { role, lane, ids: ids.cloned() });
                Ok(Some(Side::Lane(offset.lanes.len() - 1)))
            };
            let expert = side(Role::Expert(i), &plan.expert)?;
            let antiexpert = side(Role::Antiexpert(i), &plan.antiexpert)?;
            offset.pairs.push(Pair { alpha: plan.alpha, expert, antiexpert });
        }
        eog.sort_unstable();
        eog.dedup();
        let is_lacking = |&token: &Token| offset.lanes.iter().any(|small| small.id(token).is_none());
        let never =
            ids_of(&base_model).filter(|token| is_lacking(token) && eog.binary_search(token).is_err()).collect();
        let base = Lane::new(base_model, &plan.base.lane).map_err(in_lane(Role::Base))?;
        Ok(Self { base, offset, eog, never, out_of_step: false })
    }
}

fn ids_of(model: &Model) -> impl Iterator<Item = Token> {
    0..Token::try_from(model.n_vocab()).unwrap_or(Token::MAX)
}

/// The tokens that end a generation for a model, by the base's ids.
fn eog_of(model: &Model, ids: Option<&IdMap>) -> Vec<Token> {
    let in_base = |token: Token| match ids {
        None => Some(token),
        Some(ids) => ids.base(token as usize).map(|id| id as Token),
    };
    ids_of(model).filter(|&token| model.is_eog(token)).filter_map(in_base).collect()
}
