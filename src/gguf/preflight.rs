//! Values in well-formed metadata on which llama.cpp ends the process: `GGML_ASSERT` in
//! `llama_model_base::load_hparams`, and what its kernels ask of their parameters.

use super::Error;
use super::header::{Header, Value};

/// `LLAMA_MAX_LAYERS`, `LLAMA_MAX_EXPERTS`
const MAX_LAYERS: i64 = 512;
const MAX_EXPERTS: i64 = 1024;
const ROPE_SCALING_TYPES: [&str; 4] = ["none", "linear", "yarn", "longrope"];

pub(super) fn check(header: &Header) -> Result<(), Error> {
    let Some(architecture) = header.text("general.architecture") else {
        return Err(header.unusable("general.architecture", "the name of an architecture"));
    };
    let key = |name: &str| format!("{architecture}.{name}");
    let require = |holds: bool, name: &str, expected| {
        if holds { Ok(()) } else { Err(header.unusable(&key(name), expected)) }
    };
    let number = |name: &str| header.integer(&key(name));

    let n_layer = number("block_count");
    // A key that is missing, or of another type, is an error to llama.cpp and not an abort.
    require(n_layer.is_none_or(|n| (1..=MAX_LAYERS).contains(&n)), "block_count", "1 to 512 layers")?;
    let n_next = number("nextn_predict_layers").unwrap_or(0);
    require(n_layer.is_none_or(|n| n_next <= n), "nextn_predict_layers", "at most as many as there are layers")?;
    require(
        header.bool(&key("attention.causal")) != Some(false),
        "attention.causal",
        "true: a model that generates text",
    )?;
    if let Some(scaling) = header.text(&key("rope.scaling.type")) {
        let known = ROPE_SCALING_TYPES.contains(&scaling.as_str());
        require(known, "rope.scaling.type", "none, linear, yarn or longrope")?;
    }

    for (name, value) in header.entries() {
        if name.ends_with("_epsilon") && !matches!(value, Value::Float(x) if *x >= 0.0 && x.is_finite()) {
            return Err(header.unusable(name, "a small number, 0 or more"));
        }
    }

    let n_expert = number("expert_count").unwrap_or(0);
    // llama.cpp takes one expert for none in this family.
    let n_expert = if architecture.starts_with("hunyuan") && n_expert <= 1 { 0 } else { n_expert };
    require((0..=MAX_EXPERTS).contains(&n_expert), "expert_count", "at most 1024 experts")?;
    // Some families list a number for each layer; llama.cpp then looks at the largest.
    let n_used = match header.get(&key("expert_used_count")) {
        Some(Value::Skipped { .. }) => None,
        _ => Some(number("expert_used_count").unwrap_or(0)),
    };
    let (n_groups, n_groups_used) =
        (number("expert_group_count").unwrap_or(0), number("expert_group_used_count").unwrap_or(0));
    if n_expert == 0 {
        require(n_used.unwrap_or(0) == 0, "expert_used_count", "0, as there are no experts")?;
        return require(n_groups == 0, "expert_group_count", "0, as there are no experts");
    }
    if let Some(n_used) = n_used {
        require((1..=n_expert).contains(&n_used), "expert_used_count", "1 or more, and no more than there are")?;
    }
    require(n_groups < n_expert, "expert_group_count", "fewer groups than experts")?;
    if n_groups > 1 {
        require(n_expert % n_groups == 0, "expert_group_count", "groups of equal size")?;
        require(
            (1..n_groups).contains(&n_groups_used),
            "expert_group_used_count",
            "1 or more, and fewer than there are",
        )?;
    }
    Ok(())
}
