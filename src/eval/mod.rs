//! Measurements that say whether steering helps, and the weights with which it helps most.
//!
//! In: a steered model and texts. Out: figures with their errors. Nothing here prints.
//!
//! ```text
//! text ─ windows ───┐
//!                   ├─► texts ─ read: many sequences at once ─► every lane's rows ─┬─► figures (perplexity)
//! JSONL ─ documents ┘                                                              └─► kept ─ search, figures (calibrate)
//! ```

pub mod calibrate;
pub mod documents;
pub mod figures;
pub mod fit;
pub mod kept;
pub mod perplexity;
pub mod reading;
pub mod texts;

pub use documents::Document;
pub use texts::Texts;
