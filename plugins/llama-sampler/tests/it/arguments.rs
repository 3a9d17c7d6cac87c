//! Arguments that are not valid: a status and the reason, and nothing else happens.

use std::ffi::{CStr, c_void};
use std::path::Path;
use std::ptr::null_mut;

use proxytune_sampler::error::{
    PT_ERROR_ARGUMENT as ARGUMENT, PT_ERROR_LOAD as LOAD, PT_ERROR_VOCABULARY as VOCABULARY,
};
use proxytune_sampler::params::pt_params;
use proxytune_sampler::{PT_ABI_VERSION, PT_BOTH};

use crate::gguf::{Spec, Value};
use crate::host::{Files, Sampler, sampler_init};
use crate::plugin::{Params, pair, plugin, words};

#[test]
fn versions() {
    unsafe {
        assert_eq!((plugin().abi_version)(), PT_ABI_VERSION);
        assert_eq!(CStr::from_ptr((plugin().version)()).to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}

#[track_caller]
fn assert_refused(params: &Params, status: i32, reason: &str) {
    match pair(params) {
        Ok(_) => panic!("it was taken"),
        Err((got, words)) => {
            assert!(words.contains(reason), "{words:?} does not say {reason:?}");
            assert_eq!(got, status, "{words}");
        }
    }
}

type Change = fn(&mut pt_params);

#[test]
fn parameters_that_are_not_valid() {
    let files = Files::new();
    let changes: [(Change, &str); 16] = [
        (|p| p.size = 8, "params.size is 8"),
        (|p| p.size = 0, "params.size is 0"),
        (|p| p.size = usize::MAX, "params.size is"),
        (|p| p.sampler_init = null_mut(), "llama_sampler_init"),
        (|p| p.alpha = f32::INFINITY, "alpha"),
        (|p| p.alpha = -10.5, "-10.5"),
        (|p| p.plausibility = 2.0, "plausibility"),
        (|p| p.base_path = std::ptr::null(), "vocabularies have to be compared"),
        (|p| p.n_ctx = -1, "n_ctx is -1"),
        (|p| p.n_batch = i32::MAX, "n_batch is 2147483647"),
        (|p| p.n_threads = 513, "n_threads is 513"),
        (|p| p.n_gpu_layers = -2, "n_gpu_layers is -2"),
        (|p| p.n_seq_max = 129, "n_seq_max is 129"),
        (|p| (p.expert, p.antiexpert) = (std::ptr::null(), std::ptr::null()), "a file, an antiexpert or a recipe"),
        (|p| p.expert = c"".as_ptr(), "expert is empty"),
        (|p| p.expert = c"\xff.gguf".as_ptr(), "UTF-8"),
    ];
    for (change, reason) in changes {
        let mut params = files.params();
        change(&mut params.raw);
        assert_refused(&params, ARGUMENT, reason);
    }
    let (params, mut pair, mut stage) = (files.params(), null_mut(), null_mut());
    unsafe {
        assert_eq!((plugin().pair_new)(std::ptr::null(), &raw mut pair), ARGUMENT);
        assert_eq!((plugin().pair_new)(&raw const params.raw, null_mut()), ARGUMENT);
        assert_eq!((plugin().default_params)(null_mut(), size_of::<pt_params>()), ARGUMENT);
        assert_eq!((plugin().stage_new)(null_mut(), &raw mut stage), ARGUMENT);
        (plugin().pair_free)(null_mut());
    }
}

#[test]
fn a_host_of_a_later_version_may_leave_what_this_one_does_not_know() {
    #[repr(C)]
    struct Later {
        known: pt_params,
        new: u64,
    }
    let files = Files::new();
    let params = files.params();
    let mut later = Later { known: params.raw, new: 1 };
    let fill = unsafe { (plugin().default_params)((&raw mut later).cast(), size_of::<Later>()) };
    assert_eq!((fill, later.known.size, later.new), (0, size_of::<Later>(), 0));
    later.known = pt_params { size: size_of::<Later>(), ..params.raw };
    let mut pair = null_mut();
    assert_eq!(unsafe { (plugin().pair_new)((&raw const later).cast(), &raw mut pair) }, 0, "{}", words());
    unsafe { (plugin().pair_free)(pair) };
    later.new = 1;
    assert_eq!(unsafe { (plugin().pair_new)((&raw const later).cast(), &raw mut pair) }, ARGUMENT);
}

/// The struct of the first version ended in front of `probe`.
#[test]
fn a_host_of_an_earlier_version_may_know_less() {
    const EARLIER: usize = std::mem::offset_of!(pt_params, probe);
    let files = Files::new();
    let params = files.params();
    let mut room = Params::new();
    room.raw.probe = std::ptr::dangling();
    assert_eq!(unsafe { (plugin().default_params)(&raw mut room.raw, EARLIER) }, 0);
    assert_eq!((room.raw.size, room.raw.n_gpu_layers, room.raw.probe), (EARLIER, -1, std::ptr::dangling()));
    let raw = pt_params { size: EARLIER, probe: std::ptr::dangling(), ..params.raw };
    let mut pair = null_mut();
    assert_eq!(unsafe { (plugin().pair_new)(&raw const raw, &raw mut pair) }, 0, "{}", words());
    unsafe { (plugin().pair_free)(pair) };
    for size in [EARLIER - 1, EARLIER + 4] {
        room.raw.size = size;
        assert_refused(&room, ARGUMENT, "params.size is");
    }
}

#[test]
fn a_file_that_ends_llama_cpp_ends_the_probe() {
    let files = Files::new();
    let proxytune = crate::plugin::proxytune();
    let with = |path| files.params().with(|p| &mut p.probe, path);
    drop(pair(&with(&proxytune)).expect("they survive"));
    assert_refused(&with(Path::new("no/such/program")), LOAD, "could not be asked");
    // The header is well-formed, and the graph of qwen2 asserts that positions turn the whole of a head.
    let qwen2 = Spec { architecture: "qwen2".to_owned(), ..Spec::tiny() };
    let fatal = qwen2.with(".rope.dimension_count", Value::U32(16));
    fatal.write(&files.path("expert")).expect("writable");
    assert_refused(&with(&proxytune), LOAD, "llama.cpp does not survive this file");
}

#[test]
fn the_base_is_the_hosts() {
    let files = Files::new();
    let mut params = files.params();
    params.raw.antiexpert = c"base".as_ptr();
    assert_refused(&params, ARGUMENT, "the antiexpert is the base, which the host runs");
    let params = files.params().with(|p| &mut p.expert, &files.path("base"));
    assert_refused(&params, ARGUMENT, "the expert is the base, which the host runs");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/");
    for (recipe, reason) in [
        ("guidance.toml", "which the host runs"),
        ("base-antiexpert.toml", "which the host runs"),
        ("nothing.toml", "nothing.toml"),
    ] {
        let path = std::path::Path::new(demo).join(recipe);
        let mut params = Params::new().with(|p| &mut p.recipe, &path);
        params.raw.sampler_init = sampler_init as *mut c_void;
        assert_refused(&params, if recipe == "nothing.toml" { LOAD } else { ARGUMENT }, reason);
        params.raw.expert = c"expert.gguf".as_ptr();
        assert_refused(&params, ARGUMENT, "beside expert or antiexpert");
    }
}

#[test]
fn files_that_are_missing_or_damaged() {
    let files = Files::new();
    let params = files.params().with(|p| &mut p.expert, &files.path("missing"));
    assert_refused(&params, LOAD, "missing.gguf");
    std::fs::write(files.path("damaged"), "no model").expect("writable");
    let params = files.params().with(|p| &mut p.antiexpert, &files.path("damaged"));
    assert_refused(&params, LOAD, "damaged.gguf");
    let params = files.params().with(|p| &mut p.base_path, &files.path("missing"));
    assert_refused(&params, LOAD, "base: ");
    // What would end the host at the first token is refused by its header, without a probe.
    let mut tensors = Spec::tiny().tensors();
    tensors[1].kind = crate::gguf::Kind::Other { id: 24, block: 1, bytes: 1 };
    let integers = files.path("integers");
    Spec::tiny().write_part(&integers, &Spec::tiny().metadata(), &tensors).expect("writable");
    let unaligned = files.write("unaligned", &Spec::tiny().with("general.alignment", Value::U32(4)));
    for (path, reason) in [(integers, "which llama.cpp does not compute with"), (unaligned, "32 or more")] {
        assert_refused(&files.params().with(|p| &mut p.expert, &path), LOAD, reason);
    }
}

#[test]
fn another_vocabulary_is_refused_with_the_tokens_that_differ() {
    let files = Files::new();
    let mut other = Spec { seed: 3, ..Spec::tiny() };
    other.tokens[270].0 = "other".to_owned();
    let params = files.params().with(|p| &mut p.expert, &files.write("other", &other));
    assert_refused(&params, VOCABULARY, "id 270 is \"other\"");
    // Special tokens alone may differ where that is asked for.
    let mut drifted = Spec::tiny();
    drifted.tokens.push(("<special>".to_owned(), crate::gguf::TokenType::Control));
    let mut params = files.params().with(|p| &mut p.expert, &files.write("drifted", &drifted));
    assert_refused(&params, VOCABULARY, "allow_vocab_drift");
    params.raw.allow_vocab_drift = 1;
    assert!(pair(&params).is_ok());
}

#[test]
fn calls_on_stages_that_are_not_valid() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    let tokens = [1, 2, 3];
    let feed = |stage, role, tokens: *const i32, n| unsafe { (plugin().feed)(stage, role, tokens, n) };
    for role in [-1, 3, i32::MAX] {
        assert_eq!(feed(stage.0, role, tokens.as_ptr(), 3), ARGUMENT);
    }
    assert_eq!(feed(stage.0, PT_BOTH, std::ptr::null(), 3), ARGUMENT);
    assert_eq!(feed(stage.0, PT_BOTH, tokens.as_ptr(), usize::MAX / 2), ARGUMENT);
    for token in [-1, 300, i32::MIN] {
        assert_eq!(feed(stage.0, PT_BOTH, [1, token].as_ptr(), 2), ARGUMENT);
        assert!(words().contains(&token.to_string()), "{}", words());
    }
    assert_eq!(feed(stage.0, PT_BOTH, std::ptr::null(), 0), 0, "nothing is a text");
    // Another sampler: a table that is not the plugin's.
    let mut table = unsafe { *(*stage.0).iface };
    let other = Box::into_raw(Box::new(llama_cpp_sys_2::llama_sampler { iface: &raw mut table, ctx: null_mut() }));
    for wrong in [other, null_mut()] {
        assert_eq!(feed(wrong, PT_BOTH, tokens.as_ptr(), 3), ARGUMENT);
        unsafe {
            assert_eq!((plugin().status)(wrong), ARGUMENT);
            assert_eq!((plugin().rollback)(wrong, 1), ARGUMENT);
            assert_eq!((plugin().set_alpha)(wrong, 1.0), ARGUMENT);
        }
    }
    drop(unsafe { Box::from_raw(other) });
    assert_eq!(stage.status(), 0);
}
