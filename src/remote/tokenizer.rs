//! A `tokenizer.json`: what a server's ids stand for, where they are not the small models'.

use std::path::Path;

use super::Error;
use super::ids::Ids;
use crate::vocab::Vocabulary;

/// The ids of a server whose tokenizer this file has, in terms of the small models'. Refused unless each of its ordinary
/// tokens is theirs.
#[cfg(not(feature = "remote"))]
pub(super) fn ids(_path: &Path, _small: &Vocabulary) -> Result<Ids, Error> {
    Err(Error::NotBuilt)
}

/// The ids of a server whose tokenizer this file has, in terms of the small models'. Refused unless each of its ordinary
/// tokens is theirs.
#[cfg(feature = "remote")]
pub(super) fn ids(path: &Path, small: &Vocabulary) -> Result<Ids, Error> {
    use crate::vocab::{self, Verdict};

    let server = read(path)?;
    let shown = path.display().to_string();
    match vocab::compare(&server, small) {
        Verdict::Different(differences) => Err(Error::OtherFile { path: shown, what: differences.to_string() }),
        // Special tokens that are named otherwise here and there are none of the text's: those of one side are not used.
        verdict => Ok(verdict.ids().cloned().map(Ids::mapped).unwrap_or_default()),
    }
}

/// Reads the tokens as a GGUF file would have them.
#[cfg(feature = "remote")]
fn read(path: &Path) -> Result<Vocabulary, Error> {
    /// The largest in use has 33 MB.
    const MAX_BYTES: u64 = 256 << 20;
    /// Bits of `llama_token_attr`.
    const NORMAL: u32 = 1 << 2;
    const CONTROL: u32 = 1 << 3;
    const USER: u32 = 1 << 4;
    const BYTE: u32 = 1 << 5;
    const UNUSED: u32 = 1 << 1;
    /// More ids than any vocabulary has.
    const MAX_IDS: usize = 1 << 20;

    let text = crate::text_file::read(path, MAX_BYTES)?;
    let refuse = |what: String| Error::Tokenizer { path: path.display().to_string(), what };
    let tokenizer: tokenizers::Tokenizer =
        text.parse().map_err(|error: tokenizers::Error| refuse(error.to_string()))?;
    let added = tokenizer.get_added_tokens_decoder();
    let vocab = tokenizer.get_vocab(true);
    let n_ids = vocab.values().max().map_or(0, |last| *last as usize + 1);
    if n_ids == 0 || n_ids > MAX_IDS {
        return Err(refuse(format!("it has ids up to {n_ids}")));
    }
    let is_byte = |token: &str| token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
    let mut tokens: Vec<(Box<[u8]>, u32)> = vec![(Box::default(), UNUSED); n_ids];
    for (token, id) in vocab {
        let attr = match added.get(&id) {
            Some(added) if added.special => CONTROL,
            Some(_) => USER,
            None if is_byte(&token) => BYTE,
            None => NORMAL,
        };
        tokens[id as usize] = (token.into_bytes().into(), attr);
    }
    Ok(Vocabulary::of_attributes(tokens))
}
