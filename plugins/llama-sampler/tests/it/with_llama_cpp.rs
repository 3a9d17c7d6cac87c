//! In the chain of a real llama.cpp, which is linked into this binary, on the bundled trio: the tokens are those that
//! proxytune itself chooses.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use llama_cpp_sys_2 as sys;
use proxytune::engine::Engine;
use proxytune::generate::{Answer, Draft, Request};
use proxytune::llama::backend;
use proxytune::llama::context::ContextParams;
use proxytune::recipe::Schedule;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, ModelSource, Models, PairPlan, Plan};
use proxytune_sampler::PT_BOTH;
use proxytune_sampler::error::PT_ERROR_VOCABULARY;

use crate::plugin::{Pair, Params, pair, plugin, words};

const PROMPT: &str = "Once upon a time there was a little girl";
const N_PREDICT: usize = 48;

fn file(role: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo").join(role).with_extension("gguf")
}

/// What the program chooses, with what of llama.cpp's samplers.
fn by_proxytune(sampling: Sampling) -> Vec<i32> {
    let source = |role| {
        let context = ContextParams { n_ctx: 256, n_threads: 1, ..ContextParams::default() };
        ModelSource { context, ..ModelSource::new(file(role)) }
    };
    let side = |role| Some(source(role).into());
    let pair = PairPlan {
        alpha: Schedule::constant(1.0),
        expert: side("expert"),
        antiexpert: side("antiexpert"),
        ..PairPlan::default()
    };
    let plan = Plan { pairs: vec![pair], ..Plan::alone(source("base")) };
    let backend = backend::shared().expect("a backend");
    let ensemble = Ensemble::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true).expect("it loads");
    let request = Request { sampling, n_predict: Some(N_PREDICT), draft: Draft::off(), ..Request::prompt(PROMPT) };
    let (stop, mut answer) = (AtomicBool::new(false), Answer::default());
    Engine::inline(ensemble).run(&request, &stop, &mut answer, |_, _| Ok(())).expect("nothing is written");
    assert_eq!(answer.failure, None);
    answer.tokens
}

/// A host as llama.cpp's examples are: model and context of the base, through llama.cpp's C functions.
struct Host {
    model: *mut sys::llama_model,
    context: *mut sys::llama_context,
}

impl Host {
    fn new() -> Self {
        proxytune::llama::log::capture(false);
        drop(backend::shared().expect("a backend"));
        let path = CString::new(file("base").to_str().expect("UTF-8")).expect("no NUL");
        unsafe {
            let model = sys::llama_model_load_from_file(path.as_ptr(), sys::llama_model_default_params());
            let mut params = sys::llama_context_default_params();
            (params.n_ctx, params.n_threads, params.n_threads_batch) = (256, 1, 1);
            let context = sys::llama_init_from_model(model, params);
            assert!(!context.is_null());
            Self { model, context }
        }
    }

    fn vocab(&self) -> *const sys::llama_vocab {
        unsafe { sys::llama_model_get_vocab(self.model) }
    }

    fn prompt(&self) -> Vec<i32> {
        let (text, mut tokens) = (PROMPT.as_ptr().cast(), vec![0; 64]);
        let n = unsafe {
            sys::llama_tokenize(self.vocab(), text, PROMPT.len() as i32, tokens.as_mut_ptr(), 64, true, false)
        };
        tokens.truncate(usize::try_from(n).expect("tokens"));
        tokens
    }

    fn decode(&self, tokens: &mut [i32]) {
        unsafe {
            let batch = sys::llama_batch_get_one(tokens.as_mut_ptr(), tokens.len() as i32);
            assert_eq!(sys::llama_decode(self.context, batch), 0);
        }
    }

    fn forget(&self) {
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.context), true) };
    }

    /// Samples behind the prompt, which the stage knows already.
    fn generate(&self, chain: *mut sys::llama_sampler, stage: *const sys::llama_sampler, n: usize) -> Vec<i32> {
        let mut tokens = Vec::new();
        self.decode(&mut self.prompt());
        while tokens.len() < n {
            // Accepts, too.
            let token = unsafe { sys::llama_sampler_sample(chain, self.context, -1) };
            assert_eq!(unsafe { (plugin().status)(stage) }, 0, "{}", words());
            tokens.push(token);
            if unsafe { sys::llama_vocab_is_eog(self.vocab(), token) } {
                break;
            }
            self.decode(&mut [token]);
        }
        tokens
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        unsafe {
            sys::llama_free(self.context);
            sys::llama_model_free(self.model);
        }
    }
}

