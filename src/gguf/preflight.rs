//! Values in well-formed metadata on which llama.cpp ends the process: `GGML_ASSERT` in
//! `llama_model_base::load_hparams`.

use super::tensors::MAX_LAYERS;
use super::{Error, Header, Value, layers, rotation, weights};

/// `LLAMA_MAX_EXPERTS`
const MAX_EXPERTS: i64 = 1024;
const ROPE_SCALING_TYPES: [&str; 4] = ["none", "linear", "yarn", "longrope"];
/// Encoders, models that fill in gaps, and parts of other models: none continues a text.
const NOT_GENERATIVE: [&str; 23] = [
    "bert",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "eurobert",
    "gemma-embedding",
    "llama-embed",
    "t5",
    "t5encoder",
    "clip",
    "clef",
    "wavtokenizer-dec",
    "dream",
    "llada",
    "llada-moe",
    "rnd1",
    "eagle3",
    "dflash",
    "gemma4-assistant",
    "(unknown)",
];
/// Files of the same format that go with a model.
const NOT_MODELS: [&str; 3] = ["adapter", "mmproj", "imatrix"];
/// llama.cpp asserts that these have experts.
const OF_EXPERTS: [&str; 5] = ["bailingmoe2", "glm4moe", "grovemoe", "smallthinker", "lfm2moe"];
/// llama.cpp asserts that the state of these is twice as wide as the model.
const DOUBLE_STATE: [&str; 2] = ["jamba", "granitehybrid"];

pub(super) fn check(header: &Header) -> Result<(), Error> {
    const ARCHITECTURE: &str = "general.architecture";
    const TYPE: &str = "general.type";
    if header.text(TYPE).is_some_and(|kind| NOT_MODELS.contains(&kind.as_str())) {
        return Err(header.unusable(TYPE, "a model"));
    }
    let Some(architecture) = header.text(ARCHITECTURE) else {
        return Err(header.unusable(ARCHITECTURE, "the name of an architecture"));
    };
    if NOT_GENERATIVE.contains(&architecture.as_str()) {
        return Err(header.unusable(ARCHITECTURE, "a model that continues text"));
    }
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

    rotation::check(header)?;
    layers::check(header)?;
    weights::check(header)?;

    for (name, value) in header.entries() {
        if name.ends_with("_epsilon") && !matches!(value, Value::Float(x) if *x >= 0.0 && x.is_finite()) {
            return Err(header.unusable(name, "a small number, 0 or more"));
        }
    }

    let n_expert = number("expert_count").unwrap_or(0);
    // llama.cpp takes one expert for none in these, and then does not look at how many are used.
    let forgets_one = ["hunyuan_vl", "hunyuan-dense"].contains(&architecture.as_str()) && n_expert <= 1;
    let n_expert = if forgets_one { 0 } else { n_expert };
    require((0..=MAX_EXPERTS).contains(&n_expert), "expert_count", "at most 1024 experts")?;
    // Some families list a number for each layer; llama.cpp then looks at the largest.
    let n_used = match header.get(&key("expert_used_count")) {
        Some(Value::Numbers(each)) => {
            require(each.iter().all(|n| *n >= 0), "expert_used_count", "numbers of 0 or more")?;
            each.iter().copied().max().unwrap_or(0)
        }
        _ => number("expert_used_count").unwrap_or(0),
    };
    let (n_groups, n_groups_used) =
        (number("expert_group_count").unwrap_or(0), number("expert_group_used_count").unwrap_or(0));
    require(n_expert > 0 || !OF_EXPERTS.contains(&architecture.as_str()), "expert_count", "1 or more experts")?;
    if DOUBLE_STATE.contains(&architecture.as_str())
        && let (Some(n_embd), Some(n_inner)) = (number("embedding_length"), number("ssm.inner_size"))
    {
        require(n_embd.checked_mul(2) == Some(n_inner), "ssm.inner_size", "twice the embedding length")?;
    }
    if n_expert == 0 {
        require(n_used == 0 || forgets_one, "expert_used_count", "0, as there are no experts")?;
        return require(n_groups == 0, "expert_group_count", "0, as there are no experts");
    }
    require((1..=n_expert).contains(&n_used), "expert_used_count", "1 or more, and no more than there are")?;
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
