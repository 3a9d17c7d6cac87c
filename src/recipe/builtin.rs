//! Chat templates by the names that llama.cpp has for them, as Jinja.
//!
//! llama.cpp's own are code, so each is written down here, and a test compares it with what llama.cpp writes. Those that
//! are not here are in the files of their families.

use serde::{Deserialize, Serialize};

/// A template by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuiltIn {
    Chatml,
    Gemma,
    Llama3,
    Phi3,
    Zephyr,
}

impl BuiltIn {
    pub const ALL: [Self; 5] = [Self::Chatml, Self::Gemma, Self::Llama3, Self::Phi3, Self::Zephyr];

    /// llama.cpp's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chatml => "chatml",
            Self::Gemma => "gemma",
            Self::Llama3 => "llama3",
            Self::Phi3 => "phi3",
            Self::Zephyr => "zephyr",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::Chatml => {
                "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}\
                 {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
            }
            // A system prompt stands in front of the first message.
            Self::Gemma => {
                "{% set ns = namespace(system='') %}{% for message in messages %}\
                 {% if message.role == 'system' %}{% set ns.system = message.content | trim %}\
                 {% else %}<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n\
                 {% if ns.system and message.role != 'assistant' %}{{ ns.system }}\n\n{% set ns.system = '' %}{% endif %}\
                 {{ message.content | trim }}<end_of_turn>\n{% endif %}{% endfor %}\
                 {% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
            }
            Self::Llama3 => {
                "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n\
                 {{ message.content | trim }}<|eot_id|>{% endfor %}\
                 {% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
            }
            Self::Phi3 => {
                "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}\
                 {% if add_generation_prompt %}<|assistant|>\n{% endif %}"
            }
            Self::Zephyr => {
                "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|endoftext|>\n{% endfor %}\
                 {% if add_generation_prompt %}<|assistant|>\n{% endif %}"
            }
        }
    }
}
