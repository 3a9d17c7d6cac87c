//! Names in texts and texts in parts, beside the slow and plain way to go about both.

use std::collections::HashMap;

use super::parts::{Limits, parts};
use super::specials::{Found, Special, Specials};
use super::spelling::Spelling;

/// A small SentencePiece vocabulary: words, of which the later ones merge first, and names.
pub struct Vocabulary {
    words: Vec<String>,
    names: Vec<(String, Special)>,
}

impl Vocabulary {
    /// The bits beside a name: whether llama.cpp reads it in every text, and takes white space left and right of it.
    pub fn new(words: Vec<String>, names: Vec<(String, u8)>) -> Self {
        let special = |token: i32, flags: u8| {
            let has = |bit: u8| flags & (1 << bit) != 0;
            Special { token, is_always_read: has(0), marks_up: true, strips_left: has(1), strips_right: has(2) }
        };
        let names = names.into_iter().zip(0..).map(|((name, flags), token)| (name, special(token, flags))).collect();
        Self { words, names }
    }

    /// Checks what is found in a text and how it is cut.
    pub fn check(&self, text: &str) {
        let specials = Specials::new(self.names.clone());
        let found = specials.find(text, |_| true);
        assert_eq!(found, self.find(text), "{:?} in {text:?}", self.names);
        let mut cuts = specials.cuts(text, |(_, special)| special.is_always_read);
        cuts.push(text.len());
        let mut from = 0;
        for cut in cuts {
            let is_broken = |(name, special): &(String, Special)| {
                !special.is_always_read || name.chars().count() < 2 || !text[from..cut].contains(name.as_str())
            };
            let firsts: HashMap<_, _> = self.names.iter().rev().map(|(name, special)| (name, special)).collect();
            assert!(firsts.into_iter().all(|(name, special)| is_broken(&(name.clone(), *special))));
            from = cut;
        }
        let texts = self.names.iter().map(|(name, _)| name).chain(&self.words).map(String::as_bytes);
        let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect::<Vec<_>>();
        let spelling = Spelling::of(texts.chain(bytes.iter().map(String::as_bytes)));
        for n in [1, 3] {
            let limits = Limits { n_names: n, n_bytes: 2 * n };
            let parts = parts(text, &specials, |_| true, Some(&spelling), limits);
            assert_eq!(parts.iter().map(|part| part.text).collect::<String>(), text);
            let mut tokens = Vec::new();
            for part in parts {
                let front = part.front.unwrap_or_default();
                let n = if front.is_empty() { 0 } else { self.tokens(front).len() };
                tokens.extend(self.tokens(&format!("{front}{}", part.text)).drain(n..));
            }
            assert_eq!(tokens, self.tokens(text), "{text:?}");
        }
    }

    /// llama.cpp's `tokenizer_st_partition`, name by name, without the white space.
    fn find(&self, text: &str) -> Vec<Found> {
        let mut names: Vec<_> = self.names.iter().filter(|(name, _)| !name.is_empty()).collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut found: Vec<Found> = Vec::new();
        let mut at_length = |length: usize| {
            for start in 0..=text.len().saturating_sub(length) {
                let place = start..start + length;
                let name = names.iter().find(|(name, _)| text.get(place.clone()) == Some(name.as_str()));
                let is_free = found.iter().all(|(other, _)| other.end <= place.start || place.end <= other.start);
                found.extend(name.filter(|_| is_free).map(|(_, special)| (place, *special)));
            }
        };
        (1..=text.len()).rev().for_each(&mut at_length);
        found.sort_by_key(|(place, _)| place.start);
        found
    }

    /// llama.cpp's SentencePiece tokenizer, in words.
    fn tokens(&self, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let found = self.find(text);
        let mut from = 0;
        let mut strips = false;
        let ends = found.iter().map(|(place, special)| (place.start, place.end, Some(special)));
        for (start, end, special) in ends.chain([(text.len(), text.len(), None)]) {
            let is_space = |c: char| matches!(c, '\t'..='\r' | ' ');
            let mut between = &text[from..start];
            if strips {
                between = between.trim_start_matches(is_space);
            }
            if special.is_some_and(|special| special.strips_left) {
                between = between.trim_end_matches(is_space);
            }
            if !between.is_empty() {
                self.merge(&format!(" {between}").replace(' ', "▁"), &mut out);
            }
            out.extend(special.map(|special| format!("<{}>", special.token)));
            strips = special.is_some_and(|special| special.strips_right);
            from = end;
        }
        out
    }

    fn merge(&self, text: &str, out: &mut Vec<String>) {
        let rank = |text: &str| self.words.iter().rposition(|word| word == text);
        let mut symbols: Vec<String> = text.chars().map(String::from).collect();
        loop {
            let pairs = (1..symbols.len()).filter_map(|n| Some((rank(&symbols[n - 1..=n].concat())?, n)));
            // Of equals the first.
            let Some((_, n)) = pairs.max_by_key(|&(rank, n)| (rank, std::cmp::Reverse(n))) else { break };
            let right = symbols.remove(n);
            symbols[n - 1] += &right;
        }
        for symbol in symbols {
            match rank(&symbol) {
                Some(_) => out.push(symbol),
                None => out.extend(symbol.bytes().map(|byte| format!("{byte:02x}"))),
            }
        }
    }
}
