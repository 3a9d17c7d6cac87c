//! Which files play which roles, and how each is run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Role, Weights};
use crate::llama::context::{ContextParams, Sequences};
use crate::llama::model::ModelParams;
use crate::recipe::model_spec::Lora;
use crate::recipe::{Schedule, View};
use crate::remote;

/// Which files play which roles, and how each is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub base: Base,
    /// How the base sees a conversation.
    pub view: View,
    /// The base's weight in the sum; `None` for 1.
    pub base_weight: Option<Schedule>,
    pub pairs: Vec<PairPlan>,
    /// Take small models whose special tokens are not all the base's.
    pub allow_drift: bool,
    pub texts: Texts,
}

/// Who decodes the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "a plan has one")]
pub enum Base {
    /// A lane of the ensemble.
    Model(ModelSource),
    /// A server that has the model, and shows what it thinks. The first small model's file has its tokenizer.
    Remote(remote::Source),
    /// A host that has the model: the ensemble is the pairs alone, and every lane is fed tokens.
    Host(HostVocabulary),
}

/// What the small models' tokens have to be where a host decodes the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HostVocabulary {
    /// As the base's file says.
    File(PathBuf),
    /// As the llama.cpp that runs the base says: text and `llama_token_attr` of each token.
    Tokens(Vec<(Box<[u8]>, u32)>),
}

/// Texts that an ensemble has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    pub n: usize,
    /// Those that can fill the context at the same time, where all share its cells; `None` gives each cells of its own,
    /// and sums that do not depend on where other texts left room.
    pub n_full: Option<usize>,
}

impl Texts {
    pub const ONE: Self = Self { n: 1, n_full: None };

    /// Texts that share cells, `n_full` of which can be full at the same time.
    #[must_use]
    pub fn sharing(n: usize, n_full: usize) -> Self {
        Self { n, n_full: Some(n_full) }
    }

    /// Texts with cells of their own.
    #[must_use]
    pub fn apart(n: usize) -> Self {
        Self { n, n_full: None }
    }

    /// The sequences of a context that decodes `n_lanes` lanes of each text.
    #[must_use]
    pub fn sequences(self, n_lanes: usize) -> Sequences {
        let n_texts = self.n.max(1);
        Sequences {
            n: n_lanes * n_texts,
            unified: self.n_full.is_some() && n_texts > 1,
            n_full: n_lanes * self.n_full.unwrap_or(n_texts),
            n_together: n_lanes,
        }
    }
}

impl From<ModelSource> for Base {
    fn from(source: ModelSource) -> Self {
        Self::Model(source)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PairPlan {
    /// What requests call it; `None` for its number.
    pub name: Option<String>,
    pub alpha: Schedule,
    /// The sides' weights where they are not α.
    pub alpha_expert: Option<Schedule>,
    pub alpha_antiexpert: Option<Schedule>,
    pub expert: Option<SidePlan>,
    pub antiexpert: Option<SidePlan>,
}

/// One side of a pair: a model of its own, or the base with what may be another view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SidePlan {
    /// `None` for the base.
    pub source: Option<ModelSource>,
    pub view: View,
}

/// A file, what is added to it, how it is loaded and how it computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSource {
    pub path: PathBuf,
    pub adapters: Vec<Lora>,
    pub model: ModelParams,
    pub context: ContextParams,
}

impl ModelSource {
    /// A file as it is, run by default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (adapters, model, context) = (Vec::new(), ModelParams::default(), ContextParams::default());
        Self { path: path.into(), adapters, model, context }
    }
}

impl PairPlan {
    /// What requests call the pair that is the `i`th of its plan.
    #[must_use]
    pub fn name_at(&self, i: usize) -> String {
        self.name.clone().unwrap_or_else(|| (i + 1).to_string())
    }

    /// The weights of expert and antiexpert.
    #[must_use]
    pub fn weights(&self) -> [&Schedule; 2] {
        [&self.alpha_expert, &self.alpha_antiexpert].map(|own| own.as_ref().unwrap_or(&self.alpha))
    }
}

