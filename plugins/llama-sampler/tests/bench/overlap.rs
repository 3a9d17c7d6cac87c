//! Does the pair's decoding overlap the host's? A token with both at once against the same one after the other,
//! position by position, on a trio of realistic size with random weights: a thread for each, on two cores.
//!
//!     cargo bench --profile dev -p proxytune-sampler

#![allow(clippy::cast_precision_loss, clippy::cast_possible_wrap, clippy::cast_possible_truncation)]
#![allow(clippy::undocumented_unsafe_blocks)]

#[allow(dead_code, reason = "the tests write more kinds of files")]
#[path = "../../../../tests/support/gguf.rs"]
mod gguf;
#[path = "../../../../tests/bench/measured.rs"]
mod measured;
#[allow(dead_code, reason = "the tests look at more")]
#[path = "../it/plugin.rs"]
mod plugin;

use std::error::Error;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use llama_cpp_sys_2 as sys;
use proxytune::llama::context::{Context, ContextParams, Outputs};
use proxytune::llama::model::{Model, ModelParams};
use proxytune::llama::{backend, log};
use proxytune_sampler::PT_BOTH;

use gguf::{Kind, Spec, byte_tokens};
use measured::print;
use plugin::{Params, pair, plugin, words};

const N_POSITIONS: usize = 192;
const N_WARM_UP: usize = 16;
const N_VOCAB: usize = 32_000;

fn main() -> Result<(), Box<dyn Error>> {
    log::capture(false);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // As tests/bench/lockstep.rs has them: TinyLlama's shape for the base; a ninth of it for the pair.
    let small = |seed| Spec {
        n_ctx: 2048,
        n_embd: 768,
        n_layer: 10,
        n_head: 12,
        n_head_kv: 12,
        n_ff: 2048,
        kind: Kind::Q8_0,
        tokens: byte_tokens(N_VOCAB),
        seed,
        ..Spec::tiny()
    };
    let base = Spec { n_embd: 2048, n_layer: 22, n_head: 32, n_head_kv: 4, n_ff: 5632, kind: Kind::Q4_0, ..small(1) };
    let base = write(&folder, "base", &base)?;
    let (expert, antiexpert) = (write(&folder, "expert", &small(2))?, write(&folder, "antiexpert", &small(3))?);

    let mut params = Params::trio(&base, &expert, &antiexpert);
    (params.raw.n_ctx, params.raw.n_threads) = (2048, 1);
    params.raw.sampler_init = sys::llama_sampler_init as *mut c_void;
    let pair = pair(&params).map_err(|(_, words)| words)?;
    let mut stage = std::ptr::null_mut();
    check(unsafe { (plugin().stage_new)(pair.0, &raw mut stage) })?;

    let model = Arc::new(Model::load(&backend::shared()?, &base, &ModelParams::default(), |_| true)?);
    let context = ContextParams { n_ctx: 2048, n_threads: 1, ..ContextParams::default() };
    let mut host = Context::new(model.clone(), &context)?;
    let prompt = model.tokenize(&"A line of text to begin with. ".repeat(4))?;
    check(unsafe { (plugin().feed)(stage, PT_BOTH, prompt.as_ptr(), prompt.len()) })?;
    host.decode(&prompt, Outputs::Last)?;
    let mut token = choose(stage, &host)?;

    let (mut together, mut in_turn, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for position in 0..N_WARM_UP + N_POSITIONS {
        // Two tokens that cost the same, the second way first at every other position.
        let mut spent = [0.0; 2];
        for is_in_turn in [position % 2 == 0, position % 2 == 1] {
            let began = Instant::now();
            unsafe { sys::llama_sampler_accept(stage, token) };
            if is_in_turn {
                // Waits for the pair before the base begins.
                steer(stage, &mut candidates(&host)?)?;
            }
            host.decode(&[token], Outputs::All)?;
            token = choose(stage, &host)?;
            spent[usize::from(is_in_turn)] = began.elapsed().as_secs_f64();
        }
        if position >= N_WARM_UP {
            together.push(spent[0] * 1e3);
            in_turn.push(spent[1] * 1e3);
            ratios.push(spent[0] / spent[1]);
        }
    }
    unsafe { sys::llama_sampler_free(stage) };
    print("at once, ms a token", &mut together);
    print("one after the other, ms a token", &mut in_turn);
    print("at once / one after the other", &mut ratios);
    Ok(())
}

fn check(status: i32) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(words()) }
}

fn candidates(host: &Context) -> Result<Vec<sys::llama_token_data>, Box<dyn Error>> {
    let row = host.row(0, 0)?.iter().zip(0..);
    Ok(row.map(|(&logit, id)| sys::llama_token_data { id, logit, p: 0.0 }).collect())
}

fn steer(stage: *mut sys::llama_sampler, data: &mut [sys::llama_token_data]) -> Result<(), String> {
    let mut array =
        sys::llama_token_data_array { data: data.as_mut_ptr(), size: data.len(), selected: -1, sorted: false };
    unsafe { sys::llama_sampler_apply(stage, &raw mut array) };
    check(unsafe { (plugin().status)(stage) })
}

fn choose(stage: *mut sys::llama_sampler, host: &Context) -> Result<i32, Box<dyn Error>> {
    let mut data = candidates(host)?;
    steer(stage, &mut data)?;
    Ok(data.iter().max_by(|a, b| a.logit.total_cmp(&b.logit)).map_or(0, |best| best.id))
}

/// Writes a model unless it is there.
fn write(folder: &Path, name: &str, spec: &Spec) -> Result<PathBuf, Box<dyn Error>> {
    let path = folder.join(name).with_extension("gguf");
    if !path.is_file() {
        let part = path.with_extension("part");
        spec.write(&part)?;
        std::fs::rename(&part, &path)?;
    }
    Ok(path)
}
