//! What the computer has to compute on.

use std::ffi::CString;

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

type AddServer = unsafe extern "C" fn(*const std::ffi::c_char) -> sys::ggml_backend_reg_t;

/// Adds the devices of an RPC server (`host:port`). Call before models are loaded.
///
/// llama.cpp's protocol has no authentication and trusts what it is told: only for a network one owns.
pub fn add_rpc_server(_: &Backend, endpoint: &str) -> Result<(), Error> {
    let refused = |reason| Error::Rpc { endpoint: endpoint.to_owned(), reason };
    let host_and_port =
        endpoint.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if host_and_port.is_none() {
        return Err(refused("expected host:port"));
    }
    // llama.cpp answers a server that is not there by ending the process.
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(endpoint).map_err(|_| refused("the host is not known"))?;
    let timeout = std::time::Duration::from_secs(5);
    if !addresses.into_iter().any(|address| std::net::TcpStream::connect_timeout(&address, timeout).is_ok()) {
        return Err(refused("nothing answers there"));
    }
    let endpoint = CString::new(endpoint).map_err(|_| refused("it contains a NUL byte"))?;
    // SAFETY: both names are NUL-terminated; a registry that is found answers look-ups. ggml documents the function
    // behind this name as `ggml_backend_rpc_add_server(const char *) -> ggml_backend_reg_t`, which registers devices.
    unsafe {
        let registry = sys::ggml_backend_reg_by_name(c"RPC".as_ptr());
        if registry.is_null() {
            return Err(refused("this build has no RPC backend"));
        }
        let function = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_rpc_add_server".as_ptr());
        if function.is_null() {
            return Err(refused("this build's RPC backend is too old"));
        }
        let add_server: AddServer = std::mem::transmute(function);
        let server = add_server(endpoint.as_ptr());
        if server.is_null() {
            return Err(refused("it does not speak llama.cpp's RPC protocol"));
        }
        sys::ggml_backend_register(server);
    }
    Ok(())
}
