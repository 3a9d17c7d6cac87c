//! A conversation as running text, for models that know no chat format.
//!
//! An answer follows the user's text directly, as a base model would go on with it; everything else is set apart by an
//! empty line.

use super::piece::{Piece, Pieces};
use super::turns::Turn;
use super::{Conversation, Speaker};

const BETWEEN: &str = "\n\n";

/// The turns as running text; a single user message is exactly its text.
pub(super) fn render(turns: &[Turn], conversation: &Conversation) -> Vec<Piece> {
    let mut pieces = Pieces::default();
    let write = |pieces: &mut Pieces, text: &str| {
        if conversation.parse_special { pieces.raw(text) } else { pieces.content(text) }
    };
    let mut last = None;
    for turn in turns.iter().filter(|turn| turn.speaker != Speaker::System || !turn.text.is_empty()) {
        let answers = (last, turn.speaker) == (Some(Speaker::User), Speaker::Assistant);
        if last.is_some() && !answers {
            write(&mut pieces, BETWEEN);
        }
        match turn.generated {
            Some(generated) => pieces.generated(generated),
            None => write(&mut pieces, &turn.text),
        }
        last = Some(turn.speaker);
    }
    if last == Some(Speaker::System) {
        write(&mut pieces, BETWEEN);
    }
    write(&mut pieces, &conversation.prefix);
    pieces.into_vec()
}
