//! Devices of other machines, through llama.cpp's RPC backend.
//!
//! The protocol has no authentication, and llama.cpp ends the process when a server answers nonsense: a server is
//! asked for its version before llama.cpp hears of it. One that dies later still ends the process; which one it was is
//! found out for the [last words](super::abort).

use std::ffi::{CString, c_char};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use llama_cpp_sys_2 as sys;

use super::Error;
use super::backend::Backend;

/// `RPC_CMD_HELLO`: 24 bytes of capabilities go out, a version of 4 bytes and 24 of capabilities come back.
const HELLO: u8 = 14;
const N_CAPABILITIES: usize = 24;
const N_ANSWER: usize = 4 + N_CAPABILITIES;
/// `RPC_PROTO_MAJOR_VERSION` and `RPC_PROTO_MINOR_VERSION` of the llama.cpp that is built in: it takes servers of this
/// major version and at most this minor one.
const VERSION: (u8, u8) = (7, 0);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same where it is only to be known whether a server is still there.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Those that were added, in the order of their devices.
static SERVERS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn servers() -> MutexGuard<'static, Vec<String>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `ggml_backend_rpc_add_server`
type AddServer = unsafe extern "C" fn(*const c_char) -> sys::ggml_backend_reg_t;

/// Adds the devices of servers (`host:port`) to the list: `RPC0`, `RPC1`, … in the order of the servers, each of which counts
/// once. Call before models are loaded, and only for machines in a network of one's own.
pub fn add_servers(_: &Backend, endpoints: &[String]) -> Result<(), Error> {
    /// llama.cpp would list the devices of a server twice.
    static ADDING: Mutex<()> = Mutex::new(());
    let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    for endpoint in endpoints {
        if !servers().contains(endpoint) {
            add_server(endpoint)?;
        }
    }
    Ok(())
}

fn add_server(endpoint: &str) -> Result<(), Error> {
    let refused = |reason: String| Error::Rpc { endpoint: endpoint.to_owned(), reason };
    check_server(endpoint).map_err(refused)?;
    let c_endpoint = CString::new(endpoint).map_err(|_| refused("it contains a NUL byte".to_owned()))?;
    // SAFETY: the names are NUL-terminated, and a registry that is found answers look-ups.
    let function = unsafe {
        let registry = sys::ggml_backend_reg_by_name(c"RPC".as_ptr());
        if registry.is_null() {
            return Err(refused("this build has no RPC backend".to_owned()));
        }
        sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_rpc_add_server".as_ptr())
    };
    if function.is_null() {
        return Err(refused("this build's RPC backend cannot add servers".to_owned()));
    }
    // SAFETY: ggml documents the function behind this name with this signature (ggml-rpc.h).
    let add_server = unsafe { std::mem::transmute::<*mut std::ffi::c_void, AddServer>(function) };
    // Before it can be lost.
    servers().push(endpoint.to_owned());
    // SAFETY: the endpoint is NUL-terminated; a registry that comes back is ggml's to keep.
    unsafe {
        let server = add_server(c_endpoint.as_ptr());
        if server.is_null() {
            servers().retain(|known| known != endpoint);
            return Err(refused("it has no devices".to_owned()));
        }
        sys::ggml_backend_register(server);
    }
    Ok(())
}

/// The error behind llama.cpp's last message, where that is about a server. It names servers only to which it cannot
/// connect; of the others, those that nobody can connect to any more.
pub(super) fn lost(message: &str) -> Option<Error> {
    let (_, message) = message.split_once("ggml-rpc.cpp:")?;
    for named in ["Failed to connect to ", "RPC handshake failed for "] {
        if let Some((_, endpoint)) = message.split_once(named) {
            return Some(Error::RpcLost { endpoints: vec![endpoint.trim().to_owned()] });
        }
    }
    message.contains("Remote RPC server crashed").then(|| {
        let known = servers().clone();
        let gone = if known.len() > 1 { unreachable(&known) } else { Vec::new() };
        Error::RpcLost { endpoints: if gone.is_empty() { known } else { gone } }
    })
}

/// The servers that take no connections. One that has just been killed may take some for a moment.
fn unreachable(endpoints: &[String]) -> Vec<String> {
    /// Between looks. More of them would fill the queue of a server that is at work, and it would look lost too.
    const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(250)];
    let is_gone = |endpoint: &String, is_first: bool| match connect(endpoint, SHORT_TIMEOUT) {
        Ok(_) => false,
        Err(error) => is_first || error.kind() != ErrorKind::TimedOut,
    };
    let look = |pause: Duration| {
        std::thread::sleep(pause);
        std::thread::scope(|scope| {
            let ask = |endpoint| (endpoint, scope.spawn(move || is_gone(endpoint, pause.is_zero())));
            let asking: Vec<_> = endpoints.iter().map(ask).collect();
            let gone = asking.into_iter().filter_map(|(endpoint, thread)| thread.join().ok()?.then_some(endpoint));
            gone.cloned().collect::<Vec<_>>()
        })
    };
    PAUSES.into_iter().map(look).find(|gone| !gone.is_empty()).unwrap_or_default()
}

/// As llama.cpp does, over IPv4 alone.
fn connect(endpoint: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut error = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in endpoint.to_socket_addrs()?.filter(std::net::SocketAddr::is_ipv4) {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(server) => return Ok(server),
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

/// Says what is wrong with a server unless it greets back in the protocol's version.
fn check_server(endpoint: &str) -> Result<(), String> {
    let parts = endpoint.split_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if parts.is_none() {
        return Err("expected host:port, the host by name or IPv4 address".to_owned());
    }
    endpoint.to_socket_addrs().map_err(|_| "the host is not known".to_owned())?;
    let mut server = connect(endpoint, TIMEOUT).map_err(|_| "nothing answers there".to_owned())?;
    let mut greet = || -> io::Result<Vec<u8>> {
        server.set_read_timeout(Some(TIMEOUT))?;
        server.write_all(&[HELLO])?;
        server.write_all(&(N_CAPABILITIES as u64).to_le_bytes())?;
        server.write_all(&[0; N_CAPABILITIES])?;
        let mut answer = vec![0; 8 + N_ANSWER];
        server.read_exact(&mut answer)?;
        Ok(answer)
    };
    match greet() {
        Ok(answer) if answer[..8] == (N_ANSWER as u64).to_le_bytes() => {
            let (major, minor) = (answer[8], answer[9]);
            if major == VERSION.0 && minor <= VERSION.1 {
                return Ok(());
            }
            let (of, at_most) = VERSION;
            Err(format!("it speaks version {major}.{minor} of the RPC protocol, expected {of}.{at_most}"))
        }
        // A system says the one or the other.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(format!(
            "it accepts connections and did not answer for {} s; a server serves one program at a time and may be in use",
            TIMEOUT.as_secs()
        )),
        _ => Err("it does not speak llama.cpp's RPC protocol".to_owned()),
    }
}
