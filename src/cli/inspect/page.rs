//! What was found, as one page for a browser: a file that asks for nothing else.
//!
//! Words of models and files are text there and nothing else: the template escapes them, the data that the script reads
//! holds no `<`, and a policy lets no script run but the page's own, by its hash.

use std::path::Path;

use anyhow::Result;
use minijinja::{Value, context};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::super::page;
use super::super::terminal::say;
use super::found::{Found, N_MOVED, SHADES, shade};
use crate::arithmetic::logprobs::Standing;
use crate::eval::influence::{Candidate, Influence, Moved};
use crate::eval::texts::Group;
use crate::plain::{named, visible};

const TEMPLATE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// More tokens make a page slow.
const MAX_TOKENS: usize = 20_000;

/// What the page is about.
pub struct Page {
    /// The name of a file.
    title: Option<String>,
    /// What stands in front of the only text.
    prompt: Option<(String, String)>,
    group: Group,
}

impl Page {
    pub fn of_answer(prompt: &str, prefix: &str) -> Self {
        let prompt = Some((prompt.to_owned(), prefix.to_owned()));
        Self { title: None, prompt, group: Group::Document }
    }

    pub fn of_file(path: &Path, group: Group) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { title: Some(name), prompt: None, group }
    }

    pub fn render(&self, found: &Found) -> Result<String> {
        let influences = &found.influences;
        let n_shown = influences.tokens.len().min(MAX_TOKENS);
        if n_shown < influences.tokens.len() {
            say!("note: the page shows the first {n_shown} of {} tokens", influences.tokens.len());
        }
        let mut n_before = 0;
        let texts = found.texts().map(|(text, tokens)| {
            let n = tokens.len().min(n_shown - n_before.min(n_shown));
            let value = self.text(found, text, &tokens[..n], n_before);
            n_before += tokens.len();
            (n, value)
        });
        let texts: Vec<_> = texts.take_while(|(n, _)| *n > 0).map(|(_, value)| value).collect();
        let (promoted, demoted) = (influences.promoted(N_MOVED), influences.demoted(N_MOVED));
        let most = promoted.iter().chain(&demoted).map(|moved| moved.sum.abs()).fold(0.0, f64::max);
        let bars = |moved: &[Moved]| moved.iter().map(|moved| bar(found, moved, most)).collect::<Vec<_>>();
        let shades: Vec<_> =
            SHADES.iter().enumerate().map(|(i, bound)| context! {bound => bound.to_string(), class => i + 1}).collect();
        let name = self.title.as_deref().map(visible);
        let values = context! {
            title => ["What steering changed"].into_iter().chain(name.as_deref()).collect::<Vec<_>>().join(": "),
            weights => found.weights.as_str(),
            style => Value::from_safe_string(STYLE.to_owned()),
            script => Value::from_safe_string(SCRIPT.to_owned()),
            script_hash => base64(digest(&SHA256, SCRIPT.as_bytes()).as_ref()),
            data => Value::from_safe_string(data(found, n_shown)),
            n_tokens => influences.tokens.len(),
            n_shown,
            n_changed => influences.n_changed(),
            share => format!("{:.0}", 100.0 * influences.changed.mean()),
            kl => format!("{:.3}", influences.divergence.mean()),
            kl_error => Some(influences.divergence.standard_error()).filter(|error| !error.is_nan())
                .map(|error| format!("{error:.3}")),
            texts, shades,
            promoted => bars(&promoted), demoted => bars(&demoted),
        };
        page::render(TEMPLATE, &values)
    }

    /// A text with its tokens, the first of which is the token `n_before` of all.
    fn text(&self, found: &Found, text: usize, tokens: &[Influence], n_before: usize) -> Value {
        let spelled = found.spelled(tokens);
        let tokens = tokens.iter().zip(&spelled).enumerate().map(|(i, (token, text))| {
            let changed = if token.is_changed() { " changed" } else { "" };
            let ends_line = if text.contains('\n') { " break" } else { "" };
            let class = format!("k{}{changed}{ends_line}", shade(token.divergence));
            context! {i => n_before + i, class, text => visible(text)}
        });
        let name = match (&self.prompt, self.group) {
            (Some(_), _) => None,
            (None, Group::Window) => Some(format!("Window {}", text + 1)),
            (None, Group::Document) => Some(format!("Document {}", text + 1)),
        };
        let (prompt, prefix) = match (&self.prompt, self.group) {
            (Some((prompt, prefix)), _) => (visible(prompt), visible(prefix)),
            (None, Group::Document) => (visible(&found.prompt(text)), String::new()),
            (None, Group::Window) => (String::new(), String::new()),
        };
        context! {name, prompt, prefix, tokens => tokens.collect::<Vec<_>>()}
    }
}

fn bar(found: &Found, Moved { token, sum, n_written }: &Moved, most: f64) -> Value {
    context! {
        name => named(&found.name(*token)), sum => format!("{sum:+.2}").replace('-', "−"), n_written,
        share => format!("{:.4}", sum.abs() / most),
    }
}

/// What the script knows of tokens, as JSON that is safe inside of HTML: the names of the roles, and for each token its text
/// and place, what it is called, its divergence, its probability and rank under every role, and both top tokens.
fn data(found: &Found, n_shown: usize) -> String {
    let share = |logprob: f64| (logprob.exp() * 1e6).round() / 1e6;
    let top =
        |Candidate { token, base, steered }: Candidate| json!([named(&found.name(token)), share(base), share(steered)]);
    let token = |token: &Influence| {
        let standing = |it: Standing| json!([share(it.logprob), it.rank]);
        let roles: Vec<_> = found.standings(token).map(|(_, it)| it.map(standing)).collect();
        let kl = (token.divergence * 1e4).round() / 1e4;
        let tops = [top(token.base_top), top(token.steered_top)];
        json!([
            token.text + 1,
            token.position + 1,
            named(&found.name(token.token)),
            kl,
            roles,
            tops,
            token.is_changed()
        ])
    };
    let tokens: Vec<_> = found.influences.tokens[..n_shown].iter().map(token).collect();
    let sides = found.sides.iter().map(|(name, _)| name.as_str());
    let roles: Vec<_> = std::iter::once("base").chain(sides).chain(["steered"]).collect();
    inert(&json!({"roles": roles, "tokens": tokens}).to_string())
}

/// JSON in which nothing ends a script, begins a comment, or ends a line of JavaScript.
fn inert(json: &str) -> String {
    let escaped = |c: char| match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    json.chars().map(escaped).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for block in bytes.chunks(3) {
        let bits = block.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - block.len()));
        for i in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]);
            text.push(if i <= block.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_everybody_elses() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn data_does_not_leave_its_script() {
        let text = "</script><!--\u{2028}\u{2029}&amp;";
        let json = inert(&json!(text).to_string());
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("still JSON"), text);
    }
}
