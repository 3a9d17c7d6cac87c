//! The shared library and its functions.

use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::Library;
use llama_cpp_sys_2::llama_sampler;
use proxytune_sampler::params::pt_params;
use proxytune_sampler::pt_pair;

type Status = i32;

pub struct Plugin {
    pub abi_version: unsafe extern "C" fn() -> u32,
    pub version: unsafe extern "C" fn() -> *const c_char,
    pub last_error: unsafe extern "C" fn() -> *const c_char,
    pub default_params: unsafe extern "C" fn(*mut pt_params, usize) -> Status,
    pub pair_new: unsafe extern "C" fn(*const pt_params, *mut *mut pt_pair) -> Status,
    pub pair_free: unsafe extern "C" fn(*mut pt_pair),
    pub stage_new: unsafe extern "C" fn(*mut pt_pair, *mut *mut llama_sampler) -> Status,
    pub feed: unsafe extern "C" fn(*mut llama_sampler, i32, *const i32, usize) -> Status,
    pub rollback: unsafe extern "C" fn(*mut llama_sampler, usize) -> Status,
    pub set_alpha: unsafe extern "C" fn(*mut llama_sampler, f32) -> Status,
    pub status: unsafe extern "C" fn(*const llama_sampler) -> Status,
}

/// Cargo builds it beside this binary.
pub fn path() -> PathBuf {
    let binary = std::env::current_exe().expect("a path");
    let name = libloading::library_filename("proxytune_sampler");
    let folder = binary.parent().expect("a folder");
    [folder, folder.parent().expect("a folder")]
        .map(|folder| folder.join(&name))
        .into_iter()
        .find(|path| path.is_file())
        .expect("the plugin is built")
}

/// The program, which answers what a file ends: `cargo build` makes it beside the plugin.
pub fn proxytune() -> PathBuf {
    let program = ["proxytune", "../proxytune"].map(|name| path().with_file_name(name));
    program.into_iter().find(|path| path.is_file()).expect("`cargo build` makes proxytune beside the plugin")
}

pub fn plugin() -> &'static Plugin {
    static PLUGIN: OnceLock<Plugin> = OnceLock::new();
    PLUGIN.get_or_init(|| unsafe {
        let library = Library::new(path()).expect("it loads");
        macro_rules! get {
            ($name:literal) => {
                *library.get($name).expect("a function")
            };
        }
        let plugin = Plugin {
            abi_version: get!(b"pt_abi_version"),
            version: get!(b"pt_version"),
            last_error: get!(b"pt_last_error"),
            default_params: get!(b"pt_default_params"),
            pair_new: get!(b"pt_pair_new"),
            pair_free: get!(b"pt_pair_free"),
            stage_new: get!(b"pt_stage_new"),
            feed: get!(b"pt_feed"),
            rollback: get!(b"pt_rollback"),
            set_alpha: get!(b"pt_set_alpha"),
            status: get!(b"pt_status"),
        };
        std::mem::forget(library);
        plugin
    })
}

/// The words to the last failure of this thread.
pub fn words() -> String {
    unsafe { CStr::from_ptr((plugin().last_error)()) }.to_str().expect("UTF-8").to_owned()
}

/// Parameters with the strings that they point to.
pub struct Params {
    pub raw: pt_params,
    strings: Vec<CString>,
}

impl Params {
    pub fn new() -> Self {
        let mut raw = std::mem::MaybeUninit::uninit();
        let raw = unsafe {
            assert_eq!((plugin().default_params)(raw.as_mut_ptr(), size_of::<pt_params>()), 0);
            raw.assume_init()
        };
        Self { raw: pt_params { n_threads: 1, n_ctx: 256, ..raw }, strings: Vec::new() }
    }

    /// Sets a string.
    pub fn with(mut self, field: impl FnOnce(&mut pt_params) -> &mut *const c_char, path: &Path) -> Self {
        let string = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
        *field(&mut self.raw) = string.as_ptr();
        self.strings.push(string);
        self
    }

    pub fn trio(base: &Path, expert: &Path, antiexpert: &Path) -> Self {
        Self::new()
            .with(|p| &mut p.base_path, base)
            .with(|p| &mut p.expert, expert)
            .with(|p| &mut p.antiexpert, antiexpert)
    }
}

/// A pair, or the status and words of why not.
pub fn pair(params: &Params) -> Result<Pair, (Status, String)> {
    let mut pair = std::ptr::null_mut();
    match unsafe { (plugin().pair_new)(&raw const params.raw, &raw mut pair) } {
        0 => Ok(Pair(pair)),
        status => {
            assert!(pair.is_null());
            Err((status, words()))
        }
    }
}

pub struct Pair(pub *mut pt_pair);

impl Drop for Pair {
    fn drop(&mut self) {
        unsafe { (plugin().pair_free)(self.0) };
    }
}
