//! `--deterministic`: the set-up in which logits do not depend on how tokens are batched.
//!
//! llama.cpp's CPU kernels for `q4_0` and `q8_0` matrices, and flash attention over a cache in `q8_0`, round one way for
//! one token and for many; devices and other types do not promise that. `proxytune check --deep` looks whether it is so.

use anyhow::Result;

use super::models::Models;
use super::report::{BadUsage, Hinted};
use super::terminal::say;
use crate::gguf::Header;
use crate::llama::context::FlashAttention;
use crate::recipe::placement::{CacheType, GpuLayers, Placement};
use crate::recipe::{ModelSpec, Recipe};
use crate::steer::Plan;

/// Types of matrices that round alike for one token and for many.
const INVARIANT: [&str; 2] = ["q4_0", "q8_0"];

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
    if let Some(GpuLayers(n)) = gpu_layers.filter(|layers| *layers != GpuLayers(Some(0))) {
        let n = n.map_or("all".to_owned(), |n| n.to_string());
        return Some(format!("has {n} layers on devices"));
    }
    if let Some(names) = device.as_ref().filter(|names| *names != &["none"]) {
        return Some(format!("has layers on {}", names.join(",")));
    }
    let kind = [cache_type_k, cache_type_v].into_iter().flatten().find(|kind| **kind != CacheType::Q8_0)?;
    Some(format!("has a cache in {kind}"))
}

/// Tells which files keep the promise from holding.
pub fn note_weights(plan: &Plan) -> Result<()> {
    let mut seen = Vec::new();
    for (role, source) in plan.sources() {
        if seen.contains(&&source.path) {
            continue;
        }
        seen.push(&source.path);
        let mut types = Header::read(&source.path)?.matrix_types();
        types.retain(|kind| !INVARIANT.contains(kind));
        if !types.is_empty() {
            let types: Vec<_> = types.into_iter().collect();
            say!(
                "note: the {role} has matrices in {}: only q4_0 and q8_0 round alike for one token and for many, so \
                 speculation may change its text; `proxytune check --deep --deterministic` looks",
                types.join(", ")
            );
        }
        if !source.adapters.is_empty() {
            say!("note: the {role} has a LoRA adapter, which may round otherwise for one token than for many");
        }
    }
    Ok(())
}
