//! A loaded GGUF file.

use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock};

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::kernels::{Isa, Kernels};
use super::overrides::{RawOverrides, TensorOverride};
use super::specials::Specials;
use super::spelling::Spelling;
use super::{Error, Token, log};
use crate::constraint::{Refused, Tokens};
use crate::gguf::Header;
use crate::parameter::OutOfRange;

/// Held while llama.cpp writes to a model: contexts being created, adapters coming and going.
pub(super) static MODEL_CHANGES: Mutex<()> = Mutex::new(());

/// How a file becomes a model. The defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelParams {
    /// Layers moved to devices, from the last one; `None` moves all that exist, and lets [`crate::inspect`] choose fewer.
    pub n_gpu_layers: Option<u32>,
    /// Indices from [`super::device`]; `None` uses all devices, an empty list none.
    pub devices: Option<Vec<usize>>,
    pub split_mode: SplitMode,
    pub main_gpu: u32,
    /// Share of the layers per device, in the order of the devices; empty lets llama.cpp decide.
    pub tensor_split: Vec<f32>,
    pub load_mode: LoadMode,
    /// Whose matrix products are used.
    pub kernels: Kernels,
    /// Repack weights for this CPU where that is faster and llama.cpp multiplies them.
    pub repack: bool,
    /// Read every tensor and refuse values that are not finite.
    pub check_tensors: bool,
    /// Tensors that go elsewhere than their layer; the first that matches counts.
    pub overrides: Vec<TensorOverride>,
}

impl ModelParams {
    /// The layers as llama.cpp writes them: -1 for `auto`, -2 for `all`.
    #[must_use]
    pub fn gpu_layers(&self) -> i32 {
        self.n_gpu_layers.map_or(-1, |n| i32::try_from(n).unwrap_or(-2))
    }
}

impl Default for ModelParams {
    fn default() -> Self {
        Self {
            n_gpu_layers: None,
            devices: None,
            split_mode: SplitMode::Layer,
            main_gpu: 0,
            tensor_split: Vec::new(),
            load_mode: LoadMode::Auto,
            kernels: Kernels::default(),
            repack: true,
            check_tensors: false,
            overrides: Vec::new(),
        }
    }
}

/// `--split-mode`: how a model is spread over several devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitMode {
    None,
    Layer,
    Row,
}

/// `--load-mode`: how weights get into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadMode {
    Auto,
    None,
    Mmap,
    Mlock,
    MmapMlock,
    DirectIo,
}

impl LoadMode {
    fn raw(self) -> sys::llama_load_mode {
        match self {
            Self::Auto => sys::LLAMA_LOAD_MODE_AUTO,
            Self::None => sys::LLAMA_LOAD_MODE_NONE,
            Self::Mmap => sys::LLAMA_LOAD_MODE_MMAP,
            Self::Mlock => sys::LLAMA_LOAD_MODE_MLOCK,
            Self::MmapMlock => sys::LLAMA_LOAD_MODE_MMAP_MLOCK,
            Self::DirectIo => sys::LLAMA_LOAD_MODE_DIRECT_IO,
        }
    }
}

/// How much of a file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// All but the weights: tensors and contexts are laid out and take no memory. Nothing can be decoded.
    Layout,
    Vocabulary,
}

/// One file's weights and vocabulary. Shared by every lane that uses the file.
#[derive(Debug)]
pub struct Model {
    raw: NonNull<sys::llama_model>,
    path: PathBuf,
    uses_devices: bool,
    is_on_devices: bool,
    n_layer_on_devices: usize,
    kernels: Option<Isa>,
    /// Known once it is asked for.
    pub(super) spelling: OnceLock<Spelling>,
    pub(super) specials: OnceLock<Specials>,
    spelled: OnceLock<Result<Tokens, Refused>>,
    _backend: Backend,
}

