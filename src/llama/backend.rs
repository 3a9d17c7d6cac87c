//! llama.cpp's process-wide backend.

use std::sync::{Arc, Mutex, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;

use super::Error;

/// Proof that llama.cpp is initialised. llama-cpp-2 allows one in a process, so a Rust host that has one shares it.
pub type Backend = Arc<LlamaBackend>;

/// The process's backend, initialised by the first who asks and kept from then on.
///
/// A host that made its own `LlamaBackend` passes that, in an `Arc`, to whatever takes a [`Backend`]; it gets an error
/// here.
pub fn shared() -> Result<Backend, Error> {
    static SHARED: Mutex<Option<Backend>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(backend) = &*shared {
        return Ok(backend.clone());
    }
    let backend = Arc::new(LlamaBackend::init().map_err(|_| Error::BackendTaken)?);
    *shared = Some(backend.clone());
    Ok(backend)
}
