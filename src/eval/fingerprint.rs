//! What a run was: task, data, models and sampling, so that results of two runs are never mixed.
//!
//! Contenders are no part of it: each result names its own, α included, and a later run may add others.

use std::fmt::Write;

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::results::{FORMAT, VERSION};
use super::task::Task;
use crate::recipe::View;
use crate::remote::Source;
use crate::sampling::Sampling;
use crate::steer::{Base, ModelSource, Plan, Role};

/// The first line of the results. Models go by name and size: to hash them would take as long as to load them.
/// `data`: the text that the items are read from.
pub fn of(
    task: &Task,
    data: &str,
    plan: &Plan,
    system: Option<&str>,
    sampling: &Sampling,
) -> serde_json::Result<Value> {
    let mut models = Map::new();
    models.insert(Role::Base.to_string(), base(plan)?);
    for (i, pair) in plan.pairs.iter().enumerate() {
        for (role, side) in [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)] {
            if let Some(side) = side {
                models.insert(role.to_string(), model(side.source.as_ref(), &side.view)?);
            }
        }
    }
    Ok(json!({
        FORMAT: VERSION,
        "task": serde_json::to_value(&task.spec)?,
        "data": {"sha256": sha256(data)},
        "models": models,
        "system_prompt": system,
        "sampling": serde_json::to_value(sampling)?,
    }))
}

/// A model that was tuned itself, which is a plan's base.
pub fn of_base(plan: &Plan) -> serde_json::Result<Value> {
    base(plan)
}

fn base(plan: &Plan) -> serde_json::Result<Value> {
    match &plan.base {
        // What it shows decides what is chosen; where it is, and how it is let in, does not.
        Base::Remote(Source { spec, .. }) => Ok(json!({
            "server": {"url": spec.url, "model": spec.model, "logprobs": serde_json::to_value(spec.logprobs)?, "exact": spec.exact},
            "view": serde_json::to_value(&plan.view)?,
        })),
        _ => model(plan.base.source(), &plan.view),
    }
}

/// `None` for the base itself.
fn model(source: Option<&ModelSource>, view: &View) -> serde_json::Result<Value> {
    let view = serde_json::to_value(view)?;
    let Some(ModelSource { path, adapters, context, .. }) = source else {
        return Ok(json!({"model": "base", "view": view}));
    };
    let name = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let n_bytes = std::fs::metadata(path).ok().map(|about| about.len());
    let adapters: Vec<_> =
        adapters.iter().map(|lora| json!({"adapter": name(&lora.path), "scale": lora.scale})).collect();
    let (rope, cache) = (serde_json::to_value(&context.rope)?, [context.cache_type_k, context.cache_type_v]);
    Ok(json!({
        "model": name(path), "bytes": n_bytes, "lora": adapters, "view": view, "rope": rope,
        "cache": serde_json::to_value(cache)?,
    }))
}

/// 64 hexadecimal digits.
fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::sha256;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn a_known_hash() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
