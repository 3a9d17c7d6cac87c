//! What a host asks for, out of a C struct.

use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;

use proxytune::inspect::probe::Prober;
use proxytune::llama::backend::Backend;
use proxytune::llama::context::ContextParams;
use proxytune::llama::model::ModelParams;
use proxytune::llama::stage::Init;
use proxytune::recipe::schedule::check_alpha;
use proxytune::recipe::{ModelName, ModelSpec, PairSpec, Recipe, Schedule};
use proxytune::steer::{HostVocabulary, ModelSource, Plan, Texts};

use crate::error::Error;

/// A larger vocabulary is none.
const MAX_VOCAB: i32 = 1 << 20;
/// A longer token is none.
const MAX_TOKEN_BYTES: usize = 1 << 20;
/// `LLAMA_MAX_SEQ`, of which a pair on one file needs two for each stage.
const MAX_STAGES: i32 = 128;
/// A larger struct of parameters is none.
const MAX_SIZE: usize = 1 << 16;

/// Tells a token of the host's vocabulary: `*text` with `*n_text` bytes as llama_vocab_get_text() has it (it is read
/// before the next call), and `*attr` as llama_vocab_get_attr() has it. Returns 0; anything else stops the check.
#[allow(non_camel_case_types)]
pub type pt_token_fn = Option<
    unsafe extern "C" fn(
        data: *mut c_void,
        id: i32,
        text: *mut *const c_char,
        n_text: *mut usize,
        attr: *mut i32,
    ) -> i32,
>;

type TokenFn = unsafe extern "C" fn(*mut c_void, i32, *mut *const c_char, *mut usize, *mut i32) -> i32;

/// What a pair is. Fill it with pt_default_params(), then set what differs. Strings are UTF-8 and copied.
#[allow(non_camel_case_types)]
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct pt_params {
    /// sizeof(pt_params): later versions have more fields behind these.
    pub size: usize,
    /// A recipe's file or name, in place of expert and antiexpert. NULL: none.
    pub recipe: *const c_char,
    /// The GGUF file of the expert. NULL: none, the antiexpert alone is taken away.
    pub expert: *const c_char,
    /// The GGUF file of the antiexpert. NULL: none, the expert alone is added.
    pub antiexpert: *const c_char,
    /// How far to steer, -10 to 10. NAN: what the recipe says, or 1.
    pub alpha: f32,
    /// Before anything is added, drop candidates less probable to the base than this share of the best one: 0 to 1, 0
    /// drops none. Only before a temperature. NAN: what the recipe says, or 0.
    pub plausibility: f32,
    /// The address of the host's llama_sampler_init: its llama.cpp deletes what it made.
    pub sampler_init: *mut c_void,
    /// The base's GGUF file, of which the vocabulary is read. NULL: see token, or the recipe's base.
    pub base_path: *const c_char,
    /// Tokens in the host's vocabulary, as llama_vocab_n_tokens() has it; read where token is set.
    pub n_vocab: i32,
    /// Tells the host's vocabulary in place of base_path. NULL: see base_path. Called by pt_pair_new() alone.
    pub token: pt_token_fn,
    /// Passed to token.
    pub token_data: *mut c_void,
    /// Tokens that the pair holds for all stages together; what a clone has of its origin counts once. 0: 4096.
    pub n_ctx: i32,
    /// Most tokens in one decode. 0: 512.
    pub n_batch: i32,
    /// Threads of the pair, which run beside those of the host: together they should be as many as there are cores.
    /// 0: a quarter of the cores, at least one.
    pub n_threads: i32,
    /// Layers of expert and antiexpert on devices. -1: all.
    pub n_gpu_layers: i32,
    /// Most stages at once, clones among them. 0: 4.
    pub n_seq_max: i32,
    /// Not 0: take small models whose special tokens are not all the base's.
    pub allow_vocab_drift: u8,
    /// The program `proxytune` of this version, which then tries the files in a process of its own before they are
    /// loaded: llama.cpp ends its process on some damaged files. NULL: the program that the environment variable
    /// PROXYTUNE_PROBE names, or none.
    pub probe: *const c_char,
}

/// The size of the first version, which ends in front of `probe`.
const FIRST_SIZE: usize = std::mem::offset_of!(pt_params, probe);

/// Whether a struct of this size ends between two fields.
fn is_known_size(size: usize) -> bool {
    size == FIRST_SIZE || (size_of::<pt_params>()..=MAX_SIZE).contains(&size)
}

