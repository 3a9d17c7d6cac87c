//! From files to an ensemble: every file is looked at before the first one is loaded.

use std::path::Path;
use std::sync::Arc;

use super::context::{Context, Remote};
use super::error::{Error, in_lane, on_server};
use super::facts::{Facts, ids_of};
use super::loaded::Loaded;
use super::models::{Models, Source};
use super::plan::{Base, HostVocabulary, ModelSource, Plan, Texts};
use super::topology::{Lane, Pair, Topology};
use super::{Ends, Ensemble, Role};
use crate::llama::Token;
use crate::llama::backend::Backend;
use crate::llama::context;
use crate::llama::model::Model;
use crate::vocab::{IdMap, Vocabulary};
use crate::{prompt, remote};

/// A lane before its context is there.
struct Wanted {
    source: Source,
    role: Role,
    view: prompt::View,
    ids: Option<IdMap>,
}

/// Roles that compute the same have one lane.
#[derive(Default)]
struct Lanes {
    wanted: Vec<Wanted>,
    of_roles: Vec<(Role, usize)>,
}

impl Lanes {
    fn add(&mut self, new: Wanted, reads_the_same: impl Fn(&Wanted) -> bool) {
        let role = new.role;
        let known = self.wanted.iter().position(|other| other.source == new.source && reads_the_same(other));
        let lane = known.unwrap_or_else(|| {
            self.wanted.push(new);
            self.wanted.len() - 1
        });
        self.of_roles.push((role, lane));
    }

    fn of(&self, role: Role) -> Option<usize> {
        self.of_roles.iter().find(|(of, _)| *of == role).map(|(_, lane)| *lane)
    }
}

