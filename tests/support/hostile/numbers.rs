//! The numbers of a tiny model of each architecture.
//!
//! One table serves all of them, because an architecture does not look at keys that it does not know; what some need
//! beside it or in place of it stands in [`special`].

use std::collections::BTreeMap;

use crate::gguf::{Spec, Value, byte_tokens};

/// Tokens of the smallest vocabulary: the bytes, and two special ones.
const N_TOKENS: usize = 260;

/// A model's metadata, its architecture's keys without the architecture in front.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    pub architecture: &'static str,
    pub values: BTreeMap<String, Value>,
    pub n_tokens: usize,
}

/// Architectures that continue text and that llama.cpp can make from the numbers below.
#[rustfmt::skip]
pub const ARCHITECTURES: [&str; 129] = [
    "llama", "llama4", "deci", "falcon", "grok", "gpt2", "gptneox", "mpt", "baichuan", "starcoder", "refact", "bloom",
    "stablelm", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe",
    "qwen35", "qwen35moe", "phi2", "phi3", "phimoe", "plamo", "plamo2", "plamo3", "codeshell", "orion", "internlm2",
    "minicpm", "minicpm3", "gemma", "gemma2", "gemma3", "gemma3n", "gemma4", "starcoder2", "mamba", "mamba2", "maple",
    "jamba", "falcon-h1", "xverse", "command-r", "cohere2", "cohere2moe", "dbrx", "olmo", "olmo2", "olmoe",
    "muse-glimmer", "openelm", "arctic", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32", "deepseek4", "chatglm",
    "glm4", "glm4moe", "glm-dsa", "bitnet", "jais", "jais2", "nemotron", "nemotron_h", "nemotron_h_moe", "exaone",
    "exaone4", "exaone-moe", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "granite", "granitemoe", "granitehybrid",
    "granite_swa", "chameleon", "plm", "bailingmoe", "bailingmoe2", "dots1", "arcee", "afmoe", "laguna", "ernie4_5",
    "ernie4_5-moe", "hunyuan-moe", "hunyuan-dense", "hunyuan_vl", "smollm3", "gpt-oss", "lfm2", "lfm2moe",
    "smallthinker", "seed_oss", "grovemoe", "apertus", "minimax-01", "hrm_text", "minimax-m2", "minimax-m3", "cogvlm",
    "pangu-embedded", "mistral3", "mistral4", "paddleocr", "mimo2", "step35", "maincoder", "kimi-linear", "mellum",
    "hy_v3", "hy_v4", "bailingmoe3", "dots3note", "kimi-k3", "glm5-next", "qwen4exp", "spark2_5", "talkie", "nanbeige",
    "graniteswitch",
];

/// Heads are 16 wide, and two of them share their keys.
const COMMON: [(&str, u32); 48] = [
    ("context_length", 256),
    ("embedding_length", 64),
    ("features_length", 64),
    ("block_count", 2),
    ("leading_dense_block_count", 1),
    ("feed_forward_length", 96),
    ("time_mix_extra_dim", 16),
    ("time_decay_extra_dim", 16),
    ("full_attention_interval", 2),
    ("attention.head_count", 4),
    ("attention.head_count_kv", 2),
    ("attention.group_norm_groups", 4),
    ("attention.q_lora_rank", 24),
    ("attention.kv_lora_rank", 32),
    ("attention.decay_lora_rank", 16),
    ("attention.iclr_lora_rank", 16),
    ("attention.value_residual_mix_lora_rank", 16),
    ("attention.gate_lora_rank", 16),
    ("attention.relative_buckets_count", 8),
    ("attention.sliding_window", 32),
    ("attention.sliding_window_pattern", 2),
    ("attention.indexer.head_count", 1),
    ("attention.indexer.key_length", 32),
    ("attention.indexer.top_k", 8),
    ("attention.indexer.block_size", 8),
    ("attention.indexer.local_blocks", 1),
    ("attention.output_group_count", 2),
    ("attention.output_lora_rank", 16),
    ("attention.shared_kv_layers", 0),
    ("expert_gating_func", 2),
    ("token_shift_count", 2),
    ("rescale_every_n_layers", 0),
    ("ssm.inner_size", 128),
    ("ssm.conv_kernel", 4),
    ("ssm.state_size", 16),
    ("ssm.time_step_rank", 4),
    ("ssm.group_count", 2),
    ("kda.head_dim", 16),
    ("wkv.head_size", 16),
    ("shortconv.l_cache", 3),
    ("hyper_connection.count", 4),
    ("hyper_connection.sinkhorn_iterations", 2),
    ("hyper_connection.low_rank", 8),
    ("hash_layer_count", 0),
    ("attn_res.block_size", 2),
    ("hrm.layers_per_stack", 1),
    ("hrm.h_cycles", 1),
    ("hrm.l_cycles", 1),
];

