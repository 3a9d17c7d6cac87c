//! From files to a steered model: every file is looked at before the first one is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Error, in_lane};
use super::offset::{Pair, Side};
use super::{Offset, Role, Steered};
use crate::gguf::Header;
use crate::llama::backend::Backend;
use crate::llama::lane::{Lane, LaneParams};
use crate::llama::model::{Model, ModelParams};
use crate::vocab::{self, Verdict, Vocabulary};

/// Which files play which roles, and how each is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub base: ModelSource,
    pub pairs: Vec<PairPlan>,
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
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    pub path: PathBuf,
    pub model: ModelParams,
    pub lane: LaneParams,
}

impl Plan {
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

    /// Reads every file's header: that it is GGUF, has a tokenizer, and counts its tokens as the base does.
    pub fn check(&self) -> Result<Facts, Error> {
        let mut checked: Vec<&Path> = Vec::new();
        let mut base = None;
        let mut n_ctx_train = usize::MAX;
        for (role, ModelSource { path, .. }) in self.sources() {
            if checked.contains(&path.as_path()) {
                continue;
            }
            checked.push(path);
            let in_file = |source| Error::File { role, source };
            let header = Header::read(path).map_err(in_file)?;
            let vocabulary = Vocabulary::of(&header).map_err(in_file)?;
            if let Some((first, second)) = vocabulary.duplicate() {
                let token = vocabulary.shown(first).unwrap_or_default();
                return Err(Error::DuplicateToken { role, path: path.clone(), token, first, second });
            }
            n_ctx_train = n_ctx_train.min(header.n_ctx_train().map_err(in_file)?);
            let base = base.get_or_insert_with(|| vocabulary.clone());
            if let Verdict::Different(differences) = vocab::compare(base, &vocabulary) {
                return Err(Error::Vocabulary { role, path: path.clone(), differences: Box::new(differences) });
            }
        }
        Ok(Facts { n_ctx_train, n_vocab: base.map_or(0, |base| base.len()) })
    }
}

/// What the files of a plan say before they are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The longest text that every model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Size of the base's vocabulary.
    pub n_vocab: usize,
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
        plan.check()?;
        let base_model = models.get(backend, Role::Base, &plan.base, progress)?;
        let mut eog_models = vec![base_model.clone()];
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
                if matches!(role, Role::Expert(_)) {
                    eog_models.push(model.clone());
                }
                if let Some(lane) = offset.lanes.iter().position(|(_, lane)| Arc::ptr_eq(lane.model(), &model)) {
                    return Ok(Some(Side::Lane(lane)));
                }
                offset.lanes.push((role, Lane::new(model, &source.lane).map_err(in_lane(role))?));
                Ok(Some(Side::Lane(offset.lanes.len() - 1)))
            };
            let expert = side(Role::Expert(i), &plan.expert)?;
            let antiexpert = side(Role::Antiexpert(i), &plan.antiexpert)?;
            offset.pairs.push(Pair { alpha: plan.alpha, expert, antiexpert });
        }
        let ids = 0..i32::try_from(base_model.n_vocab()).unwrap_or(i32::MAX);
        let eog = ids.filter(|&token| eog_models.iter().any(|model| model.is_eog(token))).collect();
        let base = Lane::new(base_model, &plan.base.lane).map_err(in_lane(Role::Base))?;
        Ok(Self { base, offset, eog, out_of_step: false })
    }
}