impl pt_params {
    pub fn defaults() -> Self {
        Self {
            size: size_of::<Self>(),
            recipe: std::ptr::null(),
            expert: std::ptr::null(),
            antiexpert: std::ptr::null(),
            alpha: f32::NAN,
            plausibility: f32::NAN,
            sampler_init: std::ptr::null_mut(),
            base_path: std::ptr::null(),
            n_vocab: 0,
            token: None,
            token_data: std::ptr::null_mut(),
            n_ctx: 0,
            n_batch: 0,
            n_threads: 0,
            n_gpu_layers: -1,
            n_seq_max: 0,
            allow_vocab_drift: 0,
            probe: std::ptr::null(),
        }
    }

    /// Fills the `size` bytes of a host that may know fewer or more fields; what later versions have is zero.
    ///
    /// # Safety
    /// `params` is NULL, or `size` bytes can be written there.
    pub unsafe fn fill(params: *mut Self, size: usize) -> Result<(), Error> {
        if params.is_null() || !params.is_aligned() {
            return Err(Error::argument("params", "NULL or misaligned", "a pt_params"));
        }
        if !is_known_size(size) {
            return Err(Error::argument("size", size, size_of::<Self>()));
        }
        let filled = Self { size, ..Self::defaults() };
        let known = size.min(size_of::<Self>());
        // SAFETY: there is room for `size` bytes, of which the first `known` are a struct's.
        unsafe {
            params.cast::<u8>().write_bytes(0, size);
            (&raw const filled).cast::<u8>().copy_to_nonoverlapping(params.cast(), known);
        }
        Ok(())
    }

    /// The struct behind a pointer of a host that may know fewer or more fields.
    ///
    /// # Safety
    /// `params` is NULL, or points to `size` bytes.
    pub unsafe fn read(params: *const Self) -> Result<Self, Error> {
        if params.is_null() || !params.is_aligned() {
            return Err(Error::argument("params", "NULL or misaligned", "a pt_params"));
        }
        // SAFETY: the size comes first in every version.
        let size = unsafe { params.cast::<usize>().read() };
        if !is_known_size(size) {
            let expected = format!("{}; see pt_default_params()", size_of::<Self>());
            return Err(Error::argument("params.size", size, expected));
        }
        let known = size.min(size_of::<Self>());
        // SAFETY: as the host says, there are `size` bytes.
        let later = unsafe { std::slice::from_raw_parts(params.cast::<u8>().add(known), size - known) };
        if later.iter().any(|&byte| byte != 0) {
            let expected = "no field that this version of the plugin does not know";
            return Err(Error::argument("params", "of a later version", expected));
        }
        let mut read = Self::defaults();
        // SAFETY: `known` bytes are there and fit, and any bits are valid in its fields.
        unsafe { params.cast::<u8>().copy_to_nonoverlapping((&raw mut read).cast(), known) };
        Ok(read)
    }
}

/// What a host asks for.
pub struct Wanted {
    pub recipe: Recipe,
    pub base: HostVocabulary,
    pub defaults: ModelSource,
    pub init: Init,
    pub n_stages: usize,
    pub allow_drift: bool,
    pub prober: Option<Prober>,
}

