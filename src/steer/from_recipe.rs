//! A recipe's names become files, devices and parameters.

use super::{ModelSource, PairPlan, Plan, Role, SidePlan};
use crate::llama::backend::Backend;
use crate::llama::{Error, device};
use crate::recipe::placement::{GpuLayers, Placement};
use crate::recipe::{ModelName, Player, Recipe};

impl Plan {
    /// What a recipe asks for. `defaults` is how models are loaded and computed as far as the recipe does not say; its
    /// path and adapters are not looked at. A model that is still on a hub is refused.
    pub fn of_recipe(recipe: &Recipe, defaults: &ModelSource, backend: &Backend) -> Result<Self, super::Error> {
        let base = source(recipe, Role::Base, &recipe.base, &recipe.base.placement, defaults, backend)?;
        let pairs = pairs(recipe, defaults, backend)?;
        Ok(Self { pairs, view: recipe.base.view.clone(), ..Self::alone(base) })
    }
}

/// The pairs that a recipe asks for; what is said of the base is read where a side is the base.
pub(super) fn pairs(recipe: &Recipe, defaults: &ModelSource, backend: &Backend) -> Result<Vec<PairPlan>, super::Error> {
    let side = |role: Role, player: &Option<Player>| -> Result<Option<SidePlan>, super::Error> {
        let Some(player) = player else { return Ok(None) };
        let is_base = player.model == ModelName::Base && player.lora.is_empty();
        let is_as_base = is_base && player.placement == Placement::default();
        let placement = player.placement.or(&recipe.base.placement);
        let own = || source(recipe, role, player, &placement, defaults, backend);
        let source = if is_as_base { None } else { Some(own()?) };
        Ok(Some(SidePlan { source, view: player.view.clone() }))
    };
    let mut pairs = Vec::new();
    for (i, pair) in recipe.pairs.iter().enumerate() {
        let (expert, antiexpert) = (side(Role::Expert(i), &pair.expert)?, side(Role::Antiexpert(i), &pair.antiexpert)?);
        pairs.push(PairPlan { alpha: pair.alpha.clone(), expert, antiexpert });
    }
    Ok(pairs)
}

fn source(
    recipe: &Recipe,
    role: Role,
    player: &Player,
    placement: &Placement,
    defaults: &ModelSource,
    backend: &Backend,
) -> Result<ModelSource, super::Error> {
    let path = match (&player.model, &recipe.base.model) {
        (ModelName::File(path), _) | (ModelName::Base, ModelName::File(path)) => path.clone(),
        (name, _) => return Err(super::Error::NotHere { role, name: name.to_string() }),
    };
    // The base is what it is with its own adapters.
    let of_base: &[_] = if role != Role::Base && player.model == ModelName::Base { &recipe.base.lora } else { &[] };
    let adapters = [of_base, &player.lora].concat();
    let mut source = ModelSource { path, adapters, ..defaults.clone() };
    place(&mut source, placement, backend).map_err(super::error::in_lane(role))?;
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
