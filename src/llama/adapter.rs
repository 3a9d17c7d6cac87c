//! LoRA adapters: small matrices that a context adds to a model's weights while it computes.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};

use llama_cpp_sys_2 as sys;

use super::model::{MODEL_CHANGES, Model};
use super::{Error, log};

/// An adapter in the memory of the model that it was trained for.
#[derive(Debug)]
pub struct Adapter {
    raw: NonNull<sys::llama_adapter_lora>,
    path: PathBuf,
    // Last, so that the adapter goes before its model.
    model: Arc<Model>,
}

/// An adapter, and how much of it is added.
pub type Scaled = (Arc<Adapter>, f32);

// SAFETY: an adapter is read by contexts and never written to after it is loaded.
unsafe impl Send for Adapter {}
// SAFETY: see Send.
unsafe impl Sync for Adapter {}

impl Adapter {
    /// Loads the adapter at `path` for a model. Its file has passed [`crate::gguf::adapter::check`]: llama.cpp aborts
    /// on metadata of other types than it expects. A context that uses it is created later, since a graph has room for
    /// the adapters that its model had by then.
    pub fn load(model: &Arc<Model>, path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Adapter { path: path.to_path_buf(), reason };
        let not_a_path = || failed("its path cannot be passed on".to_owned());
        let c_path = path.to_str().and_then(|path| CString::new(path).ok()).ok_or_else(not_a_path)?;
        let changing = MODEL_CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        log::take_errors("");
        // SAFETY: the model is valid and nobody else changes it; the path is NUL-terminated.
        let raw = unsafe { sys::llama_adapter_lora_init(model.raw().as_ptr(), c_path.as_ptr()) };
        let raw = NonNull::new(raw).ok_or_else(|| failed(log::take_errors("it gave no reason")))?;
        drop(changing);
        let adapter = Self { raw, path: path.to_path_buf(), model: model.clone() };
        // SAFETY: the adapter is valid.
        if unsafe { sys::llama_adapter_get_alora_n_invocation_tokens(raw.as_ptr()) } > 0 {
            return Err(failed("it is an activated LoRA, which acts from certain tokens on".to_owned()));
        }
        Ok(adapter)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn raw(&self) -> NonNull<sys::llama_adapter_lora> {
        self.raw
    }

    pub(super) fn is_for(&self, model: &Arc<Model>) -> bool {
        Arc::ptr_eq(&self.model, model)
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _changing = MODEL_CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the pointer came from llama_adapter_lora_init; contexts that use it hold an Arc of it, so none is
        // left; its model is held.
        unsafe { sys::llama_adapter_lora_free(self.raw.as_ptr()) };
    }
}
