//! Two vocabularies of a fuzzer's making: the verdict is the same from both sides, and a map leads to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxytune_fuzz::vocab::compare::specials;
use proxytune_fuzz::vocab::{Verdict, Vocabulary, compare};
use proxytune_fuzz::{Metadata, read};

/// Tokens end at a byte below 8, which is their type.
fn vocabulary(bytes: &[u8]) -> Option<Vocabulary> {
    let (mut tokens, mut types) = (Vec::new(), Vec::new());
    for token in bytes.split_inclusive(|&byte| byte < 8) {
        let (kind, text) = token.split_last()?;
        tokens.push(text);
        types.push(i32::from(*kind % 7));
    }
    let mut metadata = Metadata::default();
    metadata.text("general.architecture", b"llama");
    metadata.text("tokenizer.ggml.model", b"gpt2");
    metadata.texts("tokenizer.ggml.tokens", &tokens);
    metadata.i32s("tokenizer.ggml.token_type", &types);
    metadata.u32("tokenizer.ggml.eos_token_id", u32::from(*bytes.last()?));
    Vocabulary::of(&read(&metadata.file()).ok()?).ok()
}

fuzz_target!(|bytes: &[u8]| {
    let Some(middle) = bytes.iter().position(|&byte| byte == 255) else { return };
    let (Some(base), Some(other)) = (vocabulary(&bytes[..middle]), vocabulary(&bytes[middle + 1..])) else { return };
    let verdict = compare(&base, &other);
    let swapped = compare(&other, &base);
    assert_eq!(verdict.name(), swapped.name());
    assert_eq!(compare(&base, &base), Verdict::Identical);
    assert_eq!(specials(&base, &base), []);
    if verdict == Verdict::Identical {
        assert!((0..base.len().max(other.len())).all(|id| base.token(id) == other.token(id)));
    }
    if let Some(ids) = verdict.ids() {
        for id in 0..base.len() {
            if let Some(to) = ids.other(id) {
                let bytes = |token: Option<(&[u8], i64)>| token.map(|(bytes, _)| bytes.to_vec());
                assert_eq!(bytes(base.token(id)), bytes(other.token(to)));
            }
        }
    }
    if let Verdict::Drifted { differences, .. } | Verdict::Different(differences) = &verdict {
        assert!(!differences.first.is_empty() && !differences.to_string().is_empty());
    }
});