impl Wanted {
    /// Checks a host's parameters, and reads its vocabulary.
    ///
    /// # Safety
    /// Strings are NULL or NUL-terminated, `sampler_init` is NULL or llama.cpp's function, and `token` may be called.
    pub unsafe fn of(params: &pt_params) -> Result<Self, Error> {
        // SAFETY: as the caller promises.
        let text = |name, text| unsafe { string(name, text) };
        if params.sampler_init.is_null() {
            return Err(Error::argument("sampler_init", "NULL", "the address of the host's llama_sampler_init"));
        }
        // SAFETY: as the caller promises.
        let init = unsafe { std::mem::transmute::<*mut c_void, Init>(params.sampler_init) };

        let base_path = text("base_path", params.base_path)?.map(PathBuf::from);
        let named = text("recipe", params.recipe)?;
        let sides = (text("expert", params.expert)?, text("antiexpert", params.antiexpert)?);
        let mut recipe = match (named, sides) {
            (Some(name), (None, None)) => Recipe::open(&name)?,
            (Some(_), _) => {
                return Err(Error::argument("recipe", "given beside expert or antiexpert", "one or the other"));
            }
            (None, (None, None)) => return Err(Error::argument("expert", "NULL", "a file, an antiexpert or a recipe")),
            (None, (expert, antiexpert)) => {
                let spec = |path: String| ModelSpec::from(ModelName::from(PathBuf::from(path)));
                let (expert, antiexpert) = (expert.map(spec), antiexpert.map(spec));
                let base = ModelSpec::file(base_path.clone().unwrap_or_default());
                Recipe { pairs: vec![PairSpec { expert, antiexpert, ..PairSpec::default() }], ..Recipe::bare(base) }
            }
        };
        if recipe.pairs.is_empty() {
            return Err(Error::argument("recipe", "a base by itself", "at least one pair"));
        }
        if !params.alpha.is_nan() {
            check_alpha(params.alpha)?;
            recipe.pairs.iter_mut().for_each(|pair| pair.set_alpha(Schedule::constant(params.alpha)));
        }
        if !params.plausibility.is_nan() {
            recipe.sampling.plausibility = params.plausibility;
        }
        recipe.validate()?;

        let base = match (params.token, base_path, &recipe.base.model) {
            (Some(token), ..) => read_vocabulary(params, token)?,
            (None, Some(path), _) => HostVocabulary::File(path),
            (None, None, ModelName::File(path)) if !path.as_os_str().is_empty() => HostVocabulary::File(path.clone()),
            _ => {
                let expected = "the base's file, or token with n_vocab: the vocabularies have to be compared";
                return Err(Error::argument("base_path", "NULL", expected));
            }
        };
        let or = |name, value: i32, default: usize, most: i32| match value {
            0 => Ok(default),
            value if (1..=most).contains(&value) => Ok(value as usize),
            value => Err(Error::argument(name, value, format!("1 to {most}, or 0 for {default}"))),
        };
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let context = ContextParams {
            n_ctx: or("n_ctx", params.n_ctx, 4096, 1 << 24)?,
            n_batch: or("n_batch", params.n_batch, 512, 1 << 24)?,
            n_threads: or("n_threads", params.n_threads, (n_cores / 4).max(1), 512)?,
            // Behind the last token of each stage.
            n_outputs_max: 1,
            ..ContextParams::default()
        };
        let n_gpu_layers = match params.n_gpu_layers {
            -1 => None,
            n => Some(u32::try_from(n).map_err(|_| Error::argument("n_gpu_layers", n, "0 or more, or -1 for all"))?),
        };
        let model = ModelParams { n_gpu_layers, ..ModelParams::default() };
        let n_stages = or("n_seq_max", params.n_seq_max, 4, MAX_STAGES)?;
        let defaults = ModelSource { context, model, ..ModelSource::new("") };
        let prober = text("probe", params.probe)?.map(Prober::proxytune).or_else(Prober::from_env);
        Ok(Self { recipe, base, defaults, init, n_stages, allow_drift: params.allow_vocab_drift != 0, prober })
    }

    pub fn plan(self, backend: &Backend) -> Result<Plan, Error> {
        let plan = Plan::of_recipe_beside(&self.recipe, self.base, &self.defaults, backend)?;
        Ok(Plan { allow_drift: self.allow_drift, texts: Texts::sharing(self.n_stages, 1), ..plan })
    }
}

/// # Safety
/// `text` is NULL or NUL-terminated.
unsafe fn string(name: &'static str, text: *const c_char) -> Result<Option<String>, Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    let text = text.to_str().map_err(|_| Error::argument(name, format!("{text:?}"), "UTF-8"))?;
    if text.is_empty() {
        return Err(Error::argument(name, "empty", "a path, or NULL"));
    }
    Ok(Some(text.to_owned()))
}

/// Reads the host's vocabulary, token by token.
fn read_vocabulary(params: &pt_params, token: TokenFn) -> Result<HostVocabulary, Error> {
    if !(1..=MAX_VOCAB).contains(&params.n_vocab) {
        return Err(Error::argument("n_vocab", params.n_vocab, format!("1 to {MAX_VOCAB}")));
    }
    let read = |id: i32| {
        let (mut text, mut n_text, mut attr) = (std::ptr::null(), 0, 0);
        // SAFETY: the host gave the function for this, and the places live through the call.
        let status = unsafe { token(params.token_data, id, &raw mut text, &raw mut n_text, &raw mut attr) };
        if status != 0 {
            return Err(Error::argument("token", format!("{status} for token {id}"), "0"));
        }
        if n_text > MAX_TOKEN_BYTES || (text.is_null() && n_text > 0) {
            return Err(Error::argument("token", format!("no text of {n_text} bytes for token {id}"), "its text"));
        }
        let bytes = match n_text {
            0 => &[],
            // SAFETY: the host says that as many bytes are there until the next call.
            _ => unsafe { std::slice::from_raw_parts(text.cast::<u8>(), n_text) },
        };
        Ok((bytes.into(), attr as u32))
    };
    (0..params.n_vocab).map(read).collect::<Result<_, _>>().map(HostVocabulary::Tokens)
}