/// A chain with the stage among these.
struct Chain {
    chain: *mut sys::llama_sampler,
    stage: *mut sys::llama_sampler,
}

impl Chain {
    fn new(pair: &Pair, before: &[*mut sys::llama_sampler], after: &[*mut sys::llama_sampler]) -> Self {
        let mut stage = std::ptr::null_mut();
        unsafe {
            assert_eq!((plugin().stage_new)(pair.0, &raw mut stage), 0, "{}", words());
            let chain = sys::llama_sampler_chain_init(sys::llama_sampler_chain_default_params());
            for &sampler in before.iter().chain([&stage]).chain(after) {
                sys::llama_sampler_chain_add(chain, sampler);
            }
            Self { chain, stage }
        }
    }

    fn feed(&self, tokens: &[i32]) {
        assert_eq!(unsafe { (plugin().feed)(self.stage, PT_BOTH, tokens.as_ptr(), tokens.len()) }, 0, "{}", words());
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        unsafe { sys::llama_sampler_free(self.chain) };
    }
}

fn params() -> Params {
    let mut params = Params::trio(&file("base"), &file("expert"), &file("antiexpert"));
    params.raw.sampler_init = sys::llama_sampler_init as *mut c_void;
    params
}

fn greedy() -> *mut sys::llama_sampler {
    unsafe { sys::llama_sampler_init_greedy() }
}

#[test]
fn greedy_tokens_are_those_of_the_program() {
    let expected = by_proxytune(Sampling::greedy());
    let (host, pair) = (Host::new(), pair(&params()).expect("it loads"));
    let chain = Chain::new(&pair, &[], &[greedy()]);
    chain.feed(&host.prompt());
    assert_eq!(host.generate(chain.chain, chain.stage, N_PREDICT), expected);

    // After a reset of the chain, with the prompt accepted token by token.
    unsafe { sys::llama_sampler_reset(chain.chain) };
    host.forget();
    for token in host.prompt() {
        unsafe { sys::llama_sampler_accept(chain.chain, token) };
    }
    assert_eq!(host.generate(chain.chain, chain.stage, N_PREDICT), expected);

    // A fresh chain for each call, as some hosts have it.
    drop(chain);
    for _ in 0..6 {
        host.forget();
        let chain = Chain::new(&pair, &[], &[greedy()]);
        chain.feed(&host.prompt());
        assert_eq!(host.generate(chain.chain, chain.stage, 8), expected[..8]);
    }
}

#[test]
fn samplers_before_and_after_it() {
    let sampling = Sampling {
        samplers: "penalties;proxy;top_k;min_p;temperature".parse().expect("names"),
        repeat_penalty: 1.3,
        repeat_last_n: 32,
        top_k: 20,
        min_p: 0.05,
        temp: 0.9,
        seed: Some(7),
        ..Sampling::greedy()
    };
    let expected = by_proxytune(sampling);
    let (host, pair) = (Host::new(), pair(&params()).expect("it loads"));
    let n_vocab = unsafe { sys::llama_vocab_n_tokens(host.vocab()) };
    let chain = unsafe {
        let before = [sys::llama_sampler_init_penalties(n_vocab, 32, 1.3, 0.0, 0.0)];
        let after = [
            sys::llama_sampler_init_top_k(20),
            sys::llama_sampler_init_min_p(0.05, 0),
            sys::llama_sampler_init_temp_ext(0.9, 0.0, 1.0),
            sys::llama_sampler_init_dist(7),
        ];
        Chain::new(&pair, &before, &after)
    };
    // The program's penalties see the prompt.
    for token in host.prompt() {
        unsafe { sys::llama_sampler_accept(chain.chain, token) };
    }
    assert_eq!(host.generate(chain.chain, chain.stage, N_PREDICT), expected);
}

