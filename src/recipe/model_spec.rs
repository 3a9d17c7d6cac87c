//! A model for a role: its file, what is added to it, what it sees and where it runs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::placement::{CacheType, GpuLayers, Placement};
use super::rope::Rope;
use super::{Remote, View};
use crate::parameter::OutOfRange;

/// Beyond this an adapter drowns the model that it was trained for.
const MAX_SCALE: f32 = 10.0;

/// In a recipe: a file's name, the word `base`, or a table of these fields.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    pub model: ModelName,
    /// Of the file, of the first one where it is split: 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    pub lora: Vec<Lora>,
    pub view: View,
    pub placement: Placement,
    pub rope: Rope,
}

/// Where a model is.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelName {
    /// The base, its weights loaded once.
    Base,
    File(PathBuf),
    /// A file of a Hugging Face repository: `user/repo[:quant]`, and its name there where that is not enough.
    Hub {
        repo: String,
        file: Option<String>,
    },
    /// A server has it, and shows log-probabilities: the base alone.
    Remote(Box<Remote>),
}

/// A LoRA adapter in a GGUF file, and how much of it is added.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    pub path: PathBuf,
    pub scale: f32,
}

impl ModelSpec {
    /// The base itself, as the base sees the text.
    #[must_use]
    pub fn base() -> Self {
        ModelName::Base.into()
    }

    /// A file, with all else as it is by default.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        ModelName::File(path.into()).into()
    }

    /// Names a model in place of this one. What is known of another file does not go with it.
    pub fn rename(&mut self, model: ModelName) {
        if self.model != model {
            (self.model, self.sha256) = (model, None);
        }
    }

    pub(super) fn validate(&self) -> Result<(), OutOfRange> {
        self.rope.validate()?;
        if let ModelName::Remote(remote) = &self.model {
            remote.validate()?;
            if self.sha256.is_some() || !self.lora.is_empty() {
                return Err(OutOfRange::new("the base", "on a server", "neither a hash nor an adapter with it"));
            }
        }
        if let Some(sha256) = &self.sha256 {
            let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_hash {
                return Err(OutOfRange::new("a model's sha256", format!("{sha256:?}"), "64 hexadecimal digits"));
            }
            if self.model == ModelName::Base {
                return Err(OutOfRange::new("a model's sha256", "that of \"base\"", "it beside the base's own file"));
            }
        }
        let is_sensible = |scale: f32| scale.abs() <= MAX_SCALE;
        let wrong = self.lora.iter().find(|lora| !is_sensible(lora.scale));
        let twice = self.lora.iter().enumerate().find(|(i, lora)| self.lora[..*i].iter().any(|l| l.path == lora.path));
        if let Some((_, lora)) = twice {
            let got = format!("{} twice", lora.path.display());
            return Err(OutOfRange::new("a LoRA adapter", got, "each once, with its scale"));
        }
        wrong.map_or(Ok(()), |lora| {
            let expected = format!("a number from -{MAX_SCALE} to {MAX_SCALE}");
            Err(OutOfRange::new("the scale of a LoRA adapter", lora.scale, expected))
        })
    }

    /// The files that it names: model, adapters, template.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let model = match &mut self.model {
            ModelName::File(path) => [Some(path), None],
            ModelName::Remote(remote) => [remote.tokenizer.as_mut(), remote.api_key_file.as_mut()],
            ModelName::Base | ModelName::Hub { .. } => [None, None],
        };
        model.into_iter().flatten().chain(self.lora.iter_mut().map(|lora| &mut lora.path)).chain(self.view.file_mut())
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let model = match &self.model {
            ModelName::File(path) => [Some(path.as_path()), None],
            ModelName::Remote(remote) => [remote.tokenizer.as_deref(), remote.api_key_file.as_deref()],
            ModelName::Base | ModelName::Hub { .. } => [None, None],
        };
        model.into_iter().flatten().chain(self.lora.iter().map(|lora| lora.path.as_path())).chain(self.view.file())
    }
}

impl From<ModelName> for ModelSpec {
    fn from(model: ModelName) -> Self {
        let (view, placement, rope) = (View::default(), Placement::default(), Rope::default());
        Self { model, sha256: None, lora: Vec::new(), view, placement, rope }
    }
}

