//! Files as a stranger might make them: well-formed models of every architecture that continues text, whose tensors
//! match their numbers and whose numbers need not match one another; headers of whole models with changes; adapters.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]

pub mod adapters;
pub mod child;
pub mod headers;
pub mod models;
pub mod numbers;
pub mod oracle;
pub mod random;
