//! What can be typed behind `serve`. Names, meanings and defaults are llama-server's wherever it has them.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_excessive_bools, reason = "flags are flags")]

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::engine::MAX_SLOTS;

/// Where it listens, whom it answers, and how many at once.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address to listen on; 0.0.0.0 for every machine that can reach this one
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Keys of which requests must bring one, between commas
    #[arg(long, value_name = "KEY,…", value_delimiter = ',', env = "LLAMA_API_KEY", hide_env_values = true)]
    pub api_key: Vec<String>,
    /// A file with such keys, one a line
    #[arg(long, value_name = "FNAME")]
    pub api_key_file: Option<PathBuf>,
    /// Text in front of every path, such as /api
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub api_prefix: String,
    /// Name by which the model is listed, and further names for it, between commas [default: the recipe's or file's name]
    #[arg(short, long, value_name = "NAME,…", value_delimiter = ',')]
    pub alias: Vec<String>,
    /// -np: texts that are written at the same time; -1 for 4
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..=MAX_PARALLEL))]
    pub parallel: i64,
    /// Requests that may wait for a slot; one more is answered with 429
    #[arg(long, value_name = "N", default_value_t = 256, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(0..=MAX_QUEUE))]
    pub queue: u32,
    /// -kvu: the slots share their tokens, so that one text may take all of them [default: unless -np is given]
    #[arg(long, overrides_with = "no_kv_unified")]
    pub kv_unified: bool,
    /// -no-kvu: each slot has its share of --ctx-size for itself
    #[arg(long)]
    pub no_kv_unified: bool,
    /// -to: seconds that a client may take for headers, for a body, and for reading on
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,
    /// Seconds that answers which are being written get at the end; then streams end with an error
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub drain: u64,
    /// Connections at the same time; one more takes the place of the one that has been silent for longest
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub max_connections: u64,
    /// Open the page in a browser
    #[arg(long, conflicts_with = "no_webui")]
    pub open: bool,
    /// --no-ui: serve no page at /
    #[arg(long, alias = "no-ui", overrides_with = "webui")]
    pub no_webui: bool,
    #[arg(long, alias = "ui", hide = true)]
    pub webui: bool,
    /// Serve Prometheus metrics at /metrics
    #[arg(long)]
    pub metrics: bool,
    /// Do not tell at /slots what runs
    #[arg(long, overrides_with = "slots")]
    pub no_slots: bool,
    #[arg(long, hide = true)]
    pub slots: bool,
    /// Fill in with the suffix in front of the prefix, as some models prefer it
    #[arg(long)]
    pub spm_infill: bool,
    /// Origins whose web pages may use this server, between commas; * for all [default: none]
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Names under which this server may be asked beside localhost, between commas; * for all [default: none on a loopback
    /// address, all on others]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Seconds after which a silent stream gets a comment; -1 for none
    #[arg(long, value_name = "N", default_value_t = 30, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..=86400))]
    pub sse_ping_interval: i64,
    /// Seconds after which an engine that does not move is started anew
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub watchdog: u64,
    /// System prompt for conversations without one [default: the recipe's]
    #[arg(long, value_name = "PROMPT", allow_hyphen_values = true)]
    pub system_prompt: Option<String>,
}

const MAX_PARALLEL: i64 = MAX_SLOTS as i64;
/// A request that waits holds its prompt.
const MAX_QUEUE: i64 = 1 << 16;
