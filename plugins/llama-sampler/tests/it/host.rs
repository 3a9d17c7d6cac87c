//! A host that has no llama.cpp: it makes the shells of samplers, and calls what is in their tables.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use llama_cpp_sys_2::{llama_sampler, llama_sampler_i, llama_token_data, llama_token_data_array};
use proxytune::llama::backend;
use proxytune::llama::context::{Context, ContextParams, Outputs};
use proxytune::llama::model::{Model, ModelParams};

use crate::gguf::Spec;
use crate::plugin::{Pair, Params, pair, plugin, words};

/// Shells that were made and not deleted.
pub static N_SHELLS: AtomicIsize = AtomicIsize::new(0);

pub unsafe extern "C" fn sampler_init(iface: *mut llama_sampler_i, ctx: *mut c_void) -> *mut llama_sampler {
    N_SHELLS.fetch_add(1, Ordering::SeqCst);
    Box::into_raw(Box::new(llama_sampler { iface, ctx }))
}

/// A sampler that this host frees as llama.cpp does.
pub struct Sampler(pub *mut llama_sampler);

unsafe impl Send for Sampler {}
unsafe impl Sync for Sampler {}

impl Sampler {
    pub fn new(pair: &Pair) -> Self {
        let mut stage = std::ptr::null_mut();
        let status = unsafe { (plugin().stage_new)(pair.0, &raw mut stage) };
        assert_eq!(status, 0, "{}", words());
        Self(stage)
    }

    pub fn table(&self) -> &llama_sampler_i {
        unsafe { &*(*self.0).iface }
    }

    pub fn accept(&self, tokens: &[i32]) {
        for &token in tokens {
            unsafe { self.table().accept.expect("a slot")(self.0, token) };
        }
    }

    pub fn apply(&self, candidates: &mut Candidates) {
        unsafe { self.table().apply.expect("a slot")(self.0, candidates.raw()) };
    }

    pub fn reset(&self) {
        unsafe { self.table().reset.expect("a slot")(self.0) };
    }

    pub fn copy(&self) -> Self {
        let copy = unsafe { self.table().clone.expect("a slot")(self.0) };
        assert!(!copy.is_null());
        Self(copy)
    }

    pub fn feed(&self, role: i32, tokens: &[i32]) {
        let status = unsafe { (plugin().feed)(self.0, role, tokens.as_ptr(), tokens.len()) };
        assert_eq!(status, 0, "{}", words());
    }

    pub fn status(&self) -> i32 {
        unsafe { (plugin().status)(self.0) }
    }

    pub fn rollback(&self, n: usize) -> i32 {
        unsafe { (plugin().rollback)(self.0, n) }
    }

    pub fn set_alpha(&self, alpha: f32) -> i32 {
        unsafe { (plugin().set_alpha)(self.0, alpha) }
    }

    /// What it makes of a row of zeros: the offset.
    pub fn offset(&self) -> Vec<f32> {
        let mut row = Candidates::zeros();
        self.apply(&mut row);
        assert_eq!(self.status(), 0, "{}", words());
        row.logits()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        unsafe {
            self.table().free.expect("a slot")(self.0);
            drop(Box::from_raw(self.0));
        }
        N_SHELLS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// llama.cpp's array of candidates.
pub struct Candidates {
    pub data: Vec<llama_token_data>,
    pub array: llama_token_data_array,
}

impl Candidates {
    pub fn of(logits: impl IntoIterator<Item = (i32, f32)>) -> Self {
        let data = logits.into_iter().map(|(id, logit)| llama_token_data { id, logit, p: 0.0 }).collect();
        let array = llama_token_data_array { data: std::ptr::null_mut(), size: 0, selected: -1, sorted: false };
        Self { data, array }
    }

    pub fn zeros() -> Self {
        Self::of((0..N_VOCAB as i32).map(|id| (id, 0.0)))
    }

    fn raw(&mut self) -> *mut llama_token_data_array {
        (self.array.data, self.array.size) = (self.data.as_mut_ptr(), self.data.len());
        &raw mut self.array
    }

    pub fn logits(&self) -> Vec<f32> {
        self.data[..self.array.size].iter().map(|candidate| candidate.logit).collect()
    }
}

pub const N_VOCAB: usize = 300;

/// A trio of tiny random models.
pub struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        for (name, seed) in [("base", 1), ("expert", 2), ("antiexpert", 3)] {
            files.write(name, &Spec { seed, ..Spec::tiny() });
        }
        files
    }

    pub fn write(&self, name: &str, spec: &Spec) -> PathBuf {
        spec.write(&self.path(name)).expect("writable");
        self.path(name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("gguf")
    }

    pub fn params(&self) -> Params {
        let mut params = Params::trio(&self.path("base"), &self.path("expert"), &self.path("antiexpert"));
        params.raw.sampler_init = sampler_init as *mut c_void;
        params
    }

    pub fn pair(&self) -> Pair {
        pair(&self.params()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The rows of the two behind their texts, by a llama.cpp of the host's.
    pub fn expected(&self, expert: &[i32], antiexpert: &[i32], alpha: f32) -> Vec<f32> {
        let expert = row_behind(&self.path("expert"), expert);
        let antiexpert = row_behind(&self.path("antiexpert"), antiexpert);
        expert.iter().zip(antiexpert).map(|(e, a)| alpha * (e - a)).collect()
    }
}

pub fn row_behind(path: &Path, tokens: &[i32]) -> Vec<f32> {
    proxytune::llama::log::capture(false);
    let backend = backend::shared().expect("a backend");
    let model = Model::load(&backend, path, &ModelParams::default(), |_| true).expect("it loads");
    let params = ContextParams { n_ctx: 256, n_threads: 1, ..ContextParams::default() };
    let mut context = Context::new(Arc::new(model), &params).expect("a context");
    context.decode(tokens, Outputs::Last).expect("it decodes");
    context.row(0, 0).expect("a row").to_vec()
}

/// How far two rows are apart, as a share of their size.
pub fn distance(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let norm = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>().sqrt();
    let difference = norm(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    difference / norm(&mut expected.iter().copied()).max(f32::MIN_POSITIVE)
}

/// The cache is in half precision, and sums over it depend on how cells lie and tokens come.
const ROUNDING: f32 = 0.015;

/// Whether two rows are the same up to rounding.
#[track_caller]
pub fn assert_near(got: &[f32], expected: &[f32]) {
    let distance = distance(got, expected);
    assert!(distance < ROUNDING, "{distance}");
}

#[test]
fn texts_are_told_apart() {
    let files = Files::new();
    let text: Vec<i32> = (0..40).collect();
    let expected = files.expected(&text, &text, 1.0);
    let mut swapped = text.clone();
    swapped.swap(10, 11);
    let mut changed = text.clone();
    changed[20] = 299;
    for other in [&text[1..], &text[..39], &swapped, &changed] {
        let distance = distance(&files.expected(other, other, 1.0), &expected);
        assert!(distance > 1.5 * ROUNDING, "{distance}");
    }
}
