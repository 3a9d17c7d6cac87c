//! The server that holds a base: who is there, whether its tokenizer is the pair's, what it shows, and how it will be used.

use super::finding::{Finding, Level};
use crate::llama::backend::Backend;
use crate::remote::{Server, Trial};
use crate::steer::models::Models;
use crate::steer::{Error, Plan, Role};

/// What there is to say of a plan's server; nothing where the base is on none. The first small model is loaded, and the
/// server is asked for two tokens.
#[must_use]
pub fn server(backend: &Backend, plan: &Plan) -> Vec<Finding> {
    let finding = |level, topic, text: String, advice: Option<&str>| Finding {
        level,
        topic,
        role: Some(Role::Base),
        text,
        advice: advice.map(str::to_owned),
    };
    let server = match Models::default().meet(backend, plan) {
        Ok(None) => return Vec::new(),
        Ok(Some(server)) => server,
        Err(error) => {
            let hint = error.hint();
            let text = match &error {
                Error::Remote { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            return vec![finding(Level::Refused, "server", text, hint)];
        }
    };
    let offer = server.offer();
    let mut about = vec![offer.to_string()];
    if !offer.model.is_empty() {
        about.push(format!("model {}", offer.model));
    }
    about.extend(offer.n_ctx.map(|n| format!("texts of {n} tokens")));
    about.extend(offer.n_slots.map(|n| format!("{n} at once")));
    let mut findings = vec![
        finding(Level::Ok, "server", about.join(", "), None),
        finding(Level::Ok, "server's tokenizer", offer.tokenizer.to_string(), None),
    ];
    match server.try_out() {
        Ok(trial) => findings.push(finding(Level::Ok, "log-probabilities", shown(&server, trial), None)),
        Err(error) => {
            findings.push(finding(Level::Refused, "log-probabilities", error.to_string(), error.hint()));
            return findings;
        }
    }
    let (mode, advice) = mode(&server);
    findings.push(finding(Level::Note, "mode", mode, advice));
    findings
}

fn shown(server: &Server, trial: Trial) -> String {
    let Trial { n_shown, n_dropped, mass, took } = trial;
    let by = match server.offer().tokenizer {
        crate::remote::Verified::Bytes => "by bytes",
        _ => "by id",
    };
    let dropped = if n_dropped == 0 { String::new() } else { format!(", {n_dropped} more stand for no one token") };
    let took = took.as_secs_f64() * 1e3;
    format!(
        "{n_shown} at a position, {by}{dropped}: {:.1} % of the probability; a request takes {took:.1} ms",
        mass * 100.0
    )
}

/// How the server is used, and what else it could do.
fn mode(server: &Server) -> (String, Option<&'static str>) {
    use crate::recipe::remote::Api;

    if server.draws() {
        let text = "exact: the offset goes to the server, which samples from the whole steered distribution";
        return (text.to_owned(), None);
    }
    let n = server.n_logprobs() as usize;
    if n >= server.n_vocab() {
        return ("exact: the log-probabilities of the whole vocabulary come here".to_owned(), None);
    }
    let text = format!(
        "top {n}: a token is chosen among those that the server shows; a bound on what the others could have is told with each text"
    );
    let advice = match server.offer().api {
        Api::LlamaServer => {
            "--base-exact lets the server sample from the whole distribution; --base-logprobs N shows more of it here"
        }
        Api::Vllm => "--base-logprobs N shows more of it, as many as the server's --max-logprobs",
        Api::OpenAi => "--base-logprobs N shows more of it, as many as the server gives",
    };
    (text, Some(advice))
}
