//! What a view rendered becomes tokens: names of control tokens count in the template, and are text in what people
//! and models wrote.

use std::ops::Range;

use llama_cpp_sys_2 as sys;

use super::model::Model;
use super::specials::{Found, Special, Specials};
use super::text::Flags;
use super::{Error, Token};
use crate::prompt::Piece;

/// Neighbouring pieces of text, which are tokenised as one.
#[derive(Default)]
struct Stretch {
    text: String,
    /// Where no name is a token.
    content: Vec<Range<usize>>,
}

impl Model {
    /// Tokenises what a view rendered, for continuing it: with the token the model wants in front of a text exactly
    /// once, whether or not the template brings it.
    pub fn tokenize_pieces(&self, pieces: &[Piece]) -> Result<Vec<Token>, Error> {
        let mut tokens = self.tokens_of(pieces)?;
        let is_raw = pieces.iter().any(|piece| matches!(piece, Piece::Raw(_)));
        // A template may write something in front of it. Where it is typed, it may begin a second text behind the first.
        let has_bos = |bos: &Token| if is_raw { tokens.first() == Some(bos) } else { tokens.contains(bos) };
        if let Some(bos) = self.leading_bos().filter(|bos| !has_bos(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// Tokenises a text that is given as it is, for continuing it: where it begins with text, the token that the model wants
    /// in front of one stands there exactly once; where it begins with tokens, they are the beginning.
    pub fn tokenize_raw(&self, pieces: &[Piece]) -> Result<Vec<Token>, Error> {
        let mut tokens = self.tokens_of(pieces)?;
        let begins_with_text = !matches!(pieces.first(), Some(Piece::Tokens(_)));
        if let Some(bos) = self.leading_bos().filter(|bos| begins_with_text && tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// The tokens of pieces, with nothing in front of them.
    fn tokens_of(&self, pieces: &[Piece]) -> Result<Vec<Token>, Error> {
        let mut tokens = Vec::new();
        let mut run = Stretch::default();
        for piece in pieces {
            match piece {
                Piece::Template(text) | Piece::Raw(text) => run.text += text,
                Piece::Content(text) => {
                    let start = run.text.len();
                    run.text += text;
                    run.content.push(start..run.text.len());
                }
                Piece::Tokens(generated) => {
                    self.append_run(std::mem::take(&mut run), &mut tokens)?;
                    tokens.extend_from_slice(generated);
                }
            }
        }
        self.append_run(run, &mut tokens)?;
        Ok(tokens)
    }

    /// All names that llama.cpp looks for in texts.
    pub(super) fn specials(&self) -> &Specials {
        self.specials.get_or_init(|| self.read_specials())
    }

    /// What marks up a conversation: control tokens; and of those that a file has on top of its tokenizer's
    /// (`USER_DEFINED`) the ones that look it. Others are words, such as runs of spaces or HTML.
    fn read_specials(&self) -> Specials {
        let template = self.chat_template().unwrap_or_default();
        let special = |token: Token| {
            // SAFETY: the vocabulary is valid, the id is one of its own.
            let attributes = unsafe { sys::llama_vocab_get_attr(self.vocab(), token) };
            let has = |attribute| attributes & attribute != 0;
            let is_control = has(sys::LLAMA_TOKEN_ATTR_CONTROL | sys::LLAMA_TOKEN_ATTR_UNKNOWN);
            let is_always_read = !is_control && has(sys::LLAMA_TOKEN_ATTR_USER_DEFINED);
            if !is_control && !is_always_read {
                return None;
            }
            let name = std::str::from_utf8(self.raw_text(token)).ok()?;
            let looks_it = name.starts_with("<|") || name.starts_with("<｜") || template.contains(name);
            let special = Special {
                token,
                is_always_read,
                marks_up: is_control || (!name.trim().is_empty() && (looks_it || self.is_eog(token))),
                strips_left: has(sys::LLAMA_TOKEN_ATTR_LSTRIP),
                strips_right: has(sys::LLAMA_TOKEN_ATTR_RSTRIP),
            };
            Some((name.to_owned(), special))
        };
        Specials::new((0..self.n_vocab() as Token).filter_map(special))
    }

    fn append_run(&self, Stretch { text, content }: Stretch, tokens: &mut Vec<Token>) -> Result<(), Error> {
        let specials = self.specials();
        let is_text = |place: &Range<usize>| {
            // The ranges of content are in order: the first that ends behind the place's beginning.
            let n = content.partition_point(|content| content.end <= place.start);
            content.get(n).is_some_and(|content| content.start < place.end)
        };
        let is_typed = |(place, special): &Found| special.marks_up && is_text(place);
        if specials.find(&text, is_typed).is_empty() {
            // Nobody wrote a token's name: llama.cpp finds those of the template by itself.
            return self.append_text(&text, true, tokens);
        }
        // The template's tokens, and cuts through names that llama.cpp would read in what somebody wrote.
        let tokens_at = specials.find(&text, |(place, special)| special.marks_up && !is_text(place)).into_iter();
        let tokens_at = tokens_at.map(|(place, special)| (place, Some(special.token)));
        let cuts = specials.cuts(&text, |found| is_typed(found) && found.1.is_always_read);
        let mut places: Vec<_> = tokens_at.chain(cuts.into_iter().map(|at| (at..at, None))).collect();
        places.sort_by_key(|(place, _)| (place.start, place.end));
        let mut end = 0;
        for (place, token) in places {
            // A cut through a name that reaches into one of the template's.
            if place.start < end {
                continue;
            }
            self.append_text(&text[end..place.start], false, tokens)?;
            tokens.extend(token);
            end = place.end;
        }
        self.append_text(&text[end..], false, tokens)
    }

    /// Appends a text's tokens. SentencePiece puts a space in front of what it takes for the beginning of a text; a
    /// text behind other tokens is not, unless a control token parts them.
    fn append_text(&self, text: &str, parse_special: bool, tokens: &mut Vec<Token>) -> Result<(), Error> {
        /// Texts that may stand in front for a moment, so that the space goes to them.
        const IN_FRONT: [&str; 4] = ["\n", ".", "a", "0"];
        if text.is_empty() {
            return Ok(());
        }
        let flags = Flags { add_special: false, parse_special };
        // SAFETY: the vocabulary is valid.
        let adds_space = unsafe { sys::llama_vocab_type(self.vocab()) } == sys::LLAMA_VOCAB_TYPE_SPM;
        let goes_on = tokens.last().is_some_and(|&last| !self.is_control(last));
        if adds_space && goes_on {
            for front in IN_FRONT {
                let in_front = self.tokenize_as(front, flags)?;
                let both = self.tokenize_as(&format!("{front}{text}"), flags)?;
                if let Some(rest) = both.strip_prefix(in_front.as_slice()) {
                    tokens.extend_from_slice(rest);
                    return Ok(());
                }
            }
        }
        tokens.extend(self.tokenize_as(text, flags)?);
        Ok(())
    }

    /// Whether a token marks up a text rather than being a part of it.
    #[must_use]
    pub fn is_control(&self, token: Token) -> bool {
        // SAFETY: the vocabulary is valid, the id is checked.
        self.has(token) && unsafe { sys::llama_vocab_is_control(self.vocab(), token) }
    }
}
