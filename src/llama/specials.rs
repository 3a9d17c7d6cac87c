//! Names of tokens that are found in a text.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::Token;

/// The names that llama.cpp looks for in a text before it tokenises the rest, the longest first.
#[derive(Debug, Default)]
pub(super) struct Specials {
    by_name: HashMap<String, Special>,
    /// From the longest to the shortest, in bytes.
    lengths: Vec<usize>,
    /// The bytes that names begin with.
    begins: HashSet<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "attributes of tokens, as llama.cpp has them")]
pub(super) struct Special {
    pub token: Token,
    /// llama.cpp takes the name for the token in every text, whatever it is told.
    pub is_always_read: bool,
    /// The token marks up a conversation, and is no word.
    pub marks_up: bool,
    /// White space in front of the token is dropped.
    pub strips_left: bool,
    /// White space behind the token is dropped.
    pub strips_right: bool,
}

/// A name and where it stands.
pub(super) type Found = (Range<usize>, Special);

impl Specials {
    /// Of tokens with one name the first counts.
    pub fn new(specials: impl IntoIterator<Item = (String, Special)>) -> Self {
        let mut by_name = HashMap::new();
        for (name, special) in specials.into_iter().filter(|(name, _)| !name.is_empty()) {
            by_name.entry(name).or_insert(special);
        }
        let mut lengths: Vec<_> = by_name.keys().map(String::len).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        let begins = by_name.keys().map(|name| name.as_bytes()[0]).collect();
        Self { by_name, lengths, begins }
    }

    /// Shows every place of every name, the longest names first, each from left to right. Time grows with the length of
    /// the text and the number of different lengths of names.
    fn show_places(&self, text: &str, mut show: impl FnMut(Found)) {
        let begins: [bool; 256] = std::array::from_fn(|byte| self.begins.contains(&(byte as u8)));
        let starts = text.bytes().enumerate().filter(|&(_, byte)| begins[usize::from(byte)]);
        let starts: Vec<_> = starts.map(|(start, _)| start).collect();
        for length in &self.lengths {
            for &start in &starts {
                let place = start..start + length;
                if let Some(special) = text.get(place.clone()).and_then(|name| self.by_name.get(name)) {
                    show((place, *special));
                }
            }
        }
    }

    /// The token of a name.
    pub fn get(&self, name: &str) -> Option<Special> {
        self.by_name.get(name).copied()
    }

    /// Where llama.cpp reads the names that `is_read` allows, in order and without overlaps. Where it does not, a name is
    /// text.
    pub fn find(&self, text: &str, is_read: impl Fn(&Found) -> bool) -> Vec<Found> {
        let mut found: BTreeMap<usize, Found> = BTreeMap::new();
        self.show_places(text, |(place, special)| {
            let before = found.range(..place.end).next_back();
            let is_free = before.is_none_or(|(_, (before, _))| before.end <= place.start);
            let start = place.start;
            let this = (place, special);
            if is_free && is_read(&this) {
                found.insert(start, this);
            }
        });
        found.into_values().collect()
    }

    /// Where to cut a text so that llama.cpp finds none of the names that `is_broken` says, in order: behind the first
    /// character of each. A name of one character cannot be cut.
    pub fn cuts(&self, text: &str, is_broken: impl Fn(&Found) -> bool) -> Vec<usize> {
        let mut cuts = Vec::new();
        self.show_places(text, |this| {
            let name = &text[this.0.clone()];
            let first = name.chars().next().map_or(0, char::len_utf8);
            if first < name.len() && is_broken(&this) {
                cuts.push(this.0.start + first);
            }
        });
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn special(token: Token) -> Special {
        Special { token, is_always_read: token % 2 == 0, marks_up: true, strips_left: false, strips_right: false }
    }

    fn specials(names: &[&str]) -> Specials {
        Specials::new(names.iter().zip(1..).map(|(name, token)| ((*name).to_owned(), special(token))))
    }

    #[test]
    fn the_longest_name_counts_where_names_overlap() {
        let specials = specials(&["<a>", "<a><b>", "<c>"]);
        let found = |text: &str, most: usize| {
            let found = specials.find(text, |(place, _)| place.end <= most);
            found.iter().map(|(place, special)| (place.start, special.token)).collect::<Vec<_>>()
        };
        assert_eq!(found("<c><a><b><a>", 12), [(0, 3), (3, 2), (9, 1)]);
        assert_eq!(found("<c><a><b><a>", 8), [(0, 3), (3, 1)]);
    }

    #[test]
    fn names_are_cut_behind_their_first_characters() {
        let specials = specials(&["éa", "ab", "b"]);
        assert_eq!(specials.cuts("éab", |_| true), [2, 3]);
        assert_eq!(specials.cuts("éab", |(_, special)| special.is_always_read), [3]);
    }

    /// As llama.cpp's `tokenizer_st_partition` goes about it.
    fn naive(specials: &[(String, Special)], text: &str) -> Vec<(Range<usize>, Token)> {
        let mut sorted: Vec<_> = specials.iter().filter(|(name, _)| !name.is_empty()).collect();
        sorted.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut found: Vec<(Range<usize>, Token)> = Vec::new();
        for length in (1..=text.len()).rev() {
            for start in 0..=text.len() - length {
                let place = start..start + length;
                let named = sorted.iter().find(|(name, _)| text.get(place.clone()) == Some(name.as_str()));
                let is_free = found.iter().all(|(other, _)| other.end <= place.start || place.end <= other.start);
                found.extend(named.filter(|_| is_free).map(|(_, special)| (place, special.token)));
            }
        }
        found.sort_by_key(|(place, _)| place.start);
        found
    }

    proptest! {
        #[test]
        fn names_are_found_as_llama_cpp_finds_them(names in prop::collection::vec("[ab\u{e9}<]{0,4}", 0..8), text in "[ab\u{e9}<]{0,24}") {
            let named: Vec<_> = names.into_iter().zip(1..).map(|(name, token)| (name, special(token))).collect();
            let specials = Specials::new(named.clone());
            let found: Vec<_> = specials.find(&text, |_| true).into_iter().map(|(place, special)| (place, special.token)).collect();
            prop_assert_eq!(found, naive(&named, &text));
            // No part between the cuts has a name of more than a character.
            let mut cuts = specials.cuts(&text, |_| true);
            cuts.push(text.len());
            let mut from = 0;
            for cut in cuts {
                let part = &text[from..cut];
                prop_assert!(named.iter().all(|(name, _)| name.chars().count() < 2 || !part.contains(name.as_str())));
                from = cut;
            }
        }
    }
}
