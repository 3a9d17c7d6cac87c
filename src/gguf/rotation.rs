//! Rotary positions: how much of a head they turn, pair by pair. ggml's kernel aborts where that is odd or more than the
//! head, and never ends where it is nothing.

use super::{Error, Header, Value};

/// Architectures that know positions otherwise, or not at all (`llama_model_rope_type`).
const WITHOUT: [&str; 18] = [
    "gpt2",
    "gptj",
    "mpt",
    "refact",
    "bloom",
    "mamba",
    "mamba2",
    "jamba",
    "jais",
    "rwkv6",
    "rwkv6qwen2",
    "rwkv7",
    "arwkv7",
    "nemotron_h",
    "nemotron_h_moe",
    "kimi-linear",
    "kimi-k3",
    "glm5-next",
];
/// Architectures whose positions always have several parts.
const IN_SECTIONS: [&str; 7] = ["qwen2vl", "paddleocr", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen4exp"];

/// Refuses numbers on which the kernel does not end well.
pub(super) fn check(header: &Header) -> Result<(), Error> {
    let architecture = header.architecture();
    let key = |name: &str| format!("{architecture}.{name}");
    let number = |name: &str| header.integer(&key(name));
    // Families with several kinds of layers list a number for each; llama.cpp looks at the first.
    let n_head = match header.get(&key("attention.head_count")) {
        Some(Value::Numbers(each)) => each.first().copied(),
        _ => number("attention.head_count"),
    };
    // A key that is missing, or of another type, is an error to llama.cpp, and so is a model that is 0 wide.
    let Some(n_head) = n_head.filter(|n| *n > 0) else { return Ok(()) };
    let Some(n_embd) = number("embedding_length").filter(|n| *n > 0) else { return Ok(()) };
    let head = number("attention.key_length").unwrap_or(n_embd / n_head);
    let n_rot = number("rope.dimension_count").unwrap_or(head);
    let head_swa = number("attention.key_length_swa").unwrap_or(head);
    let n_rot_swa = number("rope.dimension_count_swa").unwrap_or(n_rot);

    let is_switched_off = architecture == "granitehybrid" && header.bool(&key("rope.scaling.finetuned")) == Some(false);
    let may_be_none = WITHOUT.contains(&architecture.as_str()) || is_switched_off;
    let has_window = ["attention.key_length_swa", "rope.dimension_count_swa"].map(number).iter().any(Option::is_some);
    let all = [("rope.dimension_count", n_rot, head), ("rope.dimension_count_swa", n_rot_swa, head_swa)];
    for (name, n_rot, head) in &all[..if has_window { 2 } else { 1 }] {
        if may_be_none && number(name).is_none_or(|n| n == 0) {
            continue;
        }
        // Some turn the rear of a head, which then begins at an even place.
        if *n_rot <= 0 || n_rot % 2 != 0 || n_rot > head || head % 2 != 0 {
            let found = format!("{n_rot} of a head of {head}");
            return Err(header.found(&key(name), "an even number within an even head", found));
        }
    }
    let indexer = number("attention.indexer.key_length");
    if let Some(odd) = indexer.filter(|n| n % 2 != 0) {
        return Err(header.found(&key("attention.indexer.key_length"), "an even number", odd.to_string()));
    }
    // Its layers without a window turn half as much.
    if architecture == "step35" && n_rot % 4 != 0 {
        let found = format!("{n_rot}, of which half is turned");
        return Err(header.found(&key("rope.dimension_count"), "a multiple of 4", found));
    }
    sections(header, &key("rope.dimension_sections"), head, IN_SECTIONS.contains(&architecture.as_str()))
}

/// The parts of a position turn one part of a head each.
fn sections(header: &Header, key: &str, head: i64, are_needed: bool) -> Result<(), Error> {
    let Some(Value::Numbers(sections)) = header.get(key) else { return Ok(()) };
    let sum = sections.iter().fold(0, |sum: i64, n| sum.saturating_add(*n));
    let fits = sections.iter().all(|n| *n >= 0) && sum <= head && (sum > 0 || !are_needed);
    if fits {
        return Ok(());
    }
    let found = format!("{sections:?} of a head of {head}");
    Err(header.found(key, "numbers of 0 or more that are no more than a head together", found))
}
