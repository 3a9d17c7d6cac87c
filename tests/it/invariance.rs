//! Logits that do not depend on how tokens are batched: the probe, and the set-up that promises it.

use std::path::Path;
use std::sync::Arc;

use proxytune::gguf::Header;
use proxytune::llama::context::{Context, ContextParams, FlashAttention};
use proxytune::llama::invariance::{INVARIANT, Invariance, MAX_WIDTH, probe};
use proxytune::llama::model::{Model, ModelParams};
use proxytune::recipe::placement::CacheType;

use crate::gguf::{Kind, Spec, byte_tokens};
use crate::trio::{backend, file};

fn look(params: &ContextParams) -> Invariance {
    look_at(&file("expert"), params)
}

fn look_at(path: &Path, params: &ContextParams) -> Invariance {
    let model = Model::load(&backend(), path, &ModelParams::default(), |_| true).expect("it loads");
    let params = ContextParams { n_outputs_max: MAX_WIDTH, ..params.clone() };
    let mut context = Context::new(Arc::new(model), &params).expect("a context");
    let found = probe(&mut context).expect("it decodes");
    assert_eq!(context.n_past(0), 0);
    found
}

/// As `--deterministic` has it.
fn deterministic() -> ContextParams {
    ContextParams {
        n_ctx: 1024,
        n_threads: 2,
        flash_attention: FlashAttention::On,
        cache_type_k: CacheType::Q8_0,
        cache_type_v: CacheType::Q8_0,
        ..ContextParams::default()
    }
}

#[test]
fn the_set_up_is_invariant_with_the_bundled_weights() {
    let found = look(&deterministic());
    assert_eq!((found.n_kv.as_slice(), found.widths.last()), (&[64, 768][..], Some(&16)));
    assert_eq!(found.holds(), Some(true), "{found:?}");
}

/// Every type that drafts are promised for, in matrices that llama.cpp repacks for this CPU where it can.
#[test]
fn the_set_up_is_invariant_with_every_type_that_it_is_promised_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kinds = [Kind::Q4_0, Kind::Q4_1, Kind::Q5_0, Kind::Q5_1, Kind::Q8_0];
    let mut names = Vec::new();
    for (kind, n_vocab) in kinds.into_iter().flat_map(|kind| [(kind, 304), (kind, 301)]) {
        let path = folder.path().join("model.gguf");
        let spec = Spec { kind, n_ctx: 1024, n_embd: 128, n_ff: 256, tokens: byte_tokens(n_vocab), ..Spec::tiny() };
        spec.write(&path).expect("writable");
        let found = look_at(&path, &deterministic());
        assert_eq!(found.holds(), Some(true), "{kind:?}: {found:?}");
        names.extend(Header::read(&path).expect("a header").matrix_types());
    }
    names.dedup();
    if cfg!(target_arch = "x86_64") {
        assert_eq!(names, INVARIANT);
    }
}

/// With several threads a token by itself is computed in parts of the cache, of which an F16 one rounds the sums.
#[test]
fn a_difference_is_found() {
    let found = look(&ContextParams { cache_type_k: CacheType::F16, cache_type_v: CacheType::F16, ..deterministic() });
    assert_eq!(found.holds(), Some(false));
    let first = found.difference.expect("one");
    assert_eq!((first.n_kv, first.width, first.row), (768, 2, 0));
    assert!(first.max > 0.0 && first.max < 1.0, "{first:?}");
}

#[test]
fn it_looks_as_far_as_the_context_reaches() {
    for (n_ctx, n_batch, n_kv, widths) in [
        (300, 512, &[64, 284][..], &[2, 3, 4, 5, 8, 16][..]),
        (20, 512, &[4], &[2, 3, 4, 5, 8, 16]),
        (8, 512, &[3], &[2, 3, 4, 5]),
        (300, 4, &[64, 296], &[2, 3, 4]),
        (1, 512, &[], &[]),
        (300, 1, &[], &[]),
    ] {
        let found = look(&ContextParams { n_ctx, n_batch, n_threads: 1, ..deterministic() });
        assert_eq!((found.n_kv.as_slice(), found.widths.as_slice()), (n_kv, widths), "{n_ctx} {n_batch}");
        assert_eq!(found.holds(), (!n_kv.is_empty()).then_some(true));
    }
}

#[test]
fn types_of_matrices_are_listed_without_those_that_are_copied() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    for (kind, name) in [(Kind::F32, "f32"), (Kind::Q8_0, "q8_0"), (Kind::Q5_1, "q5_1")] {
        Spec { kind, ..Spec::tiny() }.write(&path).expect("writable");
        assert_eq!(Header::read(&path).expect("a header").matrix_types().into_iter().collect::<Vec<_>>(), [name]);
    }
}
