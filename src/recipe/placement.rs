//! Where a role's model runs and how its cache is kept, by llama.cpp's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a model runs; what is left open is as for the base, or llama.cpp's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    pub gpu_layers: Option<GpuLayers>,
    /// Devices by name; `none` alone for the CPU.
    pub device: Option<Vec<String>>,
    pub cache_type_k: Option<CacheType>,
    pub cache_type_v: Option<CacheType>,
}

impl Placement {
    /// This placement, with what it leaves open taken from `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            gpu_layers: self.gpu_layers.or(other.gpu_layers),
            device: self.device.clone().or_else(|| other.device.clone()),
            cache_type_k: self.cache_type_k.or(other.cache_type_k),
            cache_type_v: self.cache_type_v.or(other.cache_type_v),
        }
    }
}

/// `-ngl`: layers moved to devices; `None` moves as many as fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrWord", into = "NumberOrWord")]
pub struct GpuLayers(pub Option<u32>);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of layers, \"auto\" or \"all\"")]
enum NumberOrWord {
    Number(u32),
    Word(String),
}

impl GpuLayers {
    /// All that there are, whether they fit or not.
    pub const ALL: u32 = u32::MAX;
}

impl FromStr for GpuLayers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" | "-1" => Ok(Self(None)),
            "all" | "-2" => Ok(Self(Some(Self::ALL))),
            n => n.parse().map(|n| Self(Some(n))).map_err(|_| "expected a number, `auto` or `all`".to_owned()),
        }
    }
}

impl TryFrom<NumberOrWord> for GpuLayers {
    type Error = String;

    fn try_from(value: NumberOrWord) -> Result<Self, String> {
        match value {
            NumberOrWord::Number(n) => Ok(Self(Some(n))),
            NumberOrWord::Word(word) => word.parse(),
        }
    }
}

impl From<GpuLayers> for NumberOrWord {
    fn from(layers: GpuLayers) -> Self {
        match layers.0 {
            None | Some(GpuLayers::ALL) => Self::Word(layers.to_string()),
            Some(n) => Self::Number(n),
        }
    }
}

/// As it is typed.
impl fmt::Display for GpuLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("auto"),
            Some(Self::ALL) => f.write_str("all"),
            Some(n) => n.fmt(f),
        }
    }
}

/// `--cache-type-k`, `--cache-type-v`: the types llama.cpp offers for a KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    #[serde(rename = "iq4_nl")]
    Iq4Nl,
    Q5_0,
    Q5_1,
}

impl CacheType {
    pub const ALL: [Self; 9] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4_1, Self::Iq4Nl, Self::Q5_0, Self::Q5_1];

    /// llama.cpp's name, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Iq4Nl => "iq4_nl",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
        }
    }

    #[must_use]
    pub fn is_quantised(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CacheType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("expected one of {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_spelled_alike_in_files_and_flags() {
        for kind in CacheType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).expect("a name"), format!("\"{kind}\""));
        }
    }

    #[test]
    fn layers_are_a_number_or_a_word() {
        let all = Some(GpuLayers::ALL);
        for (text, layers) in [("3", Some(3)), ("\"all\"", all), ("\"auto\"", None), ("\"7\"", Some(7))] {
            let read = serde_json::from_str::<GpuLayers>(text).expect(text);
            assert_eq!(read.0, layers);
            let written = serde_json::to_string(&read).expect("JSON");
            assert_eq!(written, if text == "\"7\"" { "7" } else { text });
        }
        assert!(serde_json::from_str::<GpuLayers>("\"many\"").is_err());
    }
}
