//! The plugin as a host sees it: a shared library, its header, its symbols, its samplers. What is linked into this
//! binary beside it is a host's llama.cpp.

#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_precision_loss)]
#![allow(clippy::cast_sign_loss, clippy::undocumented_unsafe_blocks)]

#[allow(dead_code, reason = "the library's tests write more kinds of files")]
#[path = "../../../../tests/support/gguf.rs"]
mod gguf;
#[allow(dead_code, reason = "the library's tests try more kinds of files")]
#[path = "../../../../tests/support/hostile/mod.rs"]
mod strangers;

mod arguments;
mod c_host;
mod contract;
mod cycles;
mod header;
mod host;
mod hostile;
mod plugin;
mod sequences;
mod symbols;
mod with_llama_cpp;