impl From<PathBuf> for ModelName {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "base" { Self::Base } else { Self::File(path) }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Hub { repo, file: None } => f.write_str(repo),
            Self::Hub { repo, file: Some(file) } => write!(f, "{repo} {file}"),
            Self::Remote(remote) => f.write_str(&remote.url),
        }
    }
}

/// The table's keys.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hf_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Box<Remote>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lora: Vec<Lora>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu_layers: Option<GpuLayers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_type_k: Option<CacheType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_type_v: Option<CacheType>,
    #[serde(skip_serializing_if = "is_default")]
    rope: Rope,
}

fn is_default(rope: &Rope) -> bool {
    *rope == Rope::default()
}

impl TryFrom<Fields> for ModelSpec {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, &'static str> {
        let model = match (fields.model, fields.hf, fields.remote) {
            (Some(path), None, None) if fields.hf_file.is_none() => path.into(),
            (None, Some(repo), None) => ModelName::Hub { repo, file: fields.hf_file },
            (None, None, Some(remote)) if fields.hf_file.is_none() => ModelName::Remote(remote),
            (None, None, None) => {
                return Err("a model is named by `model`, `hf` or `remote`, and here is none of them");
            }
            _ => {
                return Err("a model is named by `model`, by `hf` and `hf_file`, or by `remote`, and here are several");
            }
        };
        let template = fields.template.map(|name| name.as_str().into());
        let view = View { template, system: fields.system, prefix: fields.prefix, prompt: fields.prompt };
        let placement = Placement {
            gpu_layers: fields.gpu_layers,
            device: fields.device,
            cache_type_k: fields.cache_type_k,
            cache_type_v: fields.cache_type_v,
        };
        let sha256 = fields.sha256.map(|digits| digits.to_ascii_lowercase());
        Ok(Self { model, sha256, lora: fields.lora, view, placement, rope: fields.rope })
    }
}

impl From<ModelSpec> for Fields {
    fn from(ModelSpec { model, sha256, lora, view, placement, rope }: ModelSpec) -> Self {
        let (model, hf, hf_file, remote) = match model {
            ModelName::Base => (Some("base".into()), None, None, None),
            ModelName::File(path) => (Some(path), None, None, None),
            ModelName::Hub { repo, file } => (None, Some(repo), file, None),
            ModelName::Remote(remote) => (None, None, None, Some(remote)),
        };
        Self {
            model,
            hf,
            hf_file,
            remote,
            sha256,
            lora,
            template: view.template.map(|template| template.to_string()),
            system: view.system,
            prefix: view.prefix,
            prompt: view.prompt,
            gpu_layers: placement.gpu_layers,
            device: placement.device,
            cache_type_k: placement.cache_type_k,
            cache_type_v: placement.cache_type_v,
            rope,
        }
    }
}

impl Serialize for ModelSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.model {
            // What a bare name says in full.
            ModelName::Base | ModelName::File(_) if *self == self.model.clone().into() => {
                serializer.collect_str(&self.model)
            }
            _ => Fields::from(self.clone()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ModelSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = ModelSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file's name, \"base\", or a table with `model`, `hf` or `remote`")
            }
            fn visit_str<E>(self, name: &str) -> Result<ModelSpec, E> {
                Ok(ModelName::from(PathBuf::from(name)).into())
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ModelSpec, A::Error> {
                let fields = Fields::deserialize(MapAccessDeserializer::new(table))?;
                fields.try_into().map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoraFields {
    path: PathBuf,
    #[serde(default = "whole")]
    scale: f32,
}

fn whole() -> f32 {
    1.0
}

impl Serialize for Lora {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LoraFields { path: self.path.clone(), scale: self.scale }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lora {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Lora;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an adapter's file name, or a table with `path` and `scale`")
            }
            fn visit_str<E>(self, name: &str) -> Result<Lora, E> {
                Ok(Lora { path: name.into(), scale: whole() })
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Lora, A::Error> {
                let LoraFields { path, scale } = LoraFields::deserialize(MapAccessDeserializer::new(table))?;
                Ok(Lora { path, scale })
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}
