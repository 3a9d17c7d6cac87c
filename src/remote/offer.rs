//! What a server is and offers, before it is asked for a token.

use std::fmt;

use serde_json::{Value, json};

use super::http::Http;
use super::words::Words;
use super::{Error, Token, ids::Ids};
use crate::plain::plain;
use crate::recipe::Remote;
use crate::recipe::remote::Api;

/// Ids that are spelled in one request.
const CHUNK: usize = 8192;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub url: String,
    pub api: Api,
    /// What it calls its model.
    pub model: String,
    /// Tokens that a text can hold there, where it says so.
    pub n_ctx: Option<usize>,
    /// Texts that it computes at once, where it says so.
    pub n_slots: Option<usize>,
    /// Size of the model's vocabulary, where it says so.
    pub n_vocab: Option<usize>,
    /// Its own name and version, where it says so.
    pub program: Option<String>,
    /// How it was made sure that its ids are the small models'.
    pub tokenizer: Verified,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, api, program, .. } = self;
        match program.as_deref().filter(|program| !program.contains("unknown")) {
            Some(program) => write!(f, "{api} ({}) at {url}", plain(program)),
            None => write!(f, "{api} at {url}"),
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spelled { n_tokens, n_skipped } => write!(
                f,
                "the server spells {n_tokens} tokens as the small models do; {n_skipped} are no text by themselves, and were not asked for"
            ),
            Self::File => f.write_str("the tokenizer.json that is named has the small models' tokens"),
            Self::Bytes => f.write_str("text travels, and what comes back is looked up by its bytes"),
        }
    }
}

/// How ids of a server and of the small models are known to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// The server spelled so many ordinary tokens, each as the small models do; so many more are no text by themselves.
    Spelled { n_tokens: usize, n_skipped: usize },
    /// A `tokenizer.json` names the server's.
    File,
    /// Text alone travels, and words are looked up by their bytes.
    Bytes,
}

/// Asks a server what it is.
pub(super) fn find(http: &Http, spec: &Remote) -> Result<Offer, Error> {
    match spec.api {
        Some(Api::LlamaServer) => llama_server(http, spec),
        Some(api) => completions(http, spec, Some(api)),
        None => match llama_server(http, spec) {
            Err(error) if is_other(&error) => completions(http, spec, None),
            done => done,
        },
    }
}

/// Whether somebody answers who speaks something else.
fn is_other(error: &Error) -> bool {
    match error {
        Error::Status { status, .. } => matches!(status, 400 | 404 | 405 | 501),
        Error::Garbage { .. } => true,
        Error::GaveUp { source, .. } => is_other(source),
        _ => false,
    }
}

fn llama_server(http: &Http, spec: &Remote) -> Result<Offer, Error> {
    let read = |props: &Value| {
        if props["default_generation_settings"].is_object() {
            Ok(props.clone())
        } else {
            Err(http.garbage("no `default_generation_settings` in /props"))
        }
    };
    let props = http.ask("/props", None, read).0?;
    let listed = http.ask("/v1/models", None, |models| Ok(models.clone())).0?;
    let names = names(&listed);
    let model = choose(http, spec, &names)?;
    let entry = entry(&listed, &model);
    let size = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    Ok(Offer {
        url: http.root().to_owned(),
        api: Api::LlamaServer,
        n_ctx: size(&props["default_generation_settings"]["n_ctx"]),
        n_slots: size(&props["total_slots"]),
        n_vocab: size(&entry["meta"]["n_vocab"]),
        program: props["build_info"].as_str().map(str::to_owned),
        model,
        tokenizer: Verified::Bytes,
    })
}

fn completions(http: &Http, spec: &Remote, api: Option<Api>) -> Result<Offer, Error> {
    let read = |models: &Value| {
        if models["data"].is_array() {
            Ok(models.clone())
        } else {
            Err(http.garbage("no list of models in /v1/models"))
        }
    };
    let listed = http.ask("/v1/models", None, read).0.map_err(|error| match error {
        error if api.is_none() && is_other(&error) => Error::NoApi { url: http.root().to_owned() },
        error => error,
    })?;
    let model = choose(http, spec, &names(&listed))?;
    let entry = entry(&listed, &model);
    let is_vllm = entry["owned_by"] == "vllm";
    let api = api.unwrap_or(if is_vllm { Api::Vllm } else { Api::OpenAi });
    let version = if api == Api::Vllm { http.ask("/version", None, |value| Ok(value.clone())).0.ok() } else { None };
    Ok(Offer {
        url: http.root().to_owned(),
        api,
        n_ctx: entry["max_model_len"].as_u64().and_then(|n| usize::try_from(n).ok()),
        n_slots: None,
        n_vocab: None,
        program: version.and_then(|version| Some(format!("vLLM {}", version["version"].as_str()?))),
        model,
        tokenizer: Verified::Bytes,
    })
}

