//! What is typed of the server becomes its settings.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{ServerArgs, files};
use crate::cli::report::{BadUsage, Hinted};
use crate::cli::text::read_text;
use crate::parameter::OutOfRange;
use crate::server::{Hosts, Origins, Settings};

/// Texts at the same time, where nobody says.
const N_PARALLEL: usize = 4;

/// Settings of what is typed; refuses what a server could not be started with.
pub fn of(args: &ServerArgs) -> Result<Settings> {
    let mut api_keys = args.api_key.clone();
    if let Some(path) = &args.api_key_file {
        // As in llama-server, a line that begins with a hash is a comment.
        let text = read_text(path)?;
        api_keys.extend(text.lines().map(str::trim).filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    let is_asked = !api_keys.is_empty() || args.api_key_file.is_some();
    api_keys.retain(|key| !key.is_empty());
    if is_asked && api_keys.is_empty() {
        return Err(BadUsage("API keys are asked for, and none is given".to_owned()))
            .hint("give one with --api-key KEY, or a line of the file");
    }
    if let Some(name) = args.alias.iter().find(|name| name.trim().is_empty() || name.contains(':')) {
        return Err(BadUsage(format!("--alias is {name:?}")))
            .hint("a name has letters, and no colon: NAME:base is the base of NAME");
    }
    if args.parallel == 0 {
        return Err(OutOfRange::new("parallel", 0, "1 or more, or -1 for 4").into());
    }
    let prefix = args.api_prefix.trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if !(prefix.is_empty() || prefix.starts_with('/') && prefix.chars().all(is_plain)) {
        let hint = "it begins with a slash and has letters, digits and -_.~, as in /api";
        return Err(BadUsage(format!("--api-prefix is {prefix:?}"))).hint(hint);
    }
    Ok(Settings {
        n_slots: usize::try_from(args.parallel).ok().filter(|n| *n > 0).unwrap_or(N_PARALLEL),
        api_keys,
        prefix: prefix.to_owned(),
        origins: origins(args)?,
        max_connections: files::n_connections().min(args.max_connections as usize),
        drain: Duration::from_secs(args.drain),
        page: !args.no_webui,
        metrics: args.metrics,
        slots: !args.no_slots,
        spm_infill: args.spm_infill,
        read_timeout: Duration::from_secs(args.timeout),
        sse_ping: u64::try_from(args.sse_ping_interval).ok().filter(|n| *n > 0).map(Duration::from_secs),
        ..Settings::default()
    })
}

fn origins(args: &ServerArgs) -> Result<Origins> {
    Origins::of(&args.cors_origins).map_err(|origin| BadUsage(format!("--cors-origins is {origin:?}"))).hint(
        "an origin is written as https://site.example or http://localhost:3000, with nothing behind it; * is every one",
    )
}

/// Who is reached from this machine alone is asked by names of this machine alone, unless told otherwise: a site can make its
/// name one for 127.0.0.1, and its pages would be this server's.
pub fn hosts(address: SocketAddr, args: &ServerArgs) -> Hosts {
    let is_any = args.allowed_hosts.iter().any(|name| name == "*");
    if is_any || args.allowed_hosts.is_empty() && !address.ip().is_loopback() {
        return Hosts::Any;
    }
    let names = std::iter::once(&args.host).chain(&args.allowed_hosts);
    Hosts::Loopback(names.map(|name| name.to_ascii_lowercase()).collect())
}
