//! `--deterministic`: the text of decoding token by token, whatever is drafted.
//!
//! Flash attention over a cache in `q8_0` and llama.cpp's CPU kernels for some types of matrices round one way for one
//! token and for several; devices and other types do not. With other types nothing is drafted. `proxytune check --deep`
//! looks whether it is so.

use anyhow::Result;

use super::draft::DraftArgs;
use super::models::Models;
use super::report::{BadUsage, Hinted};
use super::terminal::say;
use crate::generate::Draft;
use crate::generate::draft::Length;
use crate::gguf::Header;
use crate::llama::context::FlashAttention;
use crate::llama::invariance;
use crate::recipe::placement::{CacheType, GpuLayers, Placement};
use crate::recipe::{ModelSpec, Recipe};
use crate::steer::Plan;

/// Places every role of a recipe as the set-up asks for; refuses what says otherwise.
pub fn place(args: &Models, recipe: &mut Recipe) -> Result<()> {
    if let Some(otherwise) = contradiction(args, recipe) {
        return Err(BadUsage(format!("{otherwise}, and --deterministic is asked for"))).hint(
            "--deterministic is the CPU alone, with flash attention and a KV cache in q8_0: leave it out, or what says \
             otherwise",
        );
    }
    // What the sides leave open is as for the base.
    recipe.base.placement = Placement {
        gpu_layers: Some(GpuLayers(Some(0))),
        device: Some(vec!["none".to_owned()]),
        cache_type_k: Some(CacheType::Q8_0),
        cache_type_v: Some(CacheType::Q8_0),
    };
    Ok(())
}

/// What is typed, or written in the recipe, and not as the set-up asks for.
fn contradiction(args: &Models, recipe: &Recipe) -> Option<String> {
    if args.flash_attn == FlashAttention::Off {
        return Some("flash attention is off".to_owned());
    }
    if !args.rpc.is_empty() {
        return Some(format!("there are devices at {}", args.rpc.join(",")));
    }
    let sides = recipe.pairs.iter().flat_map(|pair| [("expert", &pair.expert), ("antiexpert", &pair.antiexpert)]);
    let mut models =
        [("base", &recipe.base)].into_iter().chain(sides.filter_map(|(role, side)| Some((role, side.as_ref()?))));
    models.find_map(|(role, spec)| Some(format!("the {role} {}", elsewhere(spec)?)))
}

/// What of a spec's placement is not as the set-up asks for.
fn elsewhere(spec: &ModelSpec) -> Option<String> {
    let Placement { gpu_layers, device, cache_type_k, cache_type_v } = &spec.placement;
    if let Some(layers) = gpu_layers.filter(|layers| *layers != GpuLayers(Some(0))) {
        return Some(format!("has {layers} layers on devices"));
    }
    if let Some(names) = device.as_ref().filter(|names| *names != &["none"]) {
        return Some(format!("has layers on {}", names.join(",")));
    }
    let kind = [cache_type_k, cache_type_v].into_iter().flatten().find(|kind| **kind != CacheType::Q8_0)?;
    Some(format!("has a cache in {kind}"))
}

/// What is to be drafted. `--deterministic` keeps what was typed for weights whose logits do not depend on the batch size.
/// For others it drafts nothing and prints a note, and refuses a length that was typed.
pub fn drafts(args: &Models, typed: &DraftArgs, plan: &Plan) -> Result<Draft> {
    let mut draft = typed.get()?;
    if !args.deterministic || draft.n_step() == 1 {
        return Ok(draft);
    }
    match (draft.length, batch_dependence(plan)?) {
        // Whatever a clock says of lengths, the text is the same.
        (Length::Auto, None) => draft.length = Length::Timed,
        (_, None) => {}
        (Length::Auto, Some(why)) => {
            say!("note: nothing is drafted, as --deterministic is asked for and {why}");
            draft.length = Length::Off;
        }
        (Length::Timed | Length::Fixed(_) | Length::Off, Some(why)) => {
            return Err(BadUsage(format!("drafts are asked for beside --deterministic, and {why}"))).hint(
                "leave --draft out, and tokens are decoded one by one; `proxytune generate --help` names the weights that \
                 can be drafted for",
            );
        }
    }
    Ok(draft)
}

/// What of a plan's files rounds otherwise for several tokens than for one, if anything does.
fn batch_dependence(plan: &Plan) -> Result<Option<String>> {
    for (role, source) in plan.sources() {
        let (header, kernels) = (Header::read(&source.path)?, source.model.kernels);
        let types = invariance::dependent(&header, kernels);
        if !types.is_empty() {
            let types = types.join(", ");
            return Ok(Some(format!(
                "the {role} has matrices in {types}, which may round otherwise for several tokens at once"
            )));
        }
        if !source.adapters.is_empty() && kernels.isa(&header).is_none() {
            return Ok(Some(format!(
                "the {role} has a LoRA adapter, which may round otherwise for several tokens at once"
            )));
        }
    }
    Ok(None)
}
