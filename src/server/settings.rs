//! What the server is told at its start.

use std::time::Duration;

use super::hosts::Hosts;
use super::origins::Origins;

/// Limits and switches. The defaults are llama-server's where it has them.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "switches are switches")]
pub struct Settings {
    /// Texts that are generated at the same time.
    pub n_slots: usize,
    /// Any one of them lets a request in; without any, all are let in.
    pub api_keys: Vec<String>,
    /// In front of every path.
    pub prefix: String,
    /// Origins whose pages may use the server; none by default.
    pub origins: Origins,
    /// Names under which it may be asked.
    pub hosts: Hosts,
    /// Serve the page at `/`.
    pub page: bool,
    /// Serve `/metrics`.
    pub metrics: bool,
    /// Serve `/slots`.
    pub slots: bool,
    /// `/infill` gives the suffix before the prefix.
    pub spm_infill: bool,
    /// Most bytes of a body; a longer one is refused before it is read.
    pub max_body_bytes: usize,
    /// Headers, and then the body, have to be here so soon, and a reader may stand still for so long.
    pub read_timeout: Duration,
    /// Connections at the same time; one more takes the place of the one that has been silent for longest.
    pub max_connections: usize,
    /// A stream that is silent for so long gets a comment; `None` for none.
    pub sse_ping: Option<Duration>,
    /// Answers that are being written when the server is asked to end may go on for so long.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_slots: 1,
            api_keys: Vec::new(),
            prefix: String::new(),
            origins: Origins::default(),
            hosts: Hosts::default(),
            page: true,
            metrics: false,
            slots: true,
            spm_infill: false,
            max_body_bytes: 16 << 20,
            read_timeout: Duration::from_secs(30),
            max_connections: 4096,
            sse_ping: Some(Duration::from_secs(30)),
            drain: Duration::from_secs(30),
        }
    }
}
