//! Our own matrix products, within llama.cpp's CPU backend: see [`proxytune_kernels::ggml`].

pub use proxytune_kernels::Isa;
use proxytune_kernels::{Kind, ggml};
use serde::{Deserialize, Serialize};

use crate::gguf::Header;

/// `--kernels`: whose matrix products a model is computed with, in main memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernels {
    /// Ours where they know the types of all its matrices, and the machine has the instructions.
    #[default]
    Auto,
    /// Ours for the types that they know.
    On,
    /// llama.cpp's. In a process whose other models use ours, matrices that llama.cpp does not repack are multiplied by ours
    /// all the same.
    Off,
}

impl Kernels {
    /// The instructions that a model's matrices are multiplied with, if it is by our kernels, which are put into use then:
    /// chosen by types and machine alone, so that the same command gives the same text.
    #[must_use]
    pub fn isa(self, header: &Header) -> Option<Isa> {
        let types = header.matrix_types();
        let ours = match self {
            Self::Off => false,
            // llama.cpp repacks the matrices of experts, which it multiplies in an operation of its own.
            Self::Auto => types.into_iter().all(knows) && !header.has_experts(),
            Self::On => types.into_iter().any(knows),
        };
        if ours { install() } else { None }
    }
}

/// While it lives, the kernels that are in use round no column of a product: slow, and a yardstick for what the rounding does.
/// For the whole process, so there is one at a time, and none begins while a step runs.
#[derive(Debug)]
pub struct Unrounded(());

impl Unrounded {
    /// `None` where no kernels of ours fit this machine or llama.cpp's build.
    #[must_use]
    pub fn begin() -> Option<Self> {
        install()?;
        ggml::set_exact(true);
        Some(Self(()))
    }
}

impl Drop for Unrounded {
    fn drop(&mut self) {
        ggml::set_exact(false);
    }
}

/// Whether there are kernels for a type of matrices, by its name.
#[must_use]
pub fn knows(name: &str) -> bool {
    Kind::ALL.iter().any(|kind| kind.name() == name)
}

unsafe extern "C" {
    /// ggml's attention, which its header for the CPU backend's own files declares.
    fn ggml_compute_forward_flash_attn_ext(params: *const ggml::ComputeParams, op: *mut ggml::Tensor);
}

/// Instructions whose kernels are in use from now on; `None` where none fit this machine or llama.cpp's build. Works once.
fn install() -> Option<Isa> {
    // SAFETY: one ggml is linked here, and it is the one that computes.
    unsafe { ggml::install(Some(ggml_compute_forward_flash_attn_ext)) }
}
