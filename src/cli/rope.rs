//! llama.cpp's options of RoPE and YaRN, as they are typed.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use clap::Args as ClapArgs;

use crate::recipe::rope::{Rope, RopeScaling};

/// How positions are stretched; what is not given is as the model's file says.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Longer contexts")]
pub struct RopeArgs {
    /// How RoPE's frequencies are scaled, for every model
    #[arg(long, value_name = "none|linear|yarn")]
    pub rope_scaling: Option<RopeScaling>,
    /// How many times longer the context becomes
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rope_scale: Option<f32>,
    /// RoPE's base frequency
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rope_freq_base: Option<f32>,
    /// RoPE's frequency factor: 1 over --rope-scale
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rope_freq_scale: Option<f32>,
    /// YaRN: tokens that the model was trained on
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(i32::MAX)))]
    pub yarn_orig_ctx: Option<u32>,
    /// YaRN: share of extrapolation; 0 interpolates everywhere
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub yarn_ext_factor: Option<f32>,
    /// YaRN: factor on the magnitude of attention
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub yarn_attn_factor: Option<f32>,
    /// YaRN: high correction dim, or alpha
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub yarn_beta_slow: Option<f32>,
    /// YaRN: low correction dim, or beta
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub yarn_beta_fast: Option<f32>,
}

impl RopeArgs {
    pub fn get(&self) -> Rope {
        // llama.cpp's own defaults, which are the file's values.
        let unless = |default: f32, value: Option<f32>| value.filter(|value| *value != default);
        Rope {
            scaling: self.rope_scaling,
            scale: self.rope_scale,
            freq_base: unless(0.0, self.rope_freq_base),
            freq_scale: unless(0.0, self.rope_freq_scale),
            yarn_orig_ctx: self.yarn_orig_ctx,
            yarn_ext_factor: unless(-1.0, self.yarn_ext_factor),
            yarn_attn_factor: unless(-1.0, self.yarn_attn_factor),
            yarn_beta_slow: unless(-1.0, self.yarn_beta_slow),
            yarn_beta_fast: unless(-1.0, self.yarn_beta_fast),
        }
    }
}
