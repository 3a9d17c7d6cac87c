//! What the computer has to compute on.

use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};
use llama_cpp_sys_2 as sys;

use super::Error;
use super::backend::Backend;

/// All devices llama.cpp was built for and found.
#[must_use]
pub fn list(_: &Backend) -> Vec<LlamaBackendDevice> {
    list_llama_ggml_backend_devices()
}

/// The devices that layers can be moved to: all but the CPU and what only accelerates it.
#[must_use]
pub fn offload(backend: &Backend) -> Vec<LlamaBackendDevice> {
    let mut devices = list(backend);
    devices.retain(|device| {
        !matches!(device.device_type, LlamaBackendDeviceType::Cpu | LlamaBackendDeviceType::Accelerator)
    });
    devices
}

/// What a buffer of an RPC server is called with the name of its device in front: llama.cpp counts the devices of each server
/// anew, so that the first of every server has the buffer `RPC0[host:port]`. `None` for buffers of other devices.
#[must_use]
pub fn rpc_buffer(devices: &[LlamaBackendDevice], buffer: &str) -> Option<String> {
    let (i, endpoint) = buffer.strip_prefix("RPC")?.strip_suffix(']')?.split_once('[')?;
    // Such a device is described by its server.
    let mut of_server = devices.iter().filter(|device| device.description == endpoint);
    Some(format!("{}[{endpoint}]", of_server.nth(i.parse().ok()?)?.name))
}

/// The index of each named device; `none` names no device, so everything stays on the CPU.
pub fn by_name(backend: &Backend, names: &[String]) -> Result<Vec<usize>, Error> {
    if matches!(names, [name] if name == "none") {
        return Ok(Vec::new());
    }
    let devices = offload(backend);
    let find = |name: &String| {
        devices.iter().find(|device| device.name == *name).map(|device| device.index).ok_or_else(|| {
            let known = devices.iter().map(|device| device.name.clone()).chain(["none".to_owned()]).collect();
            Error::Device { name: name.clone(), known }
        })
    };
    names.iter().map(find).collect()
}

/// What every backend was compiled with and found: the features of the CPU among them.
#[must_use]
pub fn system_info(_: &Backend) -> String {
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: llama.cpp answers with a NUL-terminated text of its own, which only the next call changes; it is copied
    // before another one is made.
    let info = unsafe { CStr::from_ptr(sys::llama_print_system_info()) };
    info.to_string_lossy().trim_end_matches([' ', '|']).to_owned()
}

/// llama.cpp's version.
#[must_use]
pub fn version(_: &Backend) -> String {
    // SAFETY: llama.cpp answers with a NUL-terminated constant.
    unsafe { CStr::from_ptr(sys::llama_version()) }.to_string_lossy().into_owned()
}
