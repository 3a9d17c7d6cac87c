//! Logits that do not depend on how tokens are batched: the probe, and the set-up that promises it.

use std::path::Path;
use std::sync::Arc;

use proxytune::gguf::Header;
use proxytune::llama::context::{Context, ContextParams, FlashAttention, Outputs};
use proxytune::llama::invariance::{Invariance, MAX_WIDTH, dependent, probe};
use proxytune::llama::kernels::Kernels;
use proxytune::llama::model::{Model, ModelParams};
use proxytune::recipe::placement::CacheType;

use crate::gguf::{Kind, Spec, byte_tokens};
use crate::trio::{backend, file};

fn look(params: &ContextParams) -> Invariance {
    look_at(&file("expert"), Kernels::Auto, params)
}

fn look_at(path: &Path, kernels: Kernels, params: &ContextParams) -> Invariance {
    let model = ModelParams { kernels, ..ModelParams::default() };
    let model = Model::load(&backend(), path, &model, |_| true).expect("it loads");
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

/// Every type that drafts are promised for, in matrices that llama.cpp repacks for this CPU where it can, and in those that
/// our kernels take.
#[test]
fn the_set_up_is_invariant_with_every_type_that_it_is_promised_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stock = [Kind::Q4_0, Kind::Q4_1, Kind::Q5_0, Kind::Q5_1, Kind::Q8_0];
    let ours = [Kind::Q4_0, Kind::Q5_0, Kind::Q8_0, Kind::Q4K, Kind::Q5K, Kind::Q6K, Kind::F32];
    let all = stock.map(|kind| (kind, Kernels::Off)).into_iter().chain(ours.map(|kind| (kind, Kernels::Auto)));
    for ((kind, kernels), n_vocab) in all.flat_map(|kind| [(kind, 304), (kind, 301)]) {
        let path = folder.path().join("model.gguf");
        let spec = Spec { kind, n_ctx: 1024, n_embd: 256, n_ff: 512, tokens: byte_tokens(n_vocab), ..Spec::tiny() };
        spec.write(&path).expect("writable");
        let header = Header::read(&path).expect("a header");
        let is_promised = dependent(&header, kernels).is_empty();
        let found = look_at(&path, kernels, &deterministic());
        assert!(!is_promised || found.holds() == Some(true), "{kind:?} {kernels:?}: {found:?}");
        if cfg!(target_arch = "x86_64") {
            assert!(is_promised || kernels == Kernels::Auto && kernels.isa(&header).is_none(), "{kind:?} {kernels:?}");
        }
    }
}

/// A token's attention over a long cache in F16 is not split among threads where our kernels are, so drafts change nothing
/// without the set-up either.
#[test]
fn it_holds_for_a_cache_in_f16_where_our_kernels_are() {
    let path = file("expert");
    let found = look(&ContextParams { cache_type_k: CacheType::F16, cache_type_v: CacheType::F16, ..deterministic() });
    let ours = Kernels::Auto.isa(&Header::read(&path).expect("a header")).is_some();
    assert_eq!(found.holds(), Some(ours), "{found:?}");
}

/// llama.cpp multiplies repacked K-quants in another way by four columns than by one.
#[test]
fn a_difference_is_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    let spec = Spec { kind: Kind::Q4K, n_ctx: 1024, n_embd: 256, n_ff: 512, ..Spec::tiny() };
    spec.write(&path).expect("writable");
    let found = look_at(&path, Kernels::Off, &deterministic());
    assert_eq!(found.holds(), Some(false));
    let first = found.difference.expect("one");
    assert_eq!((first.n_kv, first.width, first.row), (64, 4, 0), "{first:?}");
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

/// As far as is promised with our kernels: up to 63 tokens, from which on llama.cpp computes attention over a cache in F16 in
/// another way, and any number with `--deterministic`.
#[test]
fn tokens_at_once_get_the_logits_of_one_by_one_with_our_kernels() {
    const N_NEXT: usize = 64;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    for kind in [Kind::F32, Kind::Q4_0, Kind::Q5_0, Kind::Q8_0, Kind::Q4K, Kind::Q5K, Kind::Q6K] {
        let spec = Spec { kind, n_ctx: 2304, n_embd: 256, n_ff: 512, n_layer: 1, ..Spec::tiny() };
        spec.write(&path).expect("writable");
        if Kernels::Auto.isa(&Header::read(&path).expect("a header")).is_none() {
            return;
        }
        let model = Arc::new(Model::load(&backend(), &path, &ModelParams::default(), |_| true).expect("it loads"));
        let n_vocab = model.n_vocab();
        let tokens: Vec<i32> = (0..2000 + N_NEXT).map(|i| (i * 7 % n_vocab) as i32).collect();
        let in_f16 = ContextParams { cache_type_k: CacheType::F16, cache_type_v: CacheType::F16, ..deterministic() };
        for (params, widths) in [
            (in_f16, &[2, 3, 4, 5, 6, 7, 8, 16, 33, 63][..]),
            (deterministic(), &[2, 3, 4, 5, 6, 7, 8, 16, 33, 63, 64]),
        ] {
            for n_threads in [1, 2] {
                let params = ContextParams { n_ctx: 2304, n_threads, n_outputs_max: N_NEXT, ..params.clone() };
                let mut context = Context::new(model.clone(), &params).expect("a context");
                for n_before in [64, 600, 2000] {
                    let (before, next) = tokens[..n_before + N_NEXT].split_at(n_before);
                    context.roll_back(0, 0);
                    before.chunks(512).for_each(|part| context.decode(part, Outputs::None).expect("room"));
                    let mut rows = |width: usize| {
                        context.roll_back(0, n_before);
                        let mut rows: Vec<f32> = Vec::new();
                        for part in next.chunks(width) {
                            context.decode(part, Outputs::All).expect("room");
                            (0..part.len()).for_each(|i| rows.extend(context.row(0, i).expect("a row")));
                        }
                        rows
                    };
                    let expected = rows(1);
                    for &width in widths {
                        let what = format!("{kind:?}, {n_threads} threads, {width} tokens behind {n_before}");
                        assert!(rows(width) == expected, "{what}, cache in {:?}", params.cache_type_k);
                    }
                }
            }
        }
    }
}
