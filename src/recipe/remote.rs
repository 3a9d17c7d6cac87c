//! A base behind HTTP: where its server is, what is asked of it, and how long it is waited for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::parameter::OutOfRange;

/// Log-probabilities that a server is asked for at each position, where nobody says how many.
const LOGPROBS: u32 = 20;
/// The same of `OpenAI`'s completions, which give no more.
const LOGPROBS_OPENAI: u32 = 5;
/// Tokens that the base writes on by itself in a request, the first included: each brings the row behind it.
const AHEAD: u32 = 4;
const MAX_AHEAD: u32 = 64;
const TIMEOUT: u32 = 120;
const RETRIES: u32 = 4;

/// A server that holds the base, in a recipe the table `[base.remote]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// `http://host:port`, with or without `/v1` behind it.
    pub url: String,
    /// What it speaks; it is found out where that is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// What the server calls the model, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Log-probabilities at each position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
    /// The offset travels to the server, which samples: llama-server alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exact: bool,
    /// Offsets that lie no further apart than twice this, in nats, are not sent where the server samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_threshold: Option<f32>,
    /// A `tokenizer.json` that says what the server's ids stand for, where they are not the small models'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens that the base writes on by itself in each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u32>,
    /// Seconds until a request that brings nothing is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// How often a request that failed is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// A file that holds the server's key. A key itself stands in no recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Remote {
    /// A server about which nothing else is said.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            api: None,
            model: None,
            logprobs: None,
            exact: false,
            offset_threshold: None,
            tokenizer: None,
            ahead: None,
            timeout: None,
            retries: None,
            api_key_file: None,
        }
    }

    /// What this one says over what another does.
    #[must_use]
    pub fn over(self, other: &Self) -> Self {
        Self {
            url: self.url,
            api: self.api.or(other.api),
            model: self.model.or_else(|| other.model.clone()),
            logprobs: self.logprobs.or(other.logprobs),
            exact: self.exact || other.exact,
            offset_threshold: self.offset_threshold.or(other.offset_threshold),
            tokenizer: self.tokenizer.or_else(|| other.tokenizer.clone()),
            ahead: self.ahead.or(other.ahead),
            timeout: self.timeout.or(other.timeout),
            retries: self.retries.or(other.retries),
            api_key_file: self.api_key_file.or_else(|| other.api_key_file.clone()),
        }
    }

    /// Log-probabilities at each position, of a server that speaks `api`; `None` for the whole vocabulary.
    #[must_use]
    pub fn n_logprobs(&self, api: Api) -> Option<u32> {
        match (self.logprobs, api) {
            (Some(Logprobs::All), _) => None,
            (Some(Logprobs::Top(n)), _) => Some(n),
            (None, Api::OpenAi) => Some(LOGPROBS_OPENAI),
            (None, _) => Some(LOGPROBS),
        }
    }

    #[must_use]
    pub fn n_ahead(&self) -> u32 {
        self.ahead.unwrap_or(AHEAD)
    }

    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.unwrap_or(TIMEOUT).into())
    }

    #[must_use]
    pub fn n_retries(&self) -> u32 {
        self.retries.unwrap_or(RETRIES)
    }

    /// Refuses what could not run.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let rest = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let is_address = rest.is_some_and(|rest| {
            let host = rest.split('/').next().unwrap_or_default();
            !host.is_empty() && !host.contains('@') && !rest.contains(['?', '#', ' '])
        });
        if !is_address {
            // An address may hold a password.
            let shown =
                if self.url.contains('@') { "an address with a user".to_owned() } else { format!("{:?}", self.url) };
            let expected = "http://HOST:PORT or https://HOST without user, query and fragment";
            return Err(OutOfRange::new("base-url", shown, expected));
        }
        if let Some(Logprobs::Top(n)) = self.logprobs.filter(|logprobs| *logprobs == Logprobs::Top(0)) {
            return Err(OutOfRange::new("base-logprobs", n, "1 or more, or all"));
        }
        if !(1..=MAX_AHEAD).contains(&self.n_ahead()) {
            return Err(OutOfRange::new("base-ahead", self.n_ahead(), format!("1 to {MAX_AHEAD} tokens")));
        }
        if self.timeout == Some(0) {
            return Err(OutOfRange::new("base-timeout", 0, "a second or more"));
        }
        if self.exact && self.api.is_some_and(|api| api != Api::LlamaServer) {
            let got = self.api.map_or("", Api::name);
            return Err(OutOfRange::new("base-api", got, "llama-server, as --base-exact is given"));
        }
        match self.offset_threshold {
            Some(_) if !self.exact => {
                Err(OutOfRange::new("base-offset-threshold", "given", "it beside --base-exact alone"))
            }
            Some(nats) if !(0.0..=1.0).contains(&nats) => {
                Err(OutOfRange::new("base-offset-threshold", nats, "0 to 1 nats"))
            }
            _ => Ok(()),
        }
    }
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// llama.cpp's server, and `proxytune serve`: `/completion`.
    LlamaServer,
    /// vLLM's `/v1/completions`, with prompts and answers as ids.
    Vllm,
    /// `/v1/completions` as `OpenAI` has it: prompts and answers as text.
    #[serde(rename = "openai")]
    OpenAi,
}

