//! Names are found as llama.cpp finds them, cuts leave none of them, and parts of a text have the tokens of the whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxytune_fuzz::llama::pieces::Vocabulary;

/// Few characters, so that names and words meet in texts.
const CHARACTERS: [char; 12] = ['a', 'b', 'c', '<', '|', '>', ' ', '\n', '▁', 'é', '語', '🙂'];
const MOST: usize = 8;

/// A byte ends a text when it is below 64.
fn text(bytes: &mut impl Iterator<Item = u8>, most: usize) -> String {
    let characters = bytes.take_while(|byte| *byte >= 64).map(|byte| CHARACTERS[usize::from(byte) % CHARACTERS.len()]);
    characters.take(most).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next().unwrap_or(0);
    let (n_words, n_names) = (usize::from(next()) % MOST, usize::from(next()) % MOST);
    let words = (0..n_words).map(|_| text(&mut bytes, 4)).collect();
    let names = (0..n_names).map(|_| (bytes.next().unwrap_or(0), text(&mut bytes, 4)));
    let names = names.map(|(flags, name)| (name, flags)).collect();
    Vocabulary::new(words, names).check(&text(&mut bytes, 48));
});
