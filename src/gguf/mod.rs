//! What a file says of itself before anything loads it.
//!
//! In: a path. Out: its metadata, with strings as the raw bytes they are, and its table of tensors. Everything is bounded by the size of the
//! file before it is read, and nothing here calls llama.cpp, which aborts the process on some damaged files.

pub mod adapter;
pub mod error;
mod foreign;
pub mod header;
mod layers;
mod model;
mod preflight;
mod quantisation;
mod reader;
mod rotation;
pub mod split;
pub mod tensors;
#[cfg(feature = "inspect")]
pub mod typed;
mod value;
mod weights;

pub use error::Error;
pub use header::Header;
pub use value::Value;
