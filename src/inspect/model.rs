//! One file of a plan: what it says of itself, and what llama.cpp makes of it.

use std::path::PathBuf;

use super::probe::Probed;
use crate::gguf::tensors::TensorType;
use crate::gguf::typed::Typed;
use crate::gguf::{self, Header};
use crate::llama::context::ContextParams;
use crate::recipe::placement::CacheType;
use crate::steer::{ModelSource, Role};
use crate::vocab::Vocabulary;

/// A role's file.
#[derive(Debug)]
pub struct Model {
    pub role: Role,
    pub path: PathBuf,
    pub file: Result<File, gguf::Error>,
    /// Not asked for where the file is refused.
    pub probed: Option<Result<Probed, String>>,
    /// The same for further roles that have adapters of their own.
    pub with_other_adapters: Vec<(Role, Result<Probed, String>)>,
    /// Sequences that it decodes, and contexts that they live in.
    pub n_lanes: usize,
    pub n_contexts: usize,
}

/// A file that passed the gate.
#[derive(Debug)]
pub struct File {
    pub header: Header,
    pub vocabulary: Vocabulary,
    pub typed: Typed,
}

/// Words in a model's name that tell of tuning for conversations or tasks.
const TUNED: [&str; 7] = ["instruct", "chat", "it", "dpo", "sft", "rlhf", "tulu"];

impl Model {
    pub(super) fn read(role: Role, source: &ModelSource) -> Self {
        let file = Header::read(&source.path).and_then(|header| {
            let vocabulary = Vocabulary::of(&header)?;
            header.n_ctx_train()?;
            let typed = Typed::of(&header);
            Ok(File { header, vocabulary, typed })
        });
        Self {
            role,
            path: source.path.clone(),
            file,
            probed: None,
            with_other_adapters: Vec::new(),
            n_lanes: 1,
            n_contexts: 1,
        }
    }

    /// llama.cpp's answers, where it gave any.
    #[must_use]
    pub fn report(&self) -> Option<&Probed> {
        self.probed.as_ref()?.as_ref().ok()
    }
}

impl File {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.header.architecture())
    }

    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.typed.text("general.name")
    }

    #[must_use]
    pub fn n_params(&self) -> u64 {
        let sizes = self.header.tensors().iter().map(|tensor| tensor.shape.iter().product::<u64>());
        sizes.fold(0, u64::saturating_add)
    }

    #[must_use]
    pub fn n_ctx_train(&self) -> usize {
        self.header.n_ctx_train().unwrap_or(0)
    }

    #[must_use]
    pub fn n_layer(&self) -> usize {
        self.typed.number(&self.key("block_count")).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    #[must_use]
    pub fn template(&self) -> Option<&str> {
        self.typed.text("tokenizer.chat_template")
    }

    /// Where logits end: Gemma 2 squeezes them into ±30.
    #[must_use]
    pub fn softcap(&self) -> Option<f64> {
        self.typed.float(&self.key("final_logit_softcapping")).filter(|cap| *cap != 0.0)
    }

    /// What tells that the model was tuned, in words.
    #[must_use]
    pub fn looks_tuned(&self) -> Option<String> {
        let finetune = self.typed.text("general.finetune");
        for (key, value) in [("name", self.name()), ("finetune", finetune)] {
            let is_word = |word: &str| TUNED.contains(&word.to_lowercase().as_str());
            if let Some(value) = value.filter(|value| value.split(|c: char| !c.is_alphanumeric()).any(is_word)) {
                return Some(format!("its {key} is {value:?}"));
            }
        }
        self.template().map(|_| "it brings a chat template".to_owned())
    }

    /// Bytes of one sequence's KV cache, by the header alone. `None` for models that keep something else or less: recurrent
    /// states, compressed keys, layers that share.
    #[must_use]
    pub fn kv_bytes(&self, context: &ContextParams) -> Option<u64> {
        /// llama.cpp rounds a context up to this.
        const CELLS: u64 = 256;
        let number = |name| self.typed.number(&self.key(name));
        let unlike = ["attention.kv_lora_rank", "attention.shared_kv_layers", "attention.key_length_swa"];
        if unlike.into_iter().any(|name| number(name).is_some())
            || self.header.entries().any(|(key, _)| key.contains(".ssm.") || key.contains(".wkv."))
        {
            return None;
        }
        let n_layer = self.n_layer();
        let heads = self.typed.per_layer(&self.key("attention.head_count"), n_layer)?;
        let heads_kv = self.typed.per_layer(&self.key("attention.head_count_kv"), n_layer);
        let width = number("embedding_length")?.checked_div(heads.first().copied()?)?;
        let (key, value) = ("attention.key_length", "attention.value_length");
        let (key, value) = (number(key).unwrap_or(width), number(value).unwrap_or(width));
        let n_cells = (context.n_ctx as u64).next_multiple_of(CELLS);
        let per_layer = |n_heads: &u64| {
            let row =
                |kind: CacheType, width: u64| TensorType::named(kind.name())?.row_bytes(n_heads.checked_mul(width)?);
            row(context.cache_type_k, key)?.checked_add(row(context.cache_type_v, value)?)
        };
        let rows = heads_kv.as_ref().unwrap_or(&heads).iter().map(per_layer);
        rows.sum::<Option<u64>>()?.checked_mul(n_cells)
    }
}
