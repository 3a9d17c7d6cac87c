//! proxytune steers a large GGUF model with two small ones while it decodes, without touching its weights:
//! proxy-tuning (Liu et al. 2024, arXiv 2401.08565) as a stage of llama.cpp's sampler chain.
//!
//! ```text
//! text ─ prompt ─► tokens ─ lane × n ─► logits ─ stage (offset) ─► candidates ─ chain ─► token ─ text ─► reader
//!                    ▲                                                             │
//!                    └──────────────── accepted token goes back to every lane ─────┘
//! ```
//!
//! The modules, each using only those behind it in the list:
//! [`cli`] parses what was typed, resolves it and prints; [`eval`] measures how well, [`mod@bench`] how fast, [`inspect`]
//! looks at files before they are loaded; [`engine`] runs many texts at once; [`generate`] is one text without I/O;
//! [`steer`] decodes sequences on the lanes of base and pairs; [`llama`] is the boundary to llama.cpp and the library's only
//! `unsafe`, [`remote`] a base behind HTTP; [`constraint`] keeps answers to a form; [`prompt`] is what each role sees of a conversation; [`vocab`] compares
//! vocabularies; [`recipe`] holds what is asked for, and [`sampling`] how tokens are chosen; [`hub`] downloads; [`gguf`] reads a file's header; [`parameter`] is
//! the error for a value out of range; [`text_file`] reads what people write, [`mod@plain`] makes words fit for a terminal,
//! `contained` ends the panics of foreign code, and `remembered` tells a file from what it was; [`arithmetic`] is the formula.
//!
//! Where to begin: [`engine::Engine`] and [`generate::Request`]; `examples/steer.rs` is a whole program.

pub mod arithmetic;
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
pub mod constraint;
mod contained;
pub mod engine;
pub mod eval;
pub mod generate;
pub mod gguf;
#[cfg(feature = "hub")]
pub mod hub;
pub mod inspect;
pub mod llama;
pub mod parameter;
pub mod plain;
pub mod prompt;
pub mod recipe;
mod remembered;
pub mod remote;
pub mod sampling;
#[cfg(feature = "server")]
pub mod server;
pub mod steer;
pub mod text_file;
pub mod vocab;
