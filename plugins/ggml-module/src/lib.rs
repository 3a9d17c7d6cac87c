//! proxytune's kernels for any program with llama.cpp in it: a backend that ggml loads, as it loads others.
//!
//! `GGML_BACKEND_PATH=…/libggml_proxytune.so llama-cli -nr -m model.gguf`, or `ggml_backend_load` in a program of one's own.
//!
//! It has no devices. Loading it puts the kernels into ggml's CPU backend, which computes as before where they do not fit
//! this machine or that ggml; a line on stderr says which.
#![cfg(unix)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;

use proxytune_kernels::ggml::{self, Attention};

/// `GGML_BACKEND_API_VERSION`
const API_VERSION: c_int = 3;
/// How the version of a ggml begins whose structures are those that the kernels were written after.
const VERSION: &str = "0.26.";

unsafe extern "C" {
    fn ggml_version() -> *const c_char;
}

/// `ggml_backend_reg`
#[repr(C)]
pub struct Registry {
    api_version: c_int,
    get_name: extern "C" fn(*mut Registry) -> *const c_char,
    get_device_count: extern "C" fn(*mut Registry) -> usize,
    get_device: extern "C" fn(*mut Registry, usize) -> *mut c_void,
    get_proc_address: extern "C" fn(*mut Registry, *const c_char) -> *mut c_void,
    context: *mut c_void,
}
// SAFETY: nothing in it is ever written.
unsafe impl Sync for Registry {}

static REGISTRY: Registry =
    Registry { api_version: API_VERSION, get_name, get_device_count, get_device, get_proc_address, context: null() };

/// ggml calls this once the module is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn ggml_backend_init() -> *const Registry {
    // SAFETY: ggml answers with a NUL-terminated constant.
    let version = unsafe { CStr::from_ptr(ggml_version()) }.to_string_lossy();
    let said = if version.starts_with(VERSION) {
        // SAFETY: the functions of ggml's headers are those of the program that loads this, which computes with them.
        match unsafe { ggml::install(attention()) } {
            Some(isa) => format!("kernels for {} are in use; give -nr, so that weights are not repacked", isa.name()),
            None => "there are no kernels for this CPU; ggml computes as before".to_owned(),
        }
    } else {
        format!("the kernels are for ggml {VERSION}x, this is {version}, which computes as before")
    };
    // A program may have closed it.
    let _ = writeln!(std::io::stderr(), "proxytune: {said}");
    &raw const REGISTRY
}

/// ggml's own attention, where its CPU backend is not loaded as a module itself.
fn attention() -> Option<Attention> {
    const NAME: &CStr = c"ggml_compute_forward_flash_attn_ext";
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    if !cfg!(target_os = "linux") {
        return None;
    }
    // SAFETY: all that is loaded is searched (`RTLD_DEFAULT`); what has this name is that function, or there is none.
    unsafe { std::mem::transmute::<*mut c_void, Option<Attention>>(dlsym(null(), NAME.as_ptr())) }
}

const fn null() -> *mut c_void {
    std::ptr::null_mut()
}

extern "C" fn get_name(_: *mut Registry) -> *const c_char {
    c"proxytune".as_ptr()
}

extern "C" fn get_device_count(_: *mut Registry) -> usize {
    0
}

extern "C" fn get_device(_: *mut Registry, _: usize) -> *mut c_void {
    null()
}

extern "C" fn get_proc_address(_: *mut Registry, _: *const c_char) -> *mut c_void {
    null()
}
