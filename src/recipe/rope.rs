//! `RoPE` and `YaRN`: how a model's positions are stretched to a longer context than it was trained on, by llama.cpp's names.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parameter::OutOfRange;

/// What is left open is as the model's file says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<RopeScaling>,
    /// How many times longer the context becomes: 1 / `freq_scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freq_base: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freq_scale: Option<f32>,
    /// Tokens that the model was trained on before `YaRN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yarn_orig_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yarn_ext_factor: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yarn_attn_factor: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yarn_beta_slow: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yarn_beta_fast: Option<f32>,
}

/// `--rope-scaling`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeScaling {
    None,
    Linear,
    Yarn,
}

impl FromStr for RopeScaling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "linear" => Ok(Self::Linear),
            "yarn" => Ok(Self::Yarn),
            _ => Err("expected none, linear or yarn".to_owned()),
        }
    }
}

impl Rope {
    /// These values, with those that are left open taken from `other`. The two spellings of one scale are one value.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let has_scale = self.scale.is_some() || self.freq_scale.is_some();
        let (scale, freq_scale) =
            if has_scale { (self.scale, self.freq_scale) } else { (other.scale, other.freq_scale) };
        Self {
            scaling: self.scaling.or(other.scaling),
            scale,
            freq_base: self.freq_base.or(other.freq_base),
            freq_scale,
            yarn_orig_ctx: self.yarn_orig_ctx.or(other.yarn_orig_ctx),
            yarn_ext_factor: self.yarn_ext_factor.or(other.yarn_ext_factor),
            yarn_attn_factor: self.yarn_attn_factor.or(other.yarn_attn_factor),
            yarn_beta_slow: self.yarn_beta_slow.or(other.yarn_beta_slow),
            yarn_beta_fast: self.yarn_beta_fast.or(other.yarn_beta_fast),
        }
    }

    /// llama.cpp's factor on positions, where one was chosen.
    #[must_use]
    pub fn freq_scale(&self) -> Option<f32> {
        self.scale.map(|scale| 1.0 / scale).or(self.freq_scale)
    }

    /// Refuses what llama.cpp computes NaN with, or takes for another value than it is.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        if self.scale.is_some() && self.freq_scale.is_some() {
            let got = "given together with rope-freq-scale";
            return Err(OutOfRange::new("rope-scale", got, "one of the two: one is 1 over the other"));
        }
        let positive = "a positive number";
        let bounded = [
            ("rope-scale", self.scale, 1e-3, 1e6, positive),
            ("rope-freq-base", self.freq_base, f32::MIN_POSITIVE, f32::MAX, positive),
            ("rope-freq-scale", self.freq_scale, 1e-6, 1e3, positive),
            ("yarn-attn-factor", self.yarn_attn_factor, f32::MIN_POSITIVE, 1e3, positive),
            // Below 0 llama.cpp takes the file's.
            ("yarn-ext-factor", self.yarn_ext_factor, 0.0, 1e3, "a number from 0 on"),
            ("yarn-beta-slow", self.yarn_beta_slow, f32::MIN_POSITIVE, 1e6, positive),
            ("yarn-beta-fast", self.yarn_beta_fast, f32::MIN_POSITIVE, 1e6, positive),
        ];
        for (name, value, least, most, expected) in bounded {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(OutOfRange::new(name, value, expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_factors_are_refused() {
        let rope = Rope::default();
        assert_eq!(rope.validate(), Ok(()));
        for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let each = [
                Rope { scale: Some(wrong), ..rope.clone() },
                Rope { freq_base: Some(wrong), ..rope.clone() },
                Rope { freq_scale: Some(wrong), ..rope.clone() },
                Rope { yarn_attn_factor: Some(wrong), ..rope.clone() },
                Rope { yarn_beta_slow: Some(wrong), ..rope.clone() },
                Rope { yarn_beta_fast: Some(wrong), ..rope.clone() },
            ];
            for rope in each {
                assert!(rope.validate().is_err(), "{rope:?}");
            }
        }
        for (ext_factor, is_valid) in [(-1.0, false), (0.0, true), (1.0, true), (f32::NAN, false)] {
            let rope = Rope { yarn_ext_factor: Some(ext_factor), ..rope.clone() };
            assert_eq!(rope.validate().is_ok(), is_valid, "{ext_factor}");
        }
        assert!(Rope { scale: Some(2.0), freq_scale: Some(0.5), ..rope }.validate().is_err());
    }

    #[test]
    fn either_spelling_of_the_scale_replaces_the_other() {
        let of_base = Rope { scale: Some(4.0), freq_base: Some(1e6), ..Rope::default() };
        let own = Rope { freq_scale: Some(0.5), ..Rope::default() };
        let rope = own.or(&of_base);
        assert_eq!((rope.freq_scale(), rope.freq_base), (Some(0.5), Some(1e6)));
        assert_eq!(Rope::default().or(&of_base).freq_scale(), Some(0.25));
    }
}
