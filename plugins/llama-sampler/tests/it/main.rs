//! The plugin as a host sees it: a shared library, its header and its symbols.

#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

#[allow(dead_code, reason = "the library's tests write more kinds of files")]
#[path = "../../../../tests/support/gguf.rs"]
mod gguf;

mod header;
