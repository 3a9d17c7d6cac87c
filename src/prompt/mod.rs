//! What each role sees of a conversation.
//!
//! In: a [`Conversation`] as people and model wrote it, and the [`View`] of one role: a chat template or plain text, a
//! system message or prompt of its own. Out: [`Piece`]s in order, in which the words of the template are told from the
//! words of people, and answers that were generated keep their tokens.
//!
//! Nothing is tokenised and no file is opened here. The beginning-of-sequence token is there where the template
//! writes it; adding one to a plain text, and never two, is for the caller.
//!
//! Templates come out of downloaded files and are not trusted: one that loops, grows or nests without end is refused
//! or fails in well under a second (`template/gate.rs` and `template/bounds.rs` say how).

pub mod calls;
pub mod conversation;
pub mod error;
mod marks;
mod piece;
mod plain;
pub mod template;
pub mod tools;
mod turns;
pub mod view;

#[cfg(test)]
mod tests;

pub use calls::CallStyle;
pub use conversation::{Conversation, Generated, Message, Speaker};
pub use error::Error;
pub use piece::Piece;
pub use template::Template;
pub use tools::{Call, Choice, Tool, Toolbox};
pub use view::View;
