//! The verdict on two vocabularies.

use std::collections::HashMap;
use std::fmt;

use super::vocabulary::{SPECIALS, TYPE_BYTE, TYPE_NORMAL, TYPE_UNUSED};
use super::{IdMap, Vocabulary};

/// How many differing tokens a message shows.
const N_SHOWN: usize = 5;

/// Whether a small model's logits can be added to the base's, token by token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The same tokens under the same ids.
    Identical,
    /// The shared ids are identical; one side has unused ids behind them (Qwen 2.5: 151,936 and 152,064).
    Padded { n_base: usize, n_other: usize },
    /// The same tokens, some under other ids.
    Remapped { ids: IdMap, n_moved: usize },
    /// Every ordinary token is the same; of the special ones some differ.
    Drifted { ids: IdMap, differences: Differences },
    /// Another tokenizer.
    Different(Differences),
}

impl Verdict {
    /// The other's ids for the base's, where they are not the same.
    #[must_use]
    pub fn ids(&self) -> Option<&IdMap> {
        match self {
            Self::Remapped { ids, .. } | Self::Drifted { ids, .. } => Some(ids),
            _ => None,
        }
    }

    /// The verdict in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Padded { .. } => "padded",
            Self::Remapped { .. } => "remapped",
            Self::Drifted { .. } => "drifted",
            Self::Different(_) => "different",
        }
    }
}

/// Where two vocabularies part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    pub n_base: usize,
    pub n_other: usize,
    /// How many ids stand for different tokens, or for a token on one side only.
    pub n_differing: usize,
    /// The first of them: the token of the base, the token of the other; `None` past its end.
    pub first: Vec<(usize, Option<String>, Option<String>)>,
}

/// Compares token by token, as raw bytes with their types.
#[must_use]
pub fn compare(base: &Vocabulary, other: &Vocabulary) -> Verdict {
    let (n_base, n_other) = (base.len(), other.len());
    let n_shared = n_base.min(n_other);
    let longer = if n_base > n_other { base } else { other };
    let differs = |&id: &usize| if id < n_shared { base.token(id) != other.token(id) } else { is_used(longer, id) };
    let differing: Vec<usize> = (0..longer.len()).filter(differs).collect();
    if differing.is_empty() {
        return if n_base == n_other { Verdict::Identical } else { Verdict::Padded { n_base, n_other } };
    }
    let show = |&id: &usize| (id, base.shown(id), other.shown(id));
    let first = differing.iter().take(N_SHOWN).map(show).collect();
    let differences = Differences { n_base, n_other, n_differing: differing.len(), first };

    let (in_other, in_base) = (by_bytes(other), by_bytes(base));
    let ids: Vec<Option<usize>> = (0..n_base).map(|id| same_bytes(base, id, other, &in_other)).collect();
    let to_base = (0..n_other).map(|id| same_bytes(other, id, base, &in_base));
    let base_parts = ids.iter().enumerate().map(|(id, to)| Match::of(base, id, other, *to));
    let other_parts = to_base.enumerate().map(|(id, to)| Match::of(other, id, base, to));
    match base_parts.chain(other_parts).max().unwrap_or(Match::Same) {
        Match::Same => {
            let n_moved = ids.iter().enumerate().filter(|&(id, to)| to.is_some_and(|to| to != id)).count();
            Verdict::Remapped { ids: IdMap::new(ids), n_moved }
        }
        Match::Special => Verdict::Drifted { ids: IdMap::new(ids), differences },
        Match::Ordinary => Verdict::Different(differences),
    }
}

/// How a token of one side stands to the other side; the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    /// There too, or not in use.
    Same,
    /// Missing there or of another type, and a special token on one side.
    Special,
    /// Missing there, and an ordinary token.
    Ordinary,
}

impl Match {
    fn of(here: &Vocabulary, id: usize, there: &Vocabulary, to: Option<usize>) -> Self {
        let (token_here, token_there) = (here.token(id), to.and_then(|to| there.token(to)));
        match token_there {
            None if !is_used(here, id) => Self::Same,
            Some(_) if token_here == token_there => Self::Same,
            None if token_here.is_some_and(is_ordinary) => Self::Ordinary,
            Some(token) if is_ordinary(token) && token_here.is_some_and(is_ordinary) => Self::Ordinary,
            _ => Self::Special,
        }
    }
}

/// Whether a token is a piece of text. Files type some special tokens as normal ones; their names tell
/// (`Code Llama`'s `▁<PRE>`).
fn is_ordinary((bytes, kind): (&[u8], i64)) -> bool {
    let name = bytes.strip_prefix("▁".as_bytes()).unwrap_or(bytes);
    let is_named = name.len() > 2 && name.starts_with(b"<") && name.ends_with(b">");
    kind == TYPE_BYTE || (kind == TYPE_NORMAL && !is_named)
}

fn is_used(vocabulary: &Vocabulary, id: usize) -> bool {
    vocabulary.token(id).is_some_and(|(_, kind)| kind != TYPE_UNUSED)
}

fn by_bytes(vocabulary: &Vocabulary) -> HashMap<&[u8], usize> {
    (0..vocabulary.len()).filter_map(|id| vocabulary.token(id).map(|(bytes, _)| (bytes, id))).collect()
}

/// Where a token of one vocabulary stands in another: under its own id if it can, since empty tokens are many.
fn same_bytes(here: &Vocabulary, id: usize, there: &Vocabulary, index: &HashMap<&[u8], usize>) -> Option<usize> {
    let (bytes, _) = here.token(id)?;
    let stays = there.token(id).is_some_and(|(other, _)| other == bytes);
    if stays { Some(id) } else { index.get(bytes).copied().filter(|_| !bytes.is_empty()) }
}

/// A part that two vocabularies give to different tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialDifference {
    pub part: &'static str,
    pub base: Option<String>,
    pub other: Option<String>,
}

/// The parts of [`SPECIALS`] that stand for other tokens, by their bytes.
#[must_use]
pub fn specials(base: &Vocabulary, other: &Vocabulary) -> Vec<SpecialDifference> {
    let bytes = |vocabulary: &Vocabulary, part| {
        let id = vocabulary.special(part)?;
        vocabulary.token(id).map(|(bytes, _)| bytes.to_vec())
    };
    let shown = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let difference = |part| {
        let (base, other) = (bytes(base, part), bytes(other, part));
        (base != other).then(|| SpecialDifference { part, base: base.map(shown), other: other.map(shown) })
    };
    SPECIALS.into_iter().filter_map(difference).collect()
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_base, n_other, n_differing, first } = self;
        if n_base == n_other {
            write!(f, "{n_differing} of {n_base} tokens differ")?;
        } else {
            write!(f, "{n_other} tokens where the base has {n_base}, {n_differing} ids differ")?;
        }
        let token = |token: &Option<String>| token.as_ref().map_or("nothing".to_owned(), |token| format!("{token:?}"));
        for (i, (id, base, other)) in first.iter().enumerate() {
            let lead = if i == 0 { "; " } else { ", " };
            if base == other {
                write!(f, "{lead}id {id} is {} of another type", token(base))?;
            } else {
                write!(f, "{lead}id {id} is {}, not {}", token(other), token(base))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
