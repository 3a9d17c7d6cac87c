//! llama.cpp's process-wide backend.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use llama_cpp_2::llama_backend::LlamaBackend;

/// Proof that llama.cpp is initialised. llama-cpp-2 allows one in a process, so a Rust host that has one shares it.
pub type Backend = Arc<LlamaBackend>;

/// The process's backend, initialised when nobody of this crate holds it.
///
/// A host that made its own `LlamaBackend` passes that, in an `Arc`, to whatever takes a [`Backend`].
///
/// # Panics
/// If a host holds its own: llama-cpp-2 hands out one.
pub fn shared() -> Backend {
    static SHARED: Mutex<Weak<LlamaBackend>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(backend) = shared.upgrade() {
        return backend;
    }
    let backend = Arc::new(LlamaBackend::init().expect("the host has a LlamaBackend of its own and passes it on"));
    *shared = Arc::downgrade(&backend);
    backend
}