// SAFETY: after loading, llama.cpp only reads a `llama_model` (weights, hyper-parameters, vocabulary); the exceptions,
// contexts being created and adapters coming and going, are serialised by `MODEL_CHANGES`.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Loads the file at `path`. `progress` hears a share of 0 to 1 and answers whether to go on.
    pub fn load(
        backend: &Backend,
        path: &Path,
        params: &ModelParams,
        progress: impl FnMut(f32) -> bool,
    ) -> Result<Self, Error> {
        Self::open(backend, path, params, Extent::All, progress)
    }

    pub(super) fn open(
        backend: &Backend,
        path: &Path,
        params: &ModelParams,
        extent: Extent,
        mut progress: impl FnMut(f32) -> bool,
    ) -> Result<Self, Error> {
        let failed = |reason: &str| Error::Load { path: path.to_path_buf(), reason: reason.to_owned() };
        let c_path = path.to_str().ok_or_else(|| failed("its path is not UTF-8"))?;
        let c_path = CString::new(c_path).map_err(|_| failed("its path contains a NUL byte"))?;
        // What is wrong with a header is for llama.cpp to say, or for whoever checks before.
        let header = (extent != Extent::Vocabulary).then(|| Header::read(path).ok()).flatten();
        let kernels = header.and_then(|header| params.kernels.isa(&header));

        let mut devices: Vec<sys::ggml_backend_dev_t> = Vec::new();
        // SAFETY: the count bounds the indices that ggml accepts.
        let n_devices = unsafe { sys::ggml_backend_dev_count() };
        for &index in params.devices.iter().flatten() {
            if index >= n_devices {
                return Err(failed(&format!("there is no device {index}, only {n_devices}")));
            }
            // SAFETY: index < count.
            devices.push(unsafe { sys::ggml_backend_dev_get(index) });
        }
        devices.push(std::ptr::null_mut());
        // SAFETY: takes no argument.
        let n_split = unsafe { sys::llama_max_devices() };
        if params.tensor_split.len() > n_split {
            let n = params.tensor_split.len();
            return Err(failed(&format!("the tensor split names {n} devices, llama.cpp takes {n_split}")));
        }
        let mut tensor_split = params.tensor_split.clone();
        tensor_split.resize(n_split, 0.0);
        let overrides = RawOverrides::new(backend, &params.overrides, params.devices.as_deref())?;
        let mut cancelled = false;
        let mut report = |share| {
            let go_on = progress(share);
            cancelled |= !go_on;
            go_on
        };
        let mut report: &mut dyn FnMut(f32) -> bool = &mut report;

        // SAFETY: takes no argument.
        let mut c_params = unsafe { sys::llama_model_default_params() };
        c_params.n_gpu_layers = params.gpu_layers();
        if params.devices.is_some() {
            c_params.devices = devices.as_mut_ptr();
        }
        c_params.split_mode = match params.split_mode {
            SplitMode::None => sys::LLAMA_SPLIT_MODE_NONE,
            SplitMode::Layer => sys::LLAMA_SPLIT_MODE_LAYER,
            SplitMode::Row => sys::LLAMA_SPLIT_MODE_ROW,
        };
        c_params.main_gpu = i32::try_from(params.main_gpu).unwrap_or(i32::MAX);
        if !params.tensor_split.is_empty() {
            c_params.tensor_split = tensor_split.as_ptr();
        }
        c_params.tensor_buft_overrides = overrides.as_ptr();
        c_params.vocab_only = extent == Extent::Vocabulary;
        c_params.no_alloc = extent == Extent::Layout;
        // What is not loaded cannot be mapped.
        let load_mode = if extent == Extent::All { params.load_mode } else { LoadMode::None };
        c_params.load_mode = load_mode.raw();
        c_params.use_extra_bufts = params.repack && kernels.is_none();
        c_params.check_tensors = params.check_tensors && extent == Extent::All;
        c_params.progress_callback = Some(on_progress);
        c_params.progress_callback_user_data = (&raw mut report).cast();

        log::take_errors("");
        // SAFETY: the path is NUL-terminated; devices, split, overrides and callback data outlive the call, which copies
        // the first two and uses the others only while it runs.
        let raw = unsafe { sys::llama_model_load_from_file(c_path.as_ptr(), c_params) };
        let Some(raw) = NonNull::new(raw) else {
            let reason = log::take_errors("it gave no reason");
            return Err(if cancelled {
                Error::LoadCancelled
            } else if !params.overrides.is_empty() && reason.contains("regular expression") {
                OutOfRange::new("override-tensor", reason, "a regular expression as C++ has them").into()
            } else {
                failed(&reason)
            });
        };
        let no_devices = params.n_gpu_layers == Some(0) || params.devices.as_ref().is_some_and(Vec::is_empty);
        let uses_devices = !no_devices && !super::device::offload(backend).is_empty();
        // SAFETY: the model is valid.
        let n_layer = usize::try_from(unsafe { sys::llama_model_n_layer(raw.as_ptr()) }).unwrap_or(0);
        let asked_for = params.n_gpu_layers.map_or(usize::MAX, |n| n as usize);
        let n_layer_on_devices = if uses_devices { n_layer.min(asked_for) } else { 0 };
        // The output is a layer more, and the first to be moved.
        let is_on_devices = uses_devices && asked_for > n_layer;
        let (spelling, specials, spelled) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let model = Self {
            raw,
            path: path.to_path_buf(),
            uses_devices,
            is_on_devices,
            n_layer_on_devices,
            kernels,
            spelling,
            specials,
            spelled,
            _backend: backend.clone(),
        };
        model.check_generative()?;
        Ok(model)
    }

    /// Refuses what `llama_decode` cannot use: encoders, and files without a tokenizer.
    fn check_generative(&self) -> Result<(), Error> {
        // SAFETY: the model is valid.
        let (has_encoder, has_decoder, vocab_type) = unsafe {
            let model = self.raw.as_ptr();
            (
                sys::llama_model_has_encoder(model),
                sys::llama_model_has_decoder(model),
                sys::llama_vocab_type(self.vocab()),
            )
        };
        let reason = if has_encoder || !has_decoder {
            "it is an encoder or encoder-decoder, expected a decoder-only language model"
        } else if vocab_type == sys::LLAMA_VOCAB_TYPE_NONE {
            "it has no tokenizer"
        } else {
            return Ok(());
        };
        Err(Error::NotGenerative { path: self.path.clone(), reason })
    }

    /// Its tokens for forms of answers: made when the first form is asked for.
    pub(super) fn spelled(&self) -> Result<&Tokens, Error> {
        let bytes_of = |token: Token| {
            let mut bytes = Vec::new();
            self.append_piece(token, &mut bytes)?;
            // What writes nothing may have a name.
            let name = std::str::from_utf8(self.raw_text(token)).unwrap_or_default();
            Ok(if bytes.is_empty() && !name.is_empty() { Tokens::named(name) } else { bytes })
        };
        let made = self.spelled.get_or_init(|| {
            let bytes = (0..self.n_vocab() as Token).map(bytes_of).collect::<Result<Vec<_>, Error>>();
            Tokens::new(&bytes.map_err(|error| Refused::Step(error.to_string()))?)
        });
        made.as_ref().map_err(|refused| refused.clone().into())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The longest text the model was trained on, in tokens.
    #[must_use]
    pub fn n_ctx_train(&self) -> usize {
        // SAFETY: the model is valid.
        unsafe { sys::llama_model_n_ctx_train(self.raw.as_ptr()) }.try_into().unwrap_or(0)
    }

    #[must_use]
    pub fn n_params(&self) -> u64 {
        // SAFETY: the model is valid.
        unsafe { sys::llama_model_n_params(self.raw.as_ptr()) }
    }

    /// Whether all of them do, the output's among them.
    #[must_use]
    pub fn is_on_devices(&self) -> bool {
        self.is_on_devices
    }

    /// Layers that may live on devices, the output's not counted.
    #[must_use]
    pub fn n_layer_on_devices(&self) -> usize {
        self.n_layer_on_devices
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        // SAFETY: the model is valid.
        unsafe { sys::llama_model_size(self.raw.as_ptr()) }
    }

    /// The instructions that its matrices in main memory are multiplied with, if it is by our kernels.
    #[must_use]
    pub fn kernels(&self) -> Option<Isa> {
        self.kernels
    }

    /// Whether most of its weights are K-quants or i-quants, in blocks of 256.
    #[must_use]
    pub fn has_blocks_of_256(&self) -> bool {
        // SAFETY: the model is valid.
        let kind = unsafe { sys::llama_model_ftype(self.raw.as_ptr()) } & !sys::LLAMA_FTYPE_GUESSED;
        (sys::LLAMA_FTYPE_MOSTLY_Q2_K..=sys::LLAMA_FTYPE_MOSTLY_IQ1_M).contains(&kind)
            && kind != sys::LLAMA_FTYPE_MOSTLY_IQ4_NL
    }

    /// Architecture, size and quantisation in llama.cpp's words, as llama-bench names models.
    #[must_use]
    pub fn description(&self) -> String {
        let mut bytes = [0_u8; 128];
        // SAFETY: the model is valid; at most as many bytes as there are get written, a NUL among them.
        unsafe { sys::llama_model_desc(self.raw.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
        let text = std::ffi::CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
        text.to_string_lossy().into_owned()
    }

    /// The chat template in its file, if there is one.
    #[must_use]
    pub fn chat_template(&self) -> Option<String> {
        // SAFETY: the model is valid; what comes back is NULL, or NUL-terminated and lives as long as the model.
        let template = unsafe { sys::llama_model_chat_template(self.raw.as_ptr(), std::ptr::null()) };
        let template = NonNull::new(template.cast_mut())?;
        // SAFETY: as above.
        Some(unsafe { std::ffi::CStr::from_ptr(template.as_ptr()) }.to_string_lossy().into_owned())
    }

    /// Whether some of its layers may live on a device other than the CPU, so that decoding is asynchronous.
    #[must_use]
    pub fn uses_devices(&self) -> bool {
        self.uses_devices
    }

    /// Whether a text can be taken back a part at a time. A recurrent state cannot.
    #[must_use]
    pub fn can_roll_back(&self) -> bool {
        let model = self.raw.as_ptr();
        // SAFETY: the model is valid.
        unsafe { !sys::llama_model_is_recurrent(model) && !sys::llama_model_is_hybrid(model) }
    }

    /// How far back the layers with a sliding window look; 0 where there are none.
    pub(super) fn n_swa(&self) -> usize {
        // SAFETY: the model is valid.
        unsafe { sys::llama_model_n_swa(self.raw.as_ptr()) }.try_into().unwrap_or(0)
    }

    pub(super) fn raw(&self) -> NonNull<sys::llama_model> {
        self.raw
    }

    /// llama.cpp's vocabulary of this model; lives as long as the model.
    pub(super) fn vocab(&self) -> *const sys::llama_vocab {
        // SAFETY: the model is valid.
        unsafe { sys::llama_model_get_vocab(self.raw.as_ptr()) }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama_model_load_from_file; contexts hold an Arc of the model, so none is left.
        unsafe { sys::llama_model_free(self.raw.as_ptr()) };
    }
}

unsafe extern "C" fn on_progress(share: f32, data: *mut c_void) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `data` is the `&mut &mut dyn FnMut` that `Model::load` keeps alive for the call.
        let report = unsafe { &mut *data.cast::<&mut dyn FnMut(f32) -> bool>() };
        report(share)
    }))
    .unwrap_or(false)
}