#[test]
fn a_cloned_chain_and_a_copied_sampler_go_on_alike() {
    let expected = by_proxytune(Sampling::greedy());
    let (host, pair) = (Host::new(), pair(&params()).expect("it loads"));
    let chain = Chain::new(&pair, &[], &[greedy()]);
    chain.feed(&host.prompt());
    let half = host.generate(chain.chain, chain.stage, 20);
    let clone = unsafe {
        let clone = sys::llama_sampler_clone(chain.chain);
        Chain { chain: clone, stage: sys::llama_sampler_chain_get(clone, 0) }
    };
    drop(chain);
    let mut rest = Vec::new();
    for _ in half.len()..N_PREDICT.min(expected.len()) {
        let token = unsafe { sys::llama_sampler_sample(clone.chain, host.context, -1) };
        assert_eq!(unsafe { (plugin().status)(clone.stage) }, 0, "{}", words());
        rest.push(token);
        host.decode(&mut [token]);
    }
    assert_eq!([half, rest].concat(), expected);

    // llama_sampler_copy frees one's context and puts a clone of the other's in its place.
    let other = Chain::new(&pair, &[], &[greedy()]);
    unsafe { sys::llama_sampler_copy(clone.stage, other.stage) };
    drop(clone);
    assert_eq!(unsafe { (plugin().status)(other.stage) }, 0, "{}", words());
    unsafe {
        sys::llama_sampler_sample(other.chain, host.context, -1);
        assert_eq!((plugin().status)(other.stage), 0, "{}", words());
    }
}

/// The vocabulary of a llama.cpp model, by the callback.
unsafe extern "C" fn token(
    data: *mut c_void,
    id: i32,
    text: *mut *const c_char,
    n_text: *mut usize,
    attr: *mut i32,
) -> i32 {
    unsafe {
        let vocab = data.cast_const().cast::<sys::llama_vocab>();
        *text = sys::llama_vocab_get_text(vocab, id);
        *n_text = CStr::from_ptr(*text).to_bytes().len();
        *attr = sys::llama_vocab_get_attr(vocab, id) as i32;
    }
    0
}

unsafe extern "C" fn changed(
    data: *mut c_void,
    id: i32,
    text: *mut *const c_char,
    n_text: *mut usize,
    attr: *mut i32,
) -> i32 {
    unsafe {
        let status = token(data, id, text, n_text, attr);
        if id == 1000 {
            (*text, *n_text) = (c"another".as_ptr(), 7);
        }
        if id == 2000 { 3 } else { status }
    }
}

#[test]
fn the_hosts_vocabulary_by_callback() {
    let host = Host::new();
    let mut params = params();
    params.raw.base_path = std::ptr::null();
    params.raw.n_vocab = unsafe { sys::llama_vocab_n_tokens(host.vocab()) };
    params.raw.token = Some(token);
    params.raw.token_data = host.vocab().cast_mut().cast();
    let loaded = pair(&params).unwrap_or_else(|error| panic!("{error:?}"));
    let chain = Chain::new(&loaded, &[], &[greedy()]);
    chain.feed(&host.prompt());
    assert_eq!(host.generate(chain.chain, chain.stage, 16), by_proxytune(Sampling::greedy())[..16]);

    params.raw.token = Some(changed);
    let (_, words) = pair(&params).err().expect("refused");
    assert!(words.contains("3 for token 2000"), "{words}");
    params.raw.n_vocab = 1500;
    let (status, words) = pair(&params).err().expect("refused");
    assert_eq!(status, PT_ERROR_VOCABULARY, "{words}");
    assert!(words.contains("\"another\""), "{words}");
    params.raw.n_vocab = 0;
    assert!(pair(&params).err().expect("refused").1.contains("n_vocab is 0"));
}

#[test]
fn a_recipe_brings_its_base_and_alpha() {
    let mut params = Params::new().with(|p| &mut p.recipe, &file("recipe").with_extension("toml"));
    params.raw.sampler_init = sys::llama_sampler_init as *mut c_void;
    let (host, pair) = (Host::new(), pair(&params).unwrap_or_else(|error| panic!("{error:?}")));
    let chain = Chain::new(&pair, &[], &[greedy()]);
    chain.feed(&host.prompt());
    unsafe { assert_eq!((plugin().set_alpha)(chain.stage, 1.0), 0) };
    assert_eq!(host.generate(chain.chain, chain.stage, 24), by_proxytune(Sampling::greedy())[..24]);
}
