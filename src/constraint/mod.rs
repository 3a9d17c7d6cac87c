//! Answers of a given form: which tokens may come next behind those that were chosen.
//!
//! In: a [`Form`], which is a JSON schema, a regular expression, a grammar, or calls of tools, and the bytes of every token. Out: masks,
//! and the bytes that have to come next. llguidance computes them. What it cannot keep is refused, and so is what it would
//! pass over in silence (`schema` knows what that is): a form that is accepted is kept. Where a schema may be kept loosely,
//! what cannot be kept is left out and named.
//!
//! The feature `constraint` does it; without that every form is refused. Compiling and every step have budgets, no panic leaves
//! this room, and nothing here knows a model.

#[cfg(not(feature = "constraint"))]
mod absent;
#[cfg(feature = "constraint")]
mod calls;
#[cfg(feature = "constraint")]
mod culprit;
#[cfg(feature = "constraint")]
mod follow;
mod form;
#[cfg(feature = "constraint")]
mod gbnf;
#[cfg(feature = "constraint")]
mod narrow;
#[cfg(feature = "constraint")]
mod pattern;
#[cfg(feature = "constraint")]
mod schema;
#[cfg(all(test, feature = "constraint"))]
mod tests;
#[cfg(feature = "constraint")]
mod tokens;
#[cfg(feature = "constraint")]
mod valid;
#[cfg(feature = "constraint")]
mod walk;

#[cfg(not(feature = "constraint"))]
pub use absent::{Constraint, Mask, Tokens, Validator};
#[cfg(feature = "constraint")]
pub use follow::{Constraint, Mask};
pub use form::{Calls, Form, JsonForm, Refused};
#[cfg(feature = "constraint")]
pub use tokens::Tokens;
#[cfg(feature = "constraint")]
pub use valid::Validator;
