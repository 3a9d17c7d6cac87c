//! Text to tokens and back, by a model's own vocabulary.

use std::ffi::{CStr, c_char};

use llama_cpp_sys_2 as sys;

use super::model::Model;
use super::parts::{LIMITS, parts};
use super::specials::Found;
use super::spelling::Spelling;
use super::{Error, Token};
use crate::vocab::Vocabulary;

/// Characters of one part that are spelled byte by byte; only odd vocabularies leave more than one part can hold.
const MAX_SPELLED: usize = 16 << 10;

impl Model {
    /// Size of the vocabulary, padding included: the length of a row of logits.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        // SAFETY: the vocabulary is valid while the model is.
        unsafe { sys::llama_vocab_n_tokens(self.vocab()) }.try_into().unwrap_or(0)
    }

    /// Every token's text and type, as llama.cpp has settled them.
    #[must_use]
    pub fn vocabulary(&self) -> Vocabulary {
        let token = |id: Token| {
            // SAFETY: the vocabulary is valid, the id is one of its own.
            let attr = unsafe { sys::llama_vocab_get_attr(self.vocab(), id) };
            (self.raw_text(id).into(), attr as u32)
        };
        Vocabulary::of_attributes((0..self.n_vocab() as Token).map(token))
    }

    /// Whether a token ends the generation (EOS, EOT and their like).
    #[must_use]
    pub fn is_eog(&self, token: Token) -> bool {
        // SAFETY: the vocabulary is valid, the id is checked.
        self.has(token) && unsafe { sys::llama_vocab_is_eog(self.vocab(), token) }
    }

    /// The control token of a name: one that writes nothing by itself.
    #[must_use]
    pub fn control_token(&self, name: &str) -> Option<Token> {
        self.specials().get(name).filter(|special| !special.is_always_read).map(|special| special.token)
    }

    /// The beginning-of-text token, if tokenised text starts with it.
    #[must_use]
    pub fn leading_bos(&self) -> Option<Token> {
        // SAFETY: the vocabulary is valid.
        let (add, bos) = unsafe { (sys::llama_vocab_get_add_bos(self.vocab()), sys::llama_vocab_bos(self.vocab())) };
        (add && self.has(bos)).then_some(bos)
    }

    /// The beginning-of-text token that its file names, whether or not tokenised text starts with it.
    #[must_use]
    pub fn declared_bos(&self) -> Option<Token> {
        let mut value: [c_char; 16] = [0; 16];
        let key = c"tokenizer.ggml.bos_token_id".as_ptr();
        // SAFETY: model and vocabulary are valid, the key is NUL-terminated, the buffer is valid for its length.
        let (n, bos) = unsafe {
            let n = sys::llama_model_meta_val_str(self.raw().as_ptr(), key, value.as_mut_ptr(), value.len());
            (n, sys::llama_vocab_bos(self.vocab()))
        };
        (n > 0 && self.has(bos)).then_some(bos)
    }

    /// Tokenises `text` for continuing it: with the token the model wants in front of a text, without one behind it.
    /// Names of control tokens in the text are text; [`Self::tokenize_pieces`] knows more of them.
    pub fn tokenize(&self, text: &str) -> Result<Vec<Token>, Error> {
        self.tokenize_as(text, Flags { add_special: true, parse_special: false })
    }

    /// Tokenises `text` as llama.cpp does: `add_special` puts the token in front that the model wants there, `parse_special`
    /// takes names of control tokens for the tokens.
    pub fn tokenize_text(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>, Error> {
        self.tokenize_as(text, Flags { add_special, parse_special })
    }

    pub(super) fn tokenize_as(&self, text: &str, flags: Flags) -> Result<Vec<Token>, Error> {
        self.refuse_missing_specials()?;
        self.refuse_unspellable(text)?;
        let is_read = |(_, special): &Found| special.is_always_read || flags.parse_special;
        let mut tokens = Vec::new();
        let mut flags = flags;
        for part in parts(text, self.specials(), is_read, self.spelling(), LIMITS) {
            self.refuse_byte_by_byte(part.text)?;
            match part.front {
                None => tokens.append(&mut self.tokenize_part(part.text, flags)?),
                Some(front) => {
                    // Nothing merges with it: its tokens stand in front of those of the part.
                    let n = self.tokenize_part(front, flags)?.len();
                    tokens.extend(self.tokenize_part(&format!("{front}{}", part.text), flags)?.drain(n..));
                }
            }
            flags.add_special = false;
        }
        Ok(tokens)
    }

    /// The tokens that the tokenizer makes of a text, if they spell just that.
    pub(super) fn written_as(&self, bytes: &[u8]) -> Option<Vec<Token>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let tokens = self.tokenize_as(text, Flags { add_special: false, parse_special: false }).ok()?;
        let mut spelled = Vec::with_capacity(bytes.len());
        tokens.iter().try_for_each(|&token| self.append_piece(token, &mut spelled)).ok()?;
        (spelled == bytes).then_some(tokens)
    }

    fn tokenize_part(&self, text: &str, flags: Flags) -> Result<Vec<Token>, Error> {
        // llama.cpp splits some vocabularies with a recursive std::regex: about 320 bytes of stack a character of the
        // longest match. Long ones go to a thread whose stack can hold them.
        let stack_bytes = longest_match(text).saturating_mul(512);
        if stack_bytes < 256 << 10 {
            return self.tokenize_here(text, flags);
        }
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(stack_bytes + (1 << 20))
                .spawn_scoped(scope, || self.tokenize_here(text, flags))
                .map_err(|error| Error::Tokenize { reason: format!("no thread for its longest word: {error}") })?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Tokenising with a BOS or EOS that the file asks for and does not have aborts the process.
    fn refuse_missing_specials(&self) -> Result<(), Error> {
        // SAFETY: the vocabulary is valid.
        let wanted = unsafe {
            let vocab = self.vocab();
            [
                ("BOS", sys::llama_vocab_get_add_bos(vocab), sys::llama_vocab_bos(vocab)),
                ("EOS", sys::llama_vocab_get_add_eos(vocab), sys::llama_vocab_eos(vocab)),
            ]
        };
        match wanted.into_iter().find(|&(_, add, id)| add && !self.has(id)) {
            Some((name, ..)) => {
                let path = self.path().display();
                Err(Error::Tokenize { reason: format!("{path} asks for a {name} token and has none") })
            }
            None => Ok(()),
        }
    }

    /// SentencePiece-like tokenizers spell a character that is no token byte by byte; llama.cpp throws through its C
    /// interface where a byte is no token either.
    fn refuse_unspellable(&self, text: &str) -> Result<(), Error> {
        // SAFETY: the vocabulary is valid.
        let kind = unsafe { sys::llama_vocab_type(self.vocab()) };
        if kind != sys::LLAMA_VOCAB_TYPE_SPM && kind != sys::LLAMA_VOCAB_TYPE_PLAMO2 {
            return Ok(());
        }
        let spelling = self.any_spelling();
        // A space is put in front.
        match std::iter::once(' ').chain(text.chars()).find(|&c| !spelling.has(c)) {
            None => Ok(()),
            Some(c) => {
                let path = self.path().display();
                Err(Error::Tokenize { reason: format!("{path} has no token for {c:?}, and none for its bytes") })
            }
        }
    }

    fn any_spelling(&self) -> &Spelling {
        let texts = || (0..self.n_vocab() as Token).map(|token| self.raw_text(token));
        self.spelling.get_or_init(|| Spelling::of(texts()))
    }

    /// What a SentencePiece vocabulary can spell.
    pub(super) fn spelling(&self) -> Option<&Spelling> {
        // SAFETY: the vocabulary is valid.
        let kind = unsafe { sys::llama_vocab_type(self.vocab()) };
        (kind == sys::LLAMA_VOCAB_TYPE_SPM).then(|| self.any_spelling())
    }

    /// For each character that llama.cpp spells byte by byte it copies all tokens of the part.
    fn refuse_byte_by_byte(&self, part: &str) -> Result<(), Error> {
        let n = self.spelling().map_or(0, |spelling| part.chars().filter(|&c| !spelling.has_token(c)).count());
        if n > MAX_SPELLED {
            let path = self.path().display();
            let reason = format!(
                "{n} characters of a stretch that cannot be divided have no token of their own in {path}, expected at most {MAX_SPELLED}"
            );
            return Err(Error::Tokenize { reason });
        }
        Ok(())
    }

    pub(super) fn tokenize_here(&self, text: &str, flags: Flags) -> Result<Vec<Token>, Error> {
        let too_long = || Error::Tokenize { reason: format!("{} bytes are too many at once", text.len()) };
        let n_text = i32::try_from(text.len()).map_err(|_| too_long())?;
        let mut tokens: Vec<Token> = vec![0; text.len() / 3 + 8];
        loop {
            let room = i32::try_from(tokens.len()).map_err(|_| too_long())?;
            // SAFETY: text and tokens are valid for the lengths passed; the text is UTF-8, as llama.cpp demands.
            let n = unsafe {
                sys::llama_tokenize(
                    self.vocab(),
                    text.as_ptr().cast::<c_char>(),
                    n_text,
                    tokens.as_mut_ptr(),
                    room,
                    flags.add_special,
                    flags.parse_special,
                )
            };
            if let Ok(n) = usize::try_from(n) {
                tokens.truncate(n);
                // SAFETY: the vocabulary is valid.
                let (add_eos, eos) =
                    unsafe { (sys::llama_vocab_get_add_eos(self.vocab()), sys::llama_vocab_eos(self.vocab())) };
                if flags.add_special && add_eos && tokens.last() == Some(&eos) {
                    tokens.pop();
                }
                return Ok(tokens);
            }
            if n == i32::MIN {
                return Err(too_long());
            }
            tokens.resize(n.unsigned_abs() as usize, 0);
        }
    }

    /// A token as it stands in the file.
    pub(super) fn raw_text(&self, token: Token) -> &[u8] {
        // SAFETY: the callers pass ids of the vocabulary; the text is NUL-terminated and lives as long as the model.
        unsafe { CStr::from_ptr(sys::llama_vocab_get_text(self.vocab(), token)) }.to_bytes()
    }

    /// Appends the bytes of a token to `text`; a control token has none. Bytes, since a character may take several
    /// tokens.
    pub fn append_piece(&self, token: Token, text: &mut Vec<u8>) -> Result<(), Error> {
        self.append(token, false, text)
    }

    /// The same, with the names of control tokens.
    pub fn append_named(&self, token: Token, text: &mut Vec<u8>) -> Result<(), Error> {
        self.append(token, true, text)
    }

    fn append(&self, token: Token, with_names: bool, text: &mut Vec<u8>) -> Result<(), Error> {
        self.check(token)?;
        let mut piece = vec![0_u8; 64];
        loop {
            let room = i32::try_from(piece.len()).unwrap_or(i32::MAX);
            // SAFETY: the token is in the vocabulary, the buffer is valid for its length.
            let n = unsafe {
                let piece = piece.as_mut_ptr().cast::<c_char>();
                sys::llama_token_to_piece(self.vocab(), token, piece, room, 0, with_names)
            };
            if let Ok(n) = usize::try_from(n) {
                text.extend_from_slice(&piece[..n]);
                return Ok(());
            }
            piece.resize(n.unsigned_abs() as usize, 0);
        }
    }

    /// A token's text for a person to read: lossy, and control tokens by their name.
    #[must_use]
    pub fn piece(&self, token: Token) -> String {
        let mut bytes = Vec::new();
        if self.append_piece(token, &mut bytes).is_err() {
            return String::new();
        }
        if bytes.is_empty() {
            bytes = self.raw_text(token).to_vec();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn has(&self, token: Token) -> bool {
        usize::try_from(token).is_ok_and(|id| id < self.n_vocab())
    }

    /// Refuses a token id that would make llama.cpp read outside its tables.
    pub fn check(&self, token: Token) -> Result<(), Error> {
        if self.has(token) { Ok(()) } else { Err(Error::TokenRange { token, n_vocab: self.n_vocab() }) }
    }
}

/// How llama.cpp reads a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// Put BOS in front where the model wants it.
    pub add_special: bool,
    /// Take the names of control tokens for the tokens.
    pub parse_special: bool,
}

/// The most characters that one match of a tokenizer's pattern can cover: they match a word with the white space
/// before and behind it, or white space with what stands beside it.
fn longest_match(text: &str) -> usize {
    let mut runs = [0_usize; 3];
    let (mut longest, mut last) = (0, None);
    for class in text.chars().map(char::is_whitespace) {
        if last.is_some_and(|last| last != class) {
            runs.rotate_left(1);
            runs[2] = 0;
        }
        last = Some(class);
        runs[2] += 1;
        longest = longest.max(runs.iter().sum());
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::longest_match;

    #[test]
    fn a_match_covers_three_runs() {
        for (text, expected) in [("", 0), ("abc", 3), ("ab 12", 5), ("a  bb  c", 6), ("a\u{301}b!\n\n", 6)] {
            assert_eq!(longest_match(text), expected, "{text:?}");
        }
    }
}
