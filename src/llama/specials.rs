//! Names of tokens that are found in a text.

use std::ops::Range;

use super::Token;

/// What is read as tokens in a template, the longest names first, as llama.cpp looks for them.
#[derive(Debug)]
pub(super) struct Specials(Vec<Special>);

#[derive(Debug, Clone)]
pub(super) struct Special {
    pub name: String,
    pub token: Token,
    /// llama.cpp takes the name for the token in every text, whatever it is told.
    pub is_always_read: bool,
}

impl Specials {
    pub fn new(mut specials: Vec<Special>) -> Self {
        specials.sort_by_key(|special| std::cmp::Reverse(special.name.len()));
        Self(specials)
    }

    /// Where the names stand in a text, in order and without overlaps. Longer names come first, and where
    /// `is_allowed` says no, a name is text.
    pub fn find(&self, text: &str, is_allowed: impl Fn(&Range<usize>) -> bool) -> Vec<(Range<usize>, &Special)> {
        let mut found: Vec<(Range<usize>, &Special)> = Vec::new();
        for special in &self.0 {
            for (start, _) in text.match_indices(special.name.as_str()) {
                let place = start..start + special.name.len();
                if is_allowed(&place) && found.iter().all(|(other, _)| !overlap(other, &place)) {
                    found.push((place, special));
                }
            }
        }
        found.sort_by_key(|(place, _)| place.start);
        found
    }
}

pub(super) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_where_names_overlap() {
        let special = |(name, token): (&str, Token)| Special { name: name.to_owned(), token, is_always_read: false };
        let specials = Specials::new([("<a>", 1), ("<a><b>", 2), ("<c>", 3)].map(special).into());
        let found = |text: &str, most: usize| {
            let found = specials.find(text, |place| place.end <= most);
            found.iter().map(|(place, special)| (place.start, special.token)).collect::<Vec<_>>()
        };
        assert_eq!(found("<c><a><b><a>", 12), [(0, 3), (3, 2), (9, 1)]);
        assert_eq!(found("<c><a><b><a>", 8), [(0, 3), (3, 1)]);
    }
}
