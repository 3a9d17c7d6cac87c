//! A recipe's names become files, devices and parameters.

use super::plan::{Base, HostVocabulary, ModelSource, PairPlan, Plan, SidePlan};
use super::{Role, error};
use crate::llama::backend::Backend;
use crate::llama::{Error, device};
use crate::recipe::placement::{GpuLayers, Placement};
use crate::recipe::rope::Rope;
use crate::recipe::{ModelName, ModelSpec, PairSpec, Recipe};
use crate::remote;

impl Plan {
    /// What a recipe asks for. `defaults` is how models are loaded and computed as far as the recipe does not say; its
    /// path and adapters are not looked at. A model that is still on a hub is refused.
    pub fn of_recipe(recipe: &Recipe, defaults: &ModelSource, backend: &Backend) -> Result<Self, error::Error> {
        let base = match &recipe.base.model {
            ModelName::Remote(spec) => {
                Base::Remote(remote::Source::of((**spec).clone()).map_err(error::on_server(Role::Base))?)
            }
            _ => source(recipe, Role::Base, &recipe.base, &recipe.base.placement, defaults, backend)?.into(),
        };
        let pairs = pairs(recipe, defaults, backend)?;
        let (view, base_weight) = (recipe.base.view.clone(), recipe.base_weight.clone());
        Ok(Self { view, base_weight, ..Self::of(base, pairs) })
    }

    /// The pairs of a recipe, beside a base that a host decodes.
    pub fn of_recipe_beside(
        recipe: &Recipe,
        host: HostVocabulary,
        defaults: &ModelSource,
        backend: &Backend,
    ) -> Result<Self, error::Error> {
        for (i, pair) in recipe.pairs.iter().enumerate() {
            for (role, spec) in [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)] {
                let is_base = |spec: &ModelSpec| spec.model == ModelName::Base;
                if spec.as_ref().is_some_and(is_base) {
                    return Err(error::Error::OfBase { role });
                }
            }
        }
        if recipe.base_weight.is_some() {
            return Err(error::Error::BaseWeight);
        }
        Ok(Self::beside(host, pairs(recipe, defaults, backend)?))
    }
}

/// The pairs that a recipe asks for; what is said of the base is read where a side is the base.
fn pairs(recipe: &Recipe, defaults: &ModelSource, backend: &Backend) -> Result<Vec<PairPlan>, error::Error> {
    let side = |role: Role, spec: &Option<ModelSpec>| -> Result<Option<SidePlan>, error::Error> {
        let Some(spec) = spec else { return Ok(None) };
        let is_base = spec.model == ModelName::Base && spec.lora.is_empty();
        let is_remote = matches!(recipe.base.model, ModelName::Remote(_));
        let is_as_base =
            is_base && (is_remote || spec.placement == Placement::default() && spec.rope == Rope::default());
        let placement = spec.placement.or(&recipe.base.placement);
        let own = || source(recipe, role, spec, &placement, defaults, backend);
        let source = if is_as_base { None } else { Some(own()?) };
        Ok(Some(SidePlan { source, view: spec.view.clone() }))
    };
    let mut pairs = Vec::new();
    for (i, pair) in recipe.pairs.iter().enumerate() {
        let (expert, antiexpert) = (side(Role::Expert(i), &pair.expert)?, side(Role::Antiexpert(i), &pair.antiexpert)?);
        let PairSpec { name, alpha, alpha_expert, alpha_antiexpert, .. } = pair.clone();
        pairs.push(PairPlan { name, alpha, alpha_expert, alpha_antiexpert, expert, antiexpert });
    }
    Ok(pairs)
}

fn source(
    recipe: &Recipe,
    role: Role,
    spec: &ModelSpec,
    placement: &Placement,
    defaults: &ModelSource,
    backend: &Backend,
) -> Result<ModelSource, error::Error> {
    let path = match (&spec.model, &recipe.base.model) {
        (ModelName::File(path), _) | (ModelName::Base, ModelName::File(path)) => path.clone(),
        (name, _) => return Err(error::Error::NotHere { role, name: name.to_string() }),
    };
    // The base is what it is with its own adapters.
    let of_base: &[_] = if role != Role::Base && spec.model == ModelName::Base { &recipe.base.lora } else { &[] };
    let adapters = [of_base, &spec.lora].concat();
    let mut source = ModelSource { path, adapters, ..defaults.clone() };
    source.context.rope = spec.rope.or(&recipe.base.rope);
    place(&mut source, placement, backend).map_err(error::in_lane(role))?;
    Ok(source)
}

/// Runs a model where it is to run.
fn place(source: &mut ModelSource, placement: &Placement, backend: &Backend) -> Result<(), Error> {
    if let Some(GpuLayers(layers)) = placement.gpu_layers {
        source.model.n_gpu_layers = layers;
    }
    if let Some(names) = &placement.device {
        source.model.devices = Some(device::by_name(backend, names)?);
    }
    source.context.cache_type_k = placement.cache_type_k.unwrap_or(source.context.cache_type_k);
    source.context.cache_type_v = placement.cache_type_v.unwrap_or(source.context.cache_type_v);
    Ok(())
}
