//! From files to a steered model: every file is looked at before the first one is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Error, in_lane};
use super::lanes::{Cast, Lane, Lanes};
use super::offset::{self, Pair};
use super::steered::Ends;
use super::{ModelSource, Offset, Plan, Role, Steered};
use crate::llama::Token;
use crate::llama::adapter::{Adapter, Scaled};
use crate::llama::backend::Backend;
use crate::llama::context::{Context, ContextParams, Sequences};
use crate::llama::model::{Model, ModelParams};
use crate::prompt;
use crate::vocab::IdMap;

/// Models by file, so that each file is loaded once however many roles it plays; adapters with the model they are for.
#[derive(Debug, Default)]
pub struct Models {
    models: Vec<(PathBuf, ModelParams, Arc<Model>)>,
    adapters: Vec<(PathBuf, Arc<Model>, Arc<Adapter>)>,
}

impl Models {
    /// The model of a source, loaded unless it already is.
    pub fn get(
        &mut self,
        backend: &Backend,
        role: Role,
        source: &ModelSource,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Arc<Model>, Error> {
        let ModelSource { path, model: params, .. } = source;
        let same = |(loaded, with, _): &&(PathBuf, ModelParams, _)| with == params && same_file(loaded, path);
        if let Some((_, _, model)) = self.models.iter().find(same) {
            return Ok(model.clone());
        }
        let report = |share| progress(role, path, share);
        let model = Model::load(backend, path, params, report).map_err(in_lane(role))?;
        let model = Arc::new(model);
        self.models.push((path.clone(), params.clone(), model.clone()));
        Ok(model)
    }

    /// A source's adapters with their scales, loaded unless they already are.
    fn adapters(&mut self, model: &Arc<Model>, source: &ModelSource) -> Result<Vec<Scaled>, crate::llama::Error> {
        let mut found = Vec::new();
        for lora in &source.adapters {
            let same = |(path, of, _): &&(PathBuf, _, _)| Arc::ptr_eq(of, model) && same_file(path, &lora.path);
            let adapter = if let Some((_, _, adapter)) = self.adapters.iter().find(same) {
                adapter.clone()
            } else {
                let adapter = Arc::new(Adapter::load(model, &lora.path)?);
                self.adapters.push((lora.path.clone(), model.clone(), adapter.clone()));
                adapter
            };
            found.push((adapter, lora.scale));
        }
        Ok(found)
    }

    /// A source's model and adapters, loaded unless they already are.
    pub(super) fn computer(
        &mut self,
        backend: &Backend,
        role: Role,
        source: &ModelSource,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Computer, Error> {
        let model = self.get(backend, role, source, progress)?;
        let adapters = self.adapters(&model, source).map_err(in_lane(role))?;
        Ok(Computer { model, adapters, params: source.context.clone() })
    }

    /// How many models are loaded.
    #[must_use]
    pub fn n_loaded(&self) -> usize {
        self.models.len()
    }
}

pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What computes the logits of a lane.
#[derive(Debug, Clone)]
pub(super) struct Computer {
    pub model: Arc<Model>,
    adapters: Vec<Scaled>,
    params: ContextParams,
}

impl PartialEq for Computer {
    fn eq(&self, other: &Self) -> bool {
        let same = |((a, x), (b, y)): (&Scaled, &Scaled)| Arc::ptr_eq(a, b) && x == y;
        Arc::ptr_eq(&self.model, &other.model)
            && self.params == other.params
            && self.adapters.len() == other.adapters.len()
            && self.adapters.iter().zip(&other.adapters).all(same)
    }
}

/// Lanes before their contexts are made, each computed once.
#[derive(Default)]
pub(super) struct Seats(Vec<(Computer, Seat)>);

#[derive(Clone)]
pub(super) struct Seat {
    pub role: Role,
    pub view: prompt::View,
    pub ids: Option<IdMap>,
}

impl Seats {
    /// The lane that computes this and is given the `same` to read, a new one unless there is one.
    pub(super) fn of(&mut self, computer: Computer, seat: Seat, same: impl Fn(&Seat) -> bool) -> usize {
        let known = self.0.iter().position(|(known, other)| *known == computer && same(other));
        known.unwrap_or_else(|| {
            self.0.push((computer, seat));
            self.0.len() - 1
        })
    }

    /// Opens a context for each computer, with a sequence for each of its lanes, and as many spare ones as `n_spare`
    /// says of those lanes.
    pub(super) fn open(self, n_spare: impl Fn(&[usize]) -> usize) -> Result<Lanes, Error> {
        let mut computers: Vec<Computer> = Vec::new();
        for (computer, _) in &self.0 {
            if !computers.contains(computer) {
                computers.push(computer.clone());
            }
        }
        // Those on devices compute while the CPU does, so they come first.
        computers.sort_by_key(|computer| !computer.model.uses_devices());
        let place = |computer: &Computer| computers.iter().position(|known| known == computer).unwrap_or(0);
        let mut n_lanes = vec![0; computers.len()];
        let mut lanes: Vec<Lane> = Vec::new();
        for (computer, Seat { role, view, ids }) in self.0 {
            let context = place(&computer);
            lanes.push(Lane::new(role, context, n_lanes[context], view, ids));
            n_lanes[context] += 1;
        }
        let mut contexts = Vec::new();
        for (i, Computer { model, adapters, params }) in computers.iter().enumerate() {
            let own: Vec<_> = (0..lanes.len()).filter(|&lane| lanes[lane].context == i).collect();
            let sequences = Sequences { n: own.len(), n_spare: n_spare(&own) };
            let role = own.first().map_or(Role::Base, |&lane| lanes[lane].role);
            contexts.push(Context::with(model.clone(), adapters, params, sequences).map_err(in_lane(role))?);
        }
        Ok(Lanes { contexts, cast: Cast::of(lanes) })
    }
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
        let view = |role| facts.view(role).cloned().unwrap_or_default();
        let mut computer = |role, source: &ModelSource| models.computer(backend, role, source, progress);
        let base = computer(Role::Base, &plan.base)?;
        let mut seats = Seats::default();
        // The same model under the same prompt has the same logits.
        let mut seat = |computer: Computer, seat: Seat| {
            let view = seat.view.clone();
            seats.of(computer, seat, |other| other.view == view)
        };
        seat(base.clone(), Seat { role: Role::Base, view: view(Role::Base), ids: None });
        let mut eog = eog_of(&base.model, None);
        let mut places = Vec::new();
        for (role, side) in plan.sides() {
            let (computer, ids) = match &side.source {
                None => (base.clone(), None),
                Some(source) => (computer(role, source)?, facts.ids(&source.path)),
            };
            if matches!(role, Role::Expert(_)) && !Arc::ptr_eq(&computer.model, &base.model) {
                eog.extend(eog_of(&computer.model, ids));
            }
            places.push((role, seat(computer, Seat { role, view: view(role), ids: ids.cloned() })));
        }
        let place = |role| places.iter().find(|(of, _)| *of == role).map(|(_, lane)| *lane);
        let pairs = plan.pairs.iter().enumerate().map(|(i, pair)| Pair {
            planned: pair.alpha.clone(),
            alpha: pair.alpha.clone(),
            expert: place(Role::Expert(i)),
            antiexpert: place(Role::Antiexpert(i)),
        });
        let offset = Offset { pairs: pairs.collect() };
        // For the base by itself: its lane is the first one.
        let lanes = seats.open(|lanes| usize::from(plan.compares && lanes.contains(&0)))?;
        let spare = lanes.cast.lanes.first().filter(|_| plan.compares).map(|lane| {
            let seq = lanes.cast.lanes.iter().filter(|other| other.context == lane.context).count();
            Lane::new(lane.role, lane.context, seq, lane.view.clone(), None)
        });
        eog.sort_unstable();
        eog.dedup();
        let never = offset::never(&lanes, base.model.n_vocab(), &eog);
        let alone =
            spare.map(|lane| (Cast::of(vec![lane]), Ends { eog: eog_of(&base.model, None), never: Vec::new() }));
        Ok(Self { lanes, offset, ends: Ends { eog, never }, alone })
    }
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
