//! `--override-tensor`: tensors that are put elsewhere than their layer.

use std::ffi::{CStr, CString};

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::{Error, device};
use crate::parameter::OutOfRange;

/// llama.cpp's name for main memory as a place for tensors.
pub const CPU: &str = "CPU";
/// Longer patterns are a mistake: the regular expressions of C++'s library recurse on them.
const MAX_PATTERN: usize = 1024;

/// Tensors in whose names the pattern, an ECMAScript regular expression, is found go into a buffer of this type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorOverride {
    pub pattern: String,
    pub buffer: String,
}

impl TensorOverride {
    /// Keeps tensors in main memory.
    pub fn on_cpu(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), buffer: CPU.to_owned() }
    }
}

/// The overrides as llama.cpp takes them: an array that ends with a NULL pattern.
pub(super) struct RawOverrides {
    // The array points into these.
    _patterns: Vec<CString>,
    array: Vec<sys::llama_model_tensor_buft_override>,
}

impl RawOverrides {
    /// `devices`: those that the model uses beside the CPU; `None` are all. llama.cpp aborts over a tensor in the buffer of
    /// another.
    pub fn new(backend: &Backend, overrides: &[TensorOverride], devices: Option<&[usize]>) -> Result<Self, Error> {
        let unused: Vec<_> = device::offload(backend)
            .into_iter()
            .filter(|device| devices.is_some_and(|used| !used.contains(&device.index)))
            .map(|device| device.name)
            .collect();
        let mut types = buffer_types();
        types.retain(|(name, _)| !unused.contains(name));
        let (mut patterns, mut array) = (Vec::new(), Vec::new());
        for TensorOverride { pattern, buffer } in overrides {
            let found = types.iter().find(|(name, _)| name == buffer);
            let (_, buft) = found.ok_or_else(|| Error::Buffer {
                name: buffer.clone(),
                known: types.iter().map(|(name, _)| name.clone()).collect(),
            })?;
            let is_usable = (1..=MAX_PATTERN).contains(&pattern.len());
            let pattern = CString::new(pattern.as_str()).ok().filter(|_| is_usable);
            let expected = || format!("1 to {MAX_PATTERN} bytes without a NUL");
            patterns
                .push(pattern.ok_or_else(|| OutOfRange::new("a pattern of override-tensor", "unusable", expected()))?);
            array.push(sys::llama_model_tensor_buft_override { pattern: std::ptr::null(), buft: *buft });
        }
        for (raw, pattern) in array.iter_mut().zip(&patterns) {
            raw.pattern = pattern.as_ptr();
        }
        array.push(sys::llama_model_tensor_buft_override { pattern: std::ptr::null(), buft: std::ptr::null_mut() });
        Ok(Self { _patterns: patterns, array })
    }

    /// Lives as long as `self`.
    pub fn as_ptr(&self) -> *const sys::llama_model_tensor_buft_override {
        self.array.as_ptr()
    }
}

/// The type of buffer of every device, by its name.
fn buffer_types() -> Vec<(String, sys::ggml_backend_buffer_type_t)> {
    // SAFETY: the count bounds the indices that ggml accepts; a device is valid for as long as the program runs, and so
    // are its type of buffer and that one's name, which is NUL-terminated.
    unsafe {
        let types = (0..sys::ggml_backend_dev_count())
            .map(|index| sys::ggml_backend_dev_buffer_type(sys::ggml_backend_dev_get(index)));
        let named = |buft| (CStr::from_ptr(sys::ggml_backend_buft_name(buft)).to_string_lossy().into_owned(), buft);
        types.filter(|buft| !buft.is_null()).map(named).collect()
    }
}
