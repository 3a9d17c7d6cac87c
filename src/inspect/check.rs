//! From a plan to findings.

use super::finding::{Finding, Level};
use super::memory::{self, Device, Need};
use super::model::{File, Model};
use super::probe::Probed;
use super::rules;
use crate::llama::backend::Backend;
use crate::steer::{Facts, ModelSource, Plan, Role};

/// All that was found.
#[derive(Debug)]
pub struct Inspection {
    /// Every file with the first role it plays.
    pub models: Vec<Model>,
    /// What each of [`Self::models`] takes; `None` for one that was refused.
    pub needs: Vec<Option<Need>>,
    pub devices: Vec<Device>,
    pub findings: Vec<Finding>,
    pub n_ctx: usize,
}

impl Inspection {
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Refused)
    }

    /// The model that plays a role of the plan.
    #[must_use]
    pub fn model(&self, role: Role) -> Option<&Model> {
        self.models.iter().find(|model| model.role == role)
    }
}

/// Looks at every file of a plan. `n_ctx` is asked how many tokens the context is to hold, given what every model was
/// trained on; `probe` asks llama.cpp about a file that passed the gate.
pub fn check(
    backend: &Backend,
    plan: &Plan,
    n_ctx: impl FnOnce(usize) -> usize,
    probe: &mut dyn FnMut(Role, &ModelSource) -> Result<Probed, String>,
) -> Inspection {
    let mut plan = plan.clone();
    let mut models: Vec<Model> = Vec::new();
    for (role, source) in plan.sources() {
        if models.iter().all(|model| model.path != source.path) {
            models.push(Model::read(role, source));
        }
    }
    let trained = models.iter().filter_map(|model| model.file.as_ref().ok()).map(File::n_ctx_train).min();
    let n_ctx = n_ctx(trained.unwrap_or(0));
    plan.contexts_mut().for_each(|context| context.n_ctx = n_ctx.max(1));
    let facts = plan.check();
    if let Ok(facts) = &facts {
        count_lanes(&plan, facts, &mut models);
    }
    let sources: Vec<&ModelSource> = models
        .iter()
        .filter_map(|model| plan.sources().map(|(_, source)| source).find(|source| source.path == model.path))
        .collect();
    for (model, source) in models.iter_mut().zip(&sources) {
        let is_worth_it = |file: &File| {
            // llama.cpp lists the cells of a cache, even of one that no machine holds.
            let fits = file.kv_bytes(&source.context).is_none_or(|bytes| bytes < memory::everywhere(backend));
            fits && !file.header.tensors().is_empty()
        };
        if model.file.as_ref().is_ok_and(is_worth_it) {
            let mut source = ModelSource::clone(source);
            // llama.cpp does not survive every damaged adapter, and those were refused already.
            if facts.is_err() {
                source.adapters.clear();
            }
            model.probed = Some(probe(model.role, &source));
            let mut known = vec![source.adapters];
            for (role, source) in plan.sources().filter(|(_, other)| facts.is_ok() && other.path == model.path) {
                if !known.contains(&source.adapters) {
                    model.with_other_adapters.push((role, probe(role, source)));
                    known.push(source.adapters.clone());
                }
            }
        }
    }
    let both = || models.iter().zip(sources.iter().copied());
    let needs = both().map(|(model, source)| memory::need(model, source)).collect();
    let devices = memory::devices(backend, both());
    let findings = rules::all(&plan, facts.as_ref(), &models, &devices);
    Inspection { models, needs, devices, findings, n_ctx }
}

/// A model under two prompts is two sequences; with an adapter and without, two contexts.
fn count_lanes(plan: &Plan, facts: &Facts, models: &mut [Model]) {
    let computed = plan.computed(facts);
    for model in models {
        let own: Vec<_> = computed.iter().filter(|(source, _)| source.path == model.path).collect();
        let is_first =
            |&&(i, (source, _)): &&(usize, &&(&ModelSource, _))| own[..i].iter().all(|(other, _)| other != source);
        model.n_lanes = own.len().max(1);
        model.n_contexts = own.iter().enumerate().filter(|entry| is_first(&entry)).count().max(1);
    }
}
