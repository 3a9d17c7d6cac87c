//! Any bytes as a file: an error or a header, within the bounds that the file's size sets; then what gguf-rs and the
//! vocabulary make of a header that was accepted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxytune_fuzz::gguf::typed::Typed;
use proxytune_fuzz::read;
use proxytune_fuzz::vocab::Vocabulary;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = read(bytes) {
        let tensors: u64 = header.tensors().iter().map(|tensor| tensor.n_bytes).sum();
        assert!(tensors <= bytes.len() as u64, "tensors of {tensors} bytes in a file of {}", bytes.len());
        let _ = (Vocabulary::of(&header), header.quantisation(), header.n_ctx_train());
        let typed = Typed::of_bytes(&header, bytes.to_vec());
        // Where both can tell, both tell the same.
        if let (Some(text), Some(typed)) = (header.text("general.name"), typed.text("general.name")) {
            assert_eq!(text, typed);
        }
    }
});