impl From<ModelSource> for SidePlan {
    fn from(source: ModelSource) -> Self {
        Self { source: Some(source), view: View::default() }
    }
}

impl SidePlan {
    /// The base itself: its logits are reused.
    #[must_use]
    pub fn base() -> Self {
        Self { source: None, view: View::default() }
    }

    /// The same side under another view.
    #[must_use]
    pub fn seen_as(self, view: View) -> Self {
        Self { view, ..self }
    }
}

impl Base {
    /// The base's file, where it has a lane.
    #[must_use]
    pub fn source(&self) -> Option<&ModelSource> {
        match self {
            Self::Model(source) => Some(source),
            Self::Remote(_) | Self::Host(_) => None,
        }
    }
}

impl Plan {
    /// No pair of a recipe can be called so.
    pub const GUIDANCE: &str = "(guidance)";

    /// A model by itself, steered by nothing.
    #[must_use]
    pub fn alone(base: ModelSource) -> Self {
        Self::of(base.into(), Vec::new())
    }

    pub(super) fn of(base: Base, pairs: Vec<PairPlan>) -> Self {
        Self { base, view: View::default(), base_weight: None, pairs, allow_drift: false, texts: Texts::ONE }
    }

    /// The same with one more pair behind the others: the base, and the base under a prompt that a request gives in place of its
    /// own, at α = 0 until a request asks for more. That is classifier-free guidance of scale 1 + α. The pair is called
    /// [`Self::GUIDANCE`].
    #[must_use]
    pub fn guided(&self) -> Self {
        let unprompted = View { prompt: Some(String::new()), ..View::default() };
        let (expert, antiexpert) = (Some(SidePlan::base()), Some(SidePlan::base().seen_as(unprompted)));
        let name = Some(Self::GUIDANCE.to_owned());
        let guide = PairPlan { name, alpha: Schedule::constant(0.0), expert, antiexpert, ..PairPlan::default() };
        let mut plan = self.clone();
        plan.pairs.push(guide);
        plan
    }

    /// Pairs beside a base that a host decodes.
    #[must_use]
    pub fn beside(host: HostVocabulary, pairs: Vec<PairPlan>) -> Self {
        Self::of(Base::Host(host), pairs)
    }

    /// The weights of the sum, unless a request asks for others.
    #[must_use]
    pub fn weights(&self) -> Weights {
        Weights::planned(self.base_weight.as_ref(), self.pairs.iter().map(PairPlan::weights))
    }

    /// Every side that there is, in order, with its role.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Role, &SidePlan)> {
        let each = self.pairs.iter().enumerate().flat_map(|(i, PairPlan { expert, antiexpert, .. })| {
            [(Role::Expert(i), expert.as_ref()), (Role::Antiexpert(i), antiexpert.as_ref())]
        });
        each.filter_map(|(role, side)| Some((role, side?)))
    }

    /// Every file with the role it plays, the base first.
    pub fn sources(&self) -> impl Iterator<Item = (Role, &ModelSource)> {
        let own = self.sides().filter_map(|(role, side)| Some((role, side.source.as_ref()?)));
        self.base.source().map(|base| (Role::Base, base)).into_iter().chain(own)
    }

    /// Every file, the base's first.
    pub fn sources_mut(&mut self) -> impl Iterator<Item = &mut ModelSource> {
        let sides = self.pairs.iter_mut().flat_map(|pair| [&mut pair.expert, &mut pair.antiexpert]);
        let own = sides.flatten().filter_map(|side| side.source.as_mut());
        let base = if let Base::Model(source) = &mut self.base { Some(source) } else { None };
        base.into_iter().chain(own)
    }

    /// How every model computes.
    pub fn contexts_mut(&mut self) -> impl Iterator<Item = &mut ContextParams> {
        self.sources_mut().map(|source| &mut source.context)
    }
}