fn names(listed: &Value) -> Vec<String> {
    let names = listed["data"].as_array().into_iter().flatten();
    names.filter_map(|model| model["id"].as_str().map(str::to_owned)).collect()
}

fn entry<'a>(listed: &'a Value, model: &str) -> &'a Value {
    let mut models = listed["data"].as_array().into_iter().flatten();
    models.find(|entry| entry["id"] == model).unwrap_or(&Value::Null)
}

/// The model that is meant.
fn choose(http: &Http, spec: &Remote, names: &[String]) -> Result<String, Error> {
    let url = || http.root().to_owned();
    let shown = |names: &[String]| names.iter().map(|name| http.shown(name)).collect();
    match (&spec.model, names) {
        (Some(name), names) if names.contains(name) => Ok(name.clone()),
        (Some(name), [_, ..]) => Err(Error::NoModel { url: url(), name: name.clone(), names: shown(names) }),
        // A list may be empty, and the model there all the same.
        (Some(name), []) | (None, [name]) => Ok(name.clone()),
        (None, []) => Ok(String::new()),
        (None, names) => Err(Error::SeveralModels { url: url(), names: shown(names) }),
    }
}

/// Lets the server spell every ordinary token, and refuses it where it spells one otherwise.
pub(super) fn verify(http: &Http, offer: &Offer, words: &Words, ids: &Ids) -> Result<Verified, Error> {
    let texts = (0..words.len()).filter_map(|id| Some((id as Token, words.text(id)?)));
    let texts: Vec<(Token, &str)> = texts.collect();
    let other = |what: String| Error::OtherTokenizer { url: http.root().to_owned(), what };
    let n_theirs = offer.n_vocab.unwrap_or(usize::MAX);
    for (token, text) in &texts {
        if ids.theirs(*token).is_ok_and(|id| id as usize >= n_theirs) {
            return Err(other(format!("its vocabulary ends at {n_theirs}, and token {token} is {text:?} here")));
        }
    }
    // Some tokenizers put a space in front of a text, and take one away: letters stand there, so that it is none of a token's.
    let front = words.filler().and_then(|id| Some((id, words.text(id as usize)?)));
    let spell = |texts: &[(Token, &str)]| -> Result<(String, String), Error> {
        let texts: Vec<_> = front.iter().chain(texts).collect();
        let tokens: Vec<Token> = texts.iter().map(|(token, _)| ids.theirs(*token)).collect::<Result<_, _>>()?;
        let body = match offer.api {
            Api::LlamaServer => json!({"tokens": tokens}),
            _ => json!({"model": offer.model, "tokens": tokens}),
        };
        let read = |answer: &Value| {
            let spelled = answer.get("content").or(answer.get("prompt")).and_then(Value::as_str);
            spelled.map(str::to_owned).ok_or_else(|| http.garbage("no text from /detokenize"))
        };
        let theirs = http.ask("/detokenize", Some(&body), read).0?;
        let ours: String = texts.iter().map(|(_, text)| *text).collect();
        Ok((ours.trim_start().to_owned(), theirs.trim_start().to_owned()))
    };
    for chunk in texts.chunks(CHUNK) {
        let mut part = chunk;
        loop {
            let (ours, theirs) = spell(part)?;
            if ours == theirs {
                if part.len() == chunk.len() {
                    break;
                }
                // Two that are right by themselves are not right together: the culprit was in the other half.
                return Err(other("it spells tokens otherwise".to_owned()));
            }
            if let [(token, _)] = part {
                let own = |text: String| match front.and_then(|(_, front)| text.strip_prefix(front)) {
                    Some(own) => own.to_owned(),
                    None => text,
                };
                let (ours, theirs) = (own(ours), own(theirs));
                return Err(other(format!("token {token} is {theirs:?} there and {ours:?} here")));
            }
            let (front, back) = part.split_at(part.len() / 2);
            let (ours, theirs) = spell(front)?;
            part = if ours == theirs { back } else { front };
        }
    }
    Ok(Verified::Spelled { n_tokens: texts.len(), n_skipped: words.len() - texts.len() })
}
