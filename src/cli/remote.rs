//! What can be typed of a base that is on a server.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args as ClapArgs, ValueEnum};

use crate::recipe::Remote;
use crate::recipe::remote::{Api, Logprobs};

/// Where the base is, if it is on a server.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "A base on a server")]
pub struct RemoteArgs {
    /// The base is on this server, in place of -m: http://HOST:PORT. The pair runs here. A key stands in
    /// PROXYTUNE_BASE_API_KEY or a file
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "hf_repo"])]
    pub base_url: Option<String>,
    /// What the server speaks [default: what it turns out to speak]
    #[arg(long, value_name = "llama-server|vllm|openai")]
    pub base_api: Option<Api>,
    /// What the server calls the model [default: the only one that it has]
    #[arg(long, value_name = "NAME")]
    pub base_model: Option<String>,
    /// Log-probabilities that the server shows at each position; tokens that it does not show are never chosen. `all` for
    /// the whole vocabulary [default: 20; openai: 5]
    #[arg(long, value_name = "N|all", allow_negative_numbers = true)]
    pub base_logprobs: Option<Logprobs>,
    /// Send the offset to the server, which samples from the whole steered distribution: llama-server alone
    #[arg(long)]
    pub base_exact: bool,
    /// With --base-exact: leave out offsets no further than this from most others, in nats; that changes no log-probability
    /// by more than twice as much [default: 0]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true)]
    pub base_offset_threshold: Option<f32>,
    /// The tokenizer.json of the server's model, where its ids are not the small models'
    #[arg(long, value_name = "FNAME")]
    pub base_tokenizer: Option<PathBuf>,
    /// Tokens that the base writes on by itself in each request: as long as steering chooses the same, no new request is
    /// needed [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub base_ahead: Option<u32>,
    /// Seconds to wait for an answer; a request is not sent again once twice as much has passed [default: 120]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub base_timeout: Option<u32>,
    /// How often a request that failed is sent again, after growing waits [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub base_retries: Option<u32>,
    /// A file that holds the server's key [default: the key in PROXYTUNE_BASE_API_KEY]
    #[arg(long, value_name = "FNAME")]
    pub base_api_key_file: Option<PathBuf>,
}

impl RemoteArgs {
    /// The server that is meant: the one that is named, or `known`, a recipe's, with what else was typed.
    pub fn over(&self, known: Option<&Remote>) -> Option<Remote> {
        let url = self.base_url.clone().or_else(|| known.map(|known| known.url.clone()))?;
        let typed = Remote {
            url,
            api: self.base_api,
            model: self.base_model.clone(),
            logprobs: self.base_logprobs,
            exact: self.base_exact,
            offset_threshold: self.base_offset_threshold,
            tokenizer: self.base_tokenizer.clone(),
            ahead: self.base_ahead,
            timeout: self.base_timeout,
            retries: self.base_retries,
            api_key_file: self.base_api_key_file.clone(),
        };
        // What a recipe says of its server does not hold for another.
        let same = known.filter(|known| known.url == typed.url);
        Some(same.map_or_else(|| typed.clone(), |known| typed.clone().over(known)))
    }

    /// Whether anything is said of a server.
    pub fn is_given(&self) -> bool {
        self.base_url.is_some()
            || self.base_api.is_some()
            || self.base_model.is_some()
            || self.base_logprobs.is_some()
            || self.base_exact
            || self.base_offset_threshold.is_some()
            || self.base_tokenizer.is_some()
            || self.base_ahead.is_some()
            || self.base_timeout.is_some()
            || self.base_retries.is_some()
            || self.base_api_key_file.is_some()
    }
}

impl ValueEnum for Api {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}