impl Api {
    pub const ALL: [Self; 3] = [Self::LlamaServer, Self::Vllm, Self::OpenAi];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaServer => "llama-server",
            Self::Vllm => "vllm",
            Self::OpenAi => "openai",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many log-probabilities are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Typed", into = "Typed")]
pub enum Logprobs {
    Top(u32),
    /// Of the whole vocabulary.
    All,
}

/// As it stands in a recipe: a number, or `all`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Typed {
    Number(u32),
    Word(String),
}

impl TryFrom<Typed> for Logprobs {
    type Error = OutOfRange;

    fn try_from(typed: Typed) -> Result<Self, OutOfRange> {
        match typed {
            Typed::Number(n) => Ok(Self::Top(n)),
            Typed::Word(word) => word.parse(),
        }
    }
}

impl From<Logprobs> for Typed {
    fn from(logprobs: Logprobs) -> Self {
        match logprobs {
            Logprobs::Top(n) => Self::Number(n),
            Logprobs::All => Self::Word("all".to_owned()),
        }
    }
}

impl FromStr for Logprobs {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let expected = || OutOfRange::new("base-logprobs", format!("{text:?}"), "a number from 1 on, or all");
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().ok().filter(|n| *n > 0).map(Self::Top).ok_or_else(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_nothing_secret() {
        for url in ["http://127.0.0.1:8080", "https://api.example.org/v1", "http://[::1]:80/"] {
            assert_eq!(Remote::at(url).validate(), Ok(()), "{url}");
        }
        for url in ["", "127.0.0.1:8080", "http://", "ftp://a", "http://a b", "http://a?x=1", "http://user:word@host"] {
            let refused = Remote::at(url).validate().expect_err(url).to_string();
            assert!(refused.contains("base-url") && !refused.contains("word"), "{refused}");
        }
    }

    #[test]
    fn what_is_asked_for_is_bounded() {
        let at = || Remote::at("http://a");
        let wrong = [
            Remote { logprobs: Some(Logprobs::Top(0)), ..at() },
            Remote { ahead: Some(0), ..at() },
            Remote { ahead: Some(65), ..at() },
            Remote { timeout: Some(0), ..at() },
            Remote { exact: true, api: Some(Api::Vllm), ..at() },
            Remote { offset_threshold: Some(0.1), ..at() },
            Remote { exact: true, offset_threshold: Some(f32::NAN), ..at() },
        ];
        for remote in wrong {
            assert!(remote.validate().is_err(), "{remote:?}");
        }
        assert!(Remote { exact: true, offset_threshold: Some(0.1), ..at() }.validate().is_ok());
        assert_eq!("all".parse(), Ok(Logprobs::All));
        assert_eq!("20".parse(), Ok(Logprobs::Top(20)));
        assert!("none".parse::<Logprobs>().is_err() && "0".parse::<Logprobs>().is_err());
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let text = "url = \"http://a:1\"\napi = \"openai\"\nlogprobs = \"all\"\nexact = false\n";
        let remote: Remote = toml::from_str(text).expect("a table");
        assert_eq!((remote.api, remote.logprobs), (Some(Api::OpenAi), Some(Logprobs::All)));
        let again: Remote = toml::from_str(&toml::to_string(&remote).expect("text")).expect("a table");
        assert_eq!(again, remote);
        assert!(toml::from_str::<Remote>("url = \"http://a\"\nkey = \"secret\"\n").is_err());
    }
}