const COMMON_FLOATS: [(&str, f32); 16] = [
    ("attention.layer_norm_epsilon", 1e-5),
    ("attention.layer_norm_rms_epsilon", 1e-5),
    ("attention.group_norm_epsilon", 1e-5),
    ("attention.max_alibi_bias", 8.0),
    ("attention.clamp_kqv", 1.0),
    ("attention.compress_rope_freq_base", 10_000.0),
    ("rope.freq_base_swa", 10_000.0),
    ("logit_scale", 1.0),
    ("residual_scale", 1.0),
    ("expert_group_scale", 1.0),
    ("expert_weights_scale", 1.0),
    ("hyper_connection.epsilon", 1e-6),
    ("hyper_connection.magnitude", 1.0),
    ("kda.gate_lower_bound", -5.0),
    ("activation.situ_beta", 1.0),
    ("activation.situ_linear_beta", 1.0),
];

/// What a model of experts has beside it.
const EXPERTS: [(&str, u32); 8] = [
    ("expert_count", 4),
    ("expert_used_count", 2),
    ("expert_shared_count", 1),
    ("expert_feed_forward_length", 32),
    ("expert_shared_feed_forward_length", 32),
    ("expert_chunk_feed_forward_length", 32),
    ("interleave_moe_layer_step", 2),
    ("experts_per_group", 1),
];

/// Compressed keys and values: 16 numbers of a head without a position and 8 with one.
const COMPRESSED: [(&str, u32); 6] = [
    ("attention.head_count_kv", 1),
    ("attention.key_length", 40),
    ("attention.value_length", 32),
    ("attention.key_length_mla", 24),
    ("attention.value_length_mla", 16),
    ("rope.dimension_count", 8),
];

