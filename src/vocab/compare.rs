//! The verdict on two vocabularies.

use std::fmt;

use super::Vocabulary;
use super::vocabulary::TYPE_UNUSED;

/// How many differing tokens a refusal shows.
const N_SHOWN: usize = 5;

/// Whether a small model's logits can be added to the base's, id by id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The same tokens under the same ids.
    Identical,
    /// The shared ids are identical; one side has unused ids behind them (Qwen 2.5: 151,936 and 152,064).
    Padded { n_base: usize, n_other: usize },
    /// Another tokenizer, or the same tokens under other ids.
    Different(Differences),
}

/// Where two vocabularies part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    pub n_base: usize,
    pub n_other: usize,
    /// How many shared ids stand for different tokens.
    pub n_differing: usize,
    /// The first ids that differ: the token of the base, the token of the other; `None` past its end.
    pub first: Vec<(usize, Option<String>, Option<String>)>,
}

/// Compares token by token, as raw bytes with their types.
#[must_use]
pub fn compare(base: &Vocabulary, other: &Vocabulary) -> Verdict {
    let (n_base, n_other) = (base.len(), other.len());
    let n_shared = n_base.min(n_other);
    let longer = if n_base > n_other { base } else { other };
    let differing = (0..n_shared).filter(|&id| base.token(id) != other.token(id));
    let used_tail =
        (n_shared..longer.len()).filter(|&id| longer.token(id).is_some_and(|(_, kind)| kind != TYPE_UNUSED));
    let show = |id| (id, base.shown(id), other.shown(id));
    let first: Vec<_> = differing.clone().chain(used_tail).take(N_SHOWN).map(show).collect();
    if !first.is_empty() {
        return Verdict::Different(Differences { n_base, n_other, n_differing: differing.count(), first });
    }
    if n_base == n_other { Verdict::Identical } else { Verdict::Padded { n_base, n_other } }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_base, n_other, n_differing, first } = self;
        let n_shared = n_base.min(n_other);
        if n_base == n_other {
            write!(f, "{n_differing} of {n_shared} tokens differ")?;
        } else {
            write!(f, "{n_other} tokens where the base has {n_base}, {n_differing} of the first {n_shared} differ")?;
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
mod tests {
    use super::*;

    fn against(base: &[&str], other: &[&str]) -> Verdict {
        compare(&Vocabulary::from_tokens(base), &Vocabulary::from_tokens(other))
    }

    #[test]
    fn the_same_tokens_are_identical() {
        assert_eq!(against(&["a", "b", "c"], &["a", "b", "c"]), Verdict::Identical);
    }

    #[test]
    fn unused_ids_behind_the_shared_ones_are_padding() {
        let padded = Verdict::Padded { n_base: 3, n_other: 2 };
        assert_eq!(against(&["a", "b", "[PAD2]"], &["a", "b"]), padded);
        assert_eq!(against(&["a", "b"], &["a", "b", "[PAD2]"]), Verdict::Padded { n_base: 2, n_other: 3 });
    }

    #[test]
    fn a_new_token_behind_the_shared_ones_is_no_padding() {
        let Verdict::Different(differences) = against(&["a", "b"], &["a", "b", "<PRE>"]) else { panic!() };
        assert_eq!(
            differences.to_string(),
            "3 tokens where the base has 2, 0 of the first 2 differ; id 2 is \"<PRE>\", not nothing"
        );
    }

    #[test]
    fn the_first_differing_tokens_are_named() {
        let Verdict::Different(differences) = against(&["a", "b", "c"], &["a", "c", "b"]) else { panic!() };
        assert_eq!(differences.to_string(), "2 of 3 tokens differ; id 1 is \"c\", not \"b\", id 2 is \"b\", not \"c\"");
    }

    #[test]
    fn the_type_of_a_token_counts() {
        let base = Vocabulary::from_tokens(&["a", "b"]);
        let Verdict::Different(differences) = compare(&base, &base.clone().with_unused(1)) else { panic!() };
        assert_eq!(differences.to_string(), "1 of 2 tokens differ; id 1 is \"b\" of another type");
    }
}