impl Ensemble {
    /// Checks the files of a plan, loads those that `models` does not have yet, and opens a lane for each role.
    ///
    /// `progress` hears of each file being loaded, as a share of 0 to 1, and answers whether to go on.
    pub fn load(
        backend: &Backend,
        plan: &Plan,
        models: &mut Models,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Self, Error> {
        Self::load_checked(backend, plan, &plan.check()?, models, progress)
    }

    /// The same for a plan whose files were checked, with what that found.
    pub fn load_checked(
        backend: &Backend,
        plan: &Plan,
        facts: &Facts,
        models: &mut Models,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Self, Error> {
        Loaded::of(backend, plan, facts, models, progress)?.open()
    }
}

impl Loaded {
    /// Loads the files of a plan that `models` does not have yet; `facts` is what checking them found. `progress` as in
    /// [`Ensemble::load`].
    pub fn of(
        backend: &Backend,
        plan: &Plan,
        facts: &Facts,
        models: &mut Models,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Self, Error> {
        let lanes = match &plan.base {
            Base::Model(base) => {
                let mut load = |role, source: &_| models.source(backend, role, source, progress);
                let base = load(Role::Base, base)?;
                with_base(&base, plan, facts, &mut load)?
            }
            Base::Remote(server) => {
                let (role, speller) = plan.sources().next().ok_or(Error::NoSpeller)?;
                let speller = models.source(backend, role, speller, progress)?;
                let vocabulary = facts.host.as_ref().ok_or(Error::NoSpeller)?;
                let server = models.server(server, &speller.model, vocabulary);
                let server = server.map_err(on_server(Role::Base))?;
                let base = Source { adapters: Vec::new(), server: Some(server), ..speller };
                with_base(&base, plan, facts, &mut |role, source| models.source(backend, role, source, progress))?
            }
            Base::Host(host) => {
                beside(host, plan, facts, &mut |role, source| models.source(backend, role, source, progress))?
            }
        };
        let n_vocab = match &plan.base {
            Base::Host(HostVocabulary::Tokens(tokens)) => tokens.len(),
            Base::Host(HostVocabulary::File(_)) => facts.n_vocab,
            Base::Model(_) | Base::Remote(_) => lanes.wanted[0].source.model.n_vocab(),
        };
        let pairs = plan.pairs.iter().enumerate().map(|(i, pair)| Pair {
            name: pair.name_at(i),
            expert: lanes.of(Role::Expert(i)),
            antiexpert: lanes.of(Role::Antiexpert(i)),
        });
        let pairs = pairs.collect();
        let topology = Topology { lanes: Vec::new(), pairs, weights: plan.weights(), n_vocab };
        Ok(arranged(lanes.wanted, topology, plan.texts))
    }

    /// Opens a context for each model with its adapters, with a sequence for each of its lanes in every text.
    pub fn open(&self) -> Result<Ensemble, Error> {
        let Self { topology, sources, texts } = self;
        let mut contexts = Vec::new();
        for (i, Source { model, adapters, params, server }) in sources.iter().enumerate() {
            let own: Vec<_> = topology.lanes.iter().filter(|lane| lane.context == i).collect();
            let role = own.first().map_or(Role::Base, |lane| lane.role);
            let sequences = texts.sequences(own.len());
            contexts.push(match server {
                None => {
                    let context = context::Context::with(model.clone(), adapters, params, sequences);
                    Context::Local(context.map_err(in_lane(role))?)
                }
                Some(server) => {
                    let context = remote::Context::new(server.clone(), params.n_ctx, sequences.n);
                    Context::Remote(Remote::new(context, model.clone(), params.n_batch))
                }
            });
        }
        let n_texts = texts.n.max(1);
        // The first one is given out first.
        let free = (0..n_texts).rev().collect();
        let (topology, ends) = (topology.clone(), ends(self));
        Ok(Ensemble { contexts, topology, loaded: self.clone(), ends, free, n_texts })
    }
}

type Load<'a> = &'a mut dyn FnMut(Role, &ModelSource) -> Result<Source, Error>;

/// The base's lane and those of the pairs.
fn with_base(base: &Source, plan: &Plan, facts: &Facts, load: Load<'_>) -> Result<Lanes, Error> {
    let view = |role| facts.view(role).cloned().unwrap_or_default();
    let mut lanes = Lanes::default();
    // The same model under the same prompt has the same logits.
    let mut add = |wanted: Wanted| {
        let view = wanted.view.clone();
        lanes.add(wanted, |other| other.view == view);
    };
    add(Wanted { source: base.clone(), role: Role::Base, view: view(Role::Base), ids: None });
    for (role, side) in plan.sides() {
        let (source, ids) = match &side.source {
            None => (base.clone(), None),
            Some(source) => (load(role, source)?, facts.ids(&source.path)),
        };
        add(Wanted { source, role, view: view(role), ids: ids.cloned() });
    }
    Ok(lanes)
}

/// The lanes of the pairs alone.
fn beside(host: &HostVocabulary, plan: &Plan, facts: &Facts, load: Load<'_>) -> Result<Lanes, Error> {
    let told = match host {
        HostVocabulary::File(_) => None,
        HostVocabulary::Tokens(tokens) => Some(Vocabulary::of_attributes(tokens.iter().cloned())),
    };
    let mut lanes = Lanes::default();
    for (role, file) in plan.sources() {
        let source = load(role, file)?;
        // Each side is compared with a vocabulary of its own kind: llama.cpp changes some of what files say.
        let ids = match &told {
            None => facts.ids(&file.path).cloned(),
            Some(told) => ids_of(role, &file.path, told, &source.model.vocabulary(), plan.allow_drift)?,
        };
        // All experts are fed the same, and so are all antiexperts; one that is both may see two texts.
        let is_expert = matches!(role, Role::Expert(_));
        let wanted = Wanted { source, role, view: prompt::View::default(), ids };
        lanes.add(wanted, |other| matches!(other.role, Role::Expert(_)) == is_expert);
    }
    Ok(lanes)
}

/// Lanes of one model with the same adapters share a context.
fn arranged(wanted: Vec<Wanted>, topology: Topology, texts: Texts) -> Loaded {
    let mut sources: Vec<Source> = Vec::new();
    for Wanted { source, .. } in &wanted {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    // Servers and devices compute while the CPU does, so they come first.
    sources.sort_by_key(|source| (source.server.is_none(), !source.model.uses_devices()));
    let mut lanes: Vec<Lane> = Vec::new();
    for Wanted { source, role, view, ids } in wanted {
        let context = sources.iter().position(|known| *known == source).unwrap_or(0);
        let place = lanes.iter().filter(|lane| lane.context == context).count();
        lanes.push(Lane { role, view, context, place, ids, n_vocab: source.model.n_vocab() });
    }
    Loaded { topology: Arc::new(Topology { lanes, ..topology }), sources, texts }
}

/// What ends the steered text, then that of every lane by itself.
fn ends(Loaded { topology, sources, .. }: &Loaded) -> Vec<Ends> {
    let model = |lane: &Lane| &sources[lane.context].model;
    let base = topology.lane(Role::Base);
    let speakers = base.into_iter().chain(topology.pairs.iter().filter_map(|pair| pair.expert));
    let lanes = speakers.map(|lane| &topology.lanes[lane]);
    let mut eog: Vec<_> = lanes.flat_map(|lane| eog_of(model(lane), lane.ids.as_ref())).collect();
    eog.sort_unstable();
    eog.dedup();
    let is_lacking = |token: Token| topology.lanes.iter().any(|lane| lane.id(token).is_none());
    let all = 0..Token::try_from(topology.n_vocab).unwrap_or(Token::MAX);
    let never = all.filter(|&token| is_lacking(token) && eog.binary_search(&token).is_err()).collect();
    let alone = topology.lanes.iter().map(|lane| Ends { eog: eog_of(model(lane), None), never: Vec::new() });
    std::iter::once(Ends { eog, never }).chain(alone).collect()
}

/// The tokens that end a generation for a model, by the base's ids.
fn eog_of(model: &Model, ids: Option<&IdMap>) -> Vec<Token> {
    let in_base = |token: Token| match ids {
        None => Some(token),
        Some(ids) => ids.base(token as usize).map(|id| id as Token),
    };
    let all = 0..Token::try_from(model.n_vocab()).unwrap_or(Token::MAX);
    all.filter(|&token| model.is_eog(token)).filter_map(in_base).collect()
}