/// What an architecture needs in place of the common numbers.
fn special(architecture: &str) -> Vec<(&'static str, Value)> {
    let numbers = |list: &[(&'static str, u32)]| list.iter().map(|&(key, n)| (key, Value::U32(n))).collect::<Vec<_>>();
    let each = |key, list: &[i32]| vec![(key, Value::I32s(list.to_vec()))];
    let recurrent_first = || each("attention.head_count_kv", &[0, 2]);
    match architecture {
        "llama4" => numbers(&[("block_count", 4)]),
        "gemma3n" => numbers(&[("block_count", 22)]),
        "gemma4" => [
            numbers(&[
                ("block_count", 5),
                ("embedding_length_per_layer_input", 32),
                ("attention.key_length_swa", 16),
                ("attention.value_length_swa", 16),
            ]),
            each("attention.sliding_window_pattern", &[1, 1, 1, 1, 0]),
        ]
        .concat(),
        "qwen2vl" | "qwen3vl" | "qwen3vlmoe" | "paddleocr" | "hunyuan_vl" => {
            each("rope.dimension_sections", &[2, 3, 3, 0])
        }
        "qwen3next" => numbers(&[("ssm.inner_size", 64)]),
        "qwen35" | "qwen35moe" => {
            [numbers(&[("ssm.inner_size", 64)]), each("rope.dimension_sections", &[2, 3, 3, 0])].concat()
        }
        "deepseek2" | "mistral4" | "hy_v4" => numbers(&COMPRESSED),
        "deepseek32" | "glm-dsa" => [numbers(&COMPRESSED), numbers(&[("attention.indexer.key_length", 64)])].concat(),
        "minicpm3" | "plm" => numbers(&[
            ("attention.head_count_kv", 4),
            ("attention.key_length", 24),
            ("attention.value_length", 16),
            ("rope.dimension_count", 8),
        ]),
        "olmoe" | "dots1" | "deepseek2-ocr" | "rwkv6" => numbers(&[("attention.head_count_kv", 4)]),
        "rwkv6qwen2" | "arwkv7" => numbers(&[("token_shift_count", 1)]),
        "minimax-m3" => numbers(&[("attention.indexer.head_count", 2)]),
        "jamba" | "granitehybrid" | "lfm2" | "lfm2moe" => recurrent_first(),
        "plamo2" => [numbers(&[("ssm.group_count", 0)]), recurrent_first()].concat(),
        "nemotron_h" | "nemotron_h_moe" => [
            numbers(&[("block_count", 3)]),
            each("attention.head_count_kv", &[0, 2, 0]),
            each("feed_forward_length", &[0, 0, 96]),
        ]
        .concat(),
        "cohere2moe" | "mimo2" | "step35" | "laguna" | "exaone-moe" | "maple" | "granite_swa" => {
            each("attention.sliding_window_pattern", &[0, 1])
        }
        "deepseek4" => [
            numbers(&[
                ("expert_gating_func", 4),
                ("attention.head_count_kv", 1),
                ("attention.key_length", 32),
                ("attention.value_length", 32),
                ("rope.dimension_count", 8),
            ]),
            each("attention.compress_ratios", &[0, 4]),
        ]
        .concat(),
        "bailingmoe3" | "kimi-k3" | "kimi-linear" => {
            [numbers(&COMPRESSED), each("attention.head_count_kv", &[0, 1])].concat()
        }
        "glm5-next" => [
            numbers(&COMPRESSED),
            numbers(&[
                ("attention.indexer.kpool", 2),
                ("rope.dimension_count", 0),
                ("attention.indexer.key_length", 64),
            ]),
            each("attention.head_count_kv", &[0, 1]),
        ]
        .concat(),
        "dots3note" => [
            numbers(&COMPRESSED),
            numbers(&[
                ("attention.kv_lora_rank_swa", 32),
                ("attention.indexer.key_length", 64),
                ("attention.key_length_mla_swa", 24),
                ("attention.value_length_mla_swa", 16),
            ]),
            each("attention.sliding_window_pattern", &[0, 1]),
            each("attention.indexer.types", &[1, 0]),
        ]
        .concat(),
        "qwen4exp" => [numbers(&[("ssm.inner_size", 64)]), each("rope.dimension_sections", &[2, 3, 3, 0])].concat(),
        "graniteswitch" => [
            numbers(&[("adapters.count", 1), ("adapters.lora_rank", 4)]),
            each("adapters.token_ids_activate", &[5]),
            each("adapters.token_ids_substitute", &[6]),
        ]
        .concat(),
        _ => Vec::new(),
    }
}

impl Numbers {
    /// The tiny model of an architecture, with experts or without.
    pub fn of(architecture: &'static str, has_experts: bool) -> Self {
        let experts = if has_experts { &EXPERTS[..] } else { &[] };
        let integers = COMMON.iter().chain(experts).map(|&(key, n)| (key, Value::U32(n)));
        let floats = COMMON_FLOATS.iter().map(|&(key, x)| (key, Value::F32(x)));
        let all = integers.chain(floats).chain(special(architecture));
        let mut values: BTreeMap<String, Value> = all.map(|(key, value)| (key.to_owned(), value)).collect();
        for key in ["use_parallel_residual", "expert_weights_norm"] {
            values.insert(key.to_owned(), Value::Bool(true));
        }
        let Value::U32(n_layer) = values["block_count"] else { unreachable!("a number") };
        for key in ["swiglu_clamp_exp", "swiglu_clamp_shexp"] {
            values.insert(key.to_owned(), Value::F32s(vec![7.0; n_layer as usize]));
        }
        Self { architecture, values, n_tokens: N_TOKENS }
    }

    /// The metadata of a file: the numbers, and a vocabulary of bytes.
    pub fn metadata(&self) -> Vec<(String, Value)> {
        let tokens = byte_tokens(self.n_tokens);
        let spec = Spec { architecture: self.architecture.to_owned(), tokens, ..Spec::tiny() };
        let own = format!("{}.", self.architecture);
        let mut entries = spec.metadata();
        entries.retain(|(key, _)| !key.starts_with(&own));
        entries.extend(["alpha_n", "alpha_p", "beta", "eps"].map(|key| (format!("xielu.{key}"), Value::F32(1.0))));
        entries.extend(self.values.iter().map(|(key, value)| (format!("{own}{key}"), value.clone())));
        entries
    }
}
