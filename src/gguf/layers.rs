//! Families that mix two kinds of layers: with attention, and with a state or a window. llama.cpp gives each kind an
//! input of its own, and ends the process at the first token where no layer uses one of them.

use super::{Error, Header, Value};

/// Layers without heads for keys have a state (`is_recr_impl`).
const STATE_WITHOUT_HEADS: [&str; 9] =
    ["jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next"];
/// The same, and layers that feed forward have neither.
const STATE_OR_FORWARD: [&str; 2] = ["nemotron_h", "nemotron_h_moe"];
/// Every layer of so many has attention, unless the file tells; the others have a state.
const BY_INTERVAL: [(&str, usize); 5] =
    [("qwen3next", 4), ("qwen35", 4), ("qwen35moe", 4), ("qwen4exp", 4), ("minimax-01", 8)];
/// One of four layers sees more than a window.
const LLAMA_4: (&str, usize) = ("llama4", 4);

/// Refuses models that lack one of the kinds.
pub(super) fn check(header: &Header) -> Result<(), Error> {
    let architecture = header.architecture();
    let is_one_of = |names: &[&str]| names.contains(&architecture.as_str());
    let key = |name: &str| format!("{architecture}.{name}");
    let count = |name: &str| header.integer(&key(name)).and_then(|n| usize::try_from(n).ok());
    // A key that is missing is an error to llama.cpp.
    let Some(n_all) = count("block_count") else { return Ok(()) };
    // The last layers may be there to predict further tokens, and are not computed.
    let n = n_all.saturating_sub(count("nextn_predict_layers").unwrap_or(0));
    let each = |name: &str| match header.get(&key(name)) {
        Some(Value::Numbers(each)) => each.iter().copied().take(n).collect(),
        _ => vec![header.integer(&key(name)).unwrap_or(0); n],
    };
    let (heads, forward) = (each("attention.head_count_kv"), each("feed_forward_length"));
    let require = |holds: bool, name: &str, expected| {
        if holds { Ok(()) } else { Err(header.unusable(&key(name), expected)) }
    };
    if is_one_of(&STATE_WITHOUT_HEADS) {
        let both = heads.contains(&0) && heads.iter().any(|n| *n != 0);
        require(both, "attention.head_count_kv", "0 for layers with a state, and more for some with attention")?;
    }
    if is_one_of(&STATE_OR_FORWARD) {
        let kinds = || heads.iter().zip(&forward).filter(|(_, forward)| **forward == 0);
        let both = kinds().any(|(heads, _)| *heads == 0) && kinds().any(|(heads, _)| *heads != 0);
        require(both, "feed_forward_length", "0 for some layers with a state, and for some with attention")?;
    }
    let is_told = header.get(&key("attention.recurrent_layers")).is_some();
    if let Some((_, usual)) = BY_INTERVAL.into_iter().find(|(name, _)| *name == architecture && !is_told) {
        const INTERVAL: &str = "full_attention_interval";
        let interval = count(INTERVAL).unwrap_or(usual);
        require(interval > 1, INTERVAL, "2 or more, so that some layers have a state")?;
        require(n >= interval, "block_count", "as many layers as from one with attention to the next")?;
    }
    if architecture == LLAMA_4.0 && count("attention.sliding_window") != Some(0) {
        require(n >= LLAMA_4.1, "block_count", "4 or more layers")?;
    }
    // The first layers attend to everything; the others choose, if they have an indexer.
    if architecture == "minimax-m3" {
        let n_dense = count("leading_dense_block_count").unwrap_or(0);
        require(n_dense < n, "leading_dense_block_count", "fewer than there are layers")?;
    }
    // Layers that do not feed forward are left out altogether.
    if architecture == "deci" {
        require(forward.iter().any(|n| *n != 0), "feed_forward_length", "more than 0 for some layers")?;
    }
    if let (Some(heads @ 1..), Some(groups @ 1..)) = (count("ssm.time_step_rank"), count("ssm.group_count")) {
        require(heads % groups == 0, "ssm.group_count", "groups of as many heads each (ssm.time_step_rank)")?;
    }
    Ok(())
}
