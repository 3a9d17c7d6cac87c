//! What a request comes to with the defaults: llama-server's `generation_settings`.

use serde_json::{Value, json};

use crate::generate::Request;
use crate::sampling::Sampling;
use crate::steer::Sampled;

/// llama-server's words for a seed that is drawn anew, and for no limit.
const RANDOM_SEED: u32 = u32::MAX;
const NO_LIMIT: i64 = -1;

/// The settings of a request. Of logit biases, grammars and the like there is no word in `/props` and `/slots`, which
/// anybody may read.
pub fn settings(request: &Request) -> Value {
    let mut settings = sampling(&request.sampling, request.n_predict);
    let Sampling { grammar, dry_sequence_breakers, logit_bias, .. } = &request.sampling;
    // JSON has no infinity: a token that is forbidden has the bias `false`.
    let bias = |bias: f32| if bias.is_finite() { json!(bias) } else { json!(false) };
    let biases: Vec<_> = logit_bias.iter().map(|(id, value)| json!({"token": id, "bias": bias(*value)})).collect();
    settings["stop"] = json!(request.stop);
    settings["dry_sequence_breakers"] = json!(dry_sequence_breakers);
    settings["logit_bias"] = json!(biases);
    settings["grammar"] = json!(grammar.as_deref().unwrap_or_default());
    settings["n_probs"] = json!(request.n_probs.unwrap_or(0));
    settings["proxy"] = json!({
        "off": request.sampled != Sampled::Steered, "alpha": request.weights.alpha,
        "pairs": request.weights.pairs, "plausibility": request.sampling.plausibility,
    });
    settings
}

/// Sampling parameters under llama-server's names.
pub fn sampling(s: &Sampling, n_predict: Option<usize>) -> Value {
    let n_predict = n_predict.and_then(|n| i64::try_from(n).ok()).unwrap_or(NO_LIMIT);
    let samplers: Vec<_> = s.samplers.order().iter().map(|sampler| sampler.name()).collect();
    json!({
        "seed": s.seed.unwrap_or(RANDOM_SEED), "temperature": s.temp, "dynatemp_range": s.dynatemp_range,
        "dynatemp_exponent": s.dynatemp_exponent, "top_k": s.top_k, "top_p": s.top_p, "min_p": s.min_p,
        "top_n_sigma": s.top_n_sigma, "xtc_probability": s.xtc_probability, "xtc_threshold": s.xtc_threshold,
        "typical_p": s.typical_p, "repeat_last_n": s.repeat_last_n, "repeat_penalty": s.repeat_penalty,
        "presence_penalty": s.presence_penalty, "frequency_penalty": s.frequency_penalty,
        "dry_multiplier": s.dry_multiplier, "dry_base": s.dry_base, "dry_allowed_length": s.dry_allowed_length,
        "dry_penalty_last_n": s.dry_penalty_last_n, "mirostat": s.mirostat, "mirostat_tau": s.mirostat_tau,
        "mirostat_eta": s.mirostat_eta, "adaptive_target": s.adaptive_target, "adaptive_decay": s.adaptive_decay,
        "max_tokens": n_predict, "n_predict": n_predict, "n_keep": 0, "n_discard": 0, "ignore_eos": s.ignore_eos,
        "n_probs": 0, "min_keep": s.min_keep, "samplers": samplers, "timings_per_token": false,
        "post_sampling_probs": false, "backend_sampling": false, "lora": [],
    })
}
