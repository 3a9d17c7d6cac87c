//! What `perplexity` and `calibrate` share: texts to score, room to score them in, and figures in words.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use super::report::{BadUsage, Hinted, hinted};
use super::resolve::{self, Resolved};
use super::terminal::say;
use super::text::read_text;
use crate::arithmetic::statistics::GroupedMean;
use crate::arithmetic::units;
use crate::eval::documents::{self, Document};
use crate::eval::figures::Figures;
use crate::eval::kept::Store;
use crate::eval::texts::{Group, Texts};
use crate::inspect::main_memory::main_memory;
use crate::parameter::OutOfRange;
use crate::recipe::{Recipe, View};
use crate::steer::{Ensemble, Facts, Plan};

/// llama-perplexity's window.
const DEFAULT_WINDOW: usize = 512;
/// Room for a document, where models have it.
const DEFAULT_DOCUMENT: usize = 2048;
/// Most texts at once: each has a KV cache of its own.
const MAX_TEXTS: usize = 16;
/// What the rows of one decode may take, for each lane.
const ROWS_BYTES: usize = 64 << 20;

/// What a file holds.
pub enum Given {
    Text(String),
    Documents(Vec<Document>),
}

impl Given {
    /// Documents where the file's name ends in `.jsonl`, else a text.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        if path.extension().is_none_or(|end| !end.eq_ignore_ascii_case("jsonl")) {
            return Ok(Self::Text(text));
        }
        let named = |error: documents::Error| hinted(anyhow!("{}, {error}", path.display()), error.hint());
        documents::parse(&text).map(Self::Documents).map_err(named)
    }

    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Tells what of a recipe is left out where figures are of the whole distribution.
    pub fn note_left_out(&self, recipe: &Recipe) {
        self.note_views(recipe);
        if recipe.sampling.plausibility > 0.0 {
            say!("note: the plausibility cut is left out: it gives some tokens no probability at all");
        }
    }

    /// Tells that a text as it is leaves out what roles see otherwise.
    pub fn note_views(&self, recipe: &Recipe) {
        if self.is_text() && recipe.models().any(|spec| spec.view != View::default()) {
            say!("note: every role is given the text as it is; templates and prompts of the roles are left out");
        }
    }

    /// The resolved plan with room for as many texts at once as a batch holds, and for their rows.
    pub fn make_room(&self, resolved: &mut Resolved, ctx_size: Option<u32>) -> Result<()> {
        let unless_asked = if self.is_text() { DEFAULT_WINDOW } else { DEFAULT_DOCUMENT };
        let facts = resolve::set_ctx(&mut resolved.plan, ctx_size, unless_asked)?;
        let plan = &mut resolved.plan;
        make_room_for_rows(plan, &facts);
        let n_at_once = plan.contexts_mut().map(|context| context.n_batch / context.n_ctx.max(1)).min().unwrap_or(1);
        plan.texts = crate::steer::Texts::apart(n_at_once.clamp(1, MAX_TEXTS));
        Ok(())
    }

    /// The texts to score, at most `max_windows` of a text; told is what is too long.
    pub fn texts(
        &self,
        ensemble: &Ensemble,
        recipe: &Recipe,
        path: &Path,
        max_windows: Option<usize>,
    ) -> Result<Texts> {
        let texts = match self {
            Self::Text(text) => Texts::windows(ensemble, text, max_windows)?,
            Self::Documents(documents) => {
                let n = documents.len().min(max_windows.unwrap_or(usize::MAX));
                let system = recipe.system_prompt.as_deref().filter(|system| !system.is_empty());
                Texts::documents(ensemble, &documents[..n], system)?
            }
        };
        let n_ctx = ensemble.n_ctx();
        let n = texts.n_too_long;
        if texts.is_empty() && n > 0 {
            return Err(anyhow!("every document of {} is longer than the context of {n_ctx} tokens", path.display()))
                .hint("give more room with -c");
        }
        if texts.is_empty() {
            return Err(anyhow!("{} holds no token to predict", path.display())).hint("give a text of a few sentences");
        }
        if n > 0 {
            let documents = if n == 1 { "1 document is".to_owned() } else { format!("{n} documents are") };
            say!("note: {documents} longer than the context of {n_ctx} tokens and left out; -c gives more room");
        }
        Ok(texts)
    }
}

/// Room for so many bytes of rows: in memory where they take no more than half of what is free. `no_room` says what to do where there is none.
pub fn store(n_bytes: u64, no_room: &'static str) -> Result<Store> {
    let size = units::bytes(n_bytes);
    if n_bytes <= main_memory().available / 2 {
        say!("note: keeps {size} of logits in memory");
        return Ok(Store::memory());
    }
    say!("note: keeps {size} of logits in a temporary file");
    let file = tempfile::tempfile().map_err(|error| anyhow!("there is no temporary file: {error}"));
    file.map(Store::file).hint(no_room)
}

/// Gives every context of a plan room for the rows of many tokens at once.
pub fn make_room_for_rows(plan: &mut Plan, facts: &Facts) {
    for context in plan.contexts_mut() {
        let n_rows = (ROWS_BYTES / (size_of::<f32>() * facts.n_vocab)).clamp(1, context.n_batch);
        context.n_outputs_max = context.n_outputs_max.max(n_rows);
    }
}

/// Refuses weights that change along the answer, where a text is predicted.
pub fn no_answer<T>(hint: &str) -> Result<T> {
    let text = "the recipe changes α along the answer, and a text to predict has no answer";
    Err(BadUsage(text.to_owned())).hint(hint)
}

/// Refuses a window of one token.
pub fn check_ctx(ctx_size: Option<u32>) -> Result<()> {
    if ctx_size == Some(1) {
        return Err(OutOfRange::new("ctx-size", 1, "2 or more: one token to predict the next").into());
    }
    Ok(())
}

/// `1234 tokens predicted in 5 windows of 512`, or how many of all.
pub fn counted(n_tokens: usize, n_texts: usize, n_all: usize, group: Group, n_ctx: usize) -> String {
    let (group, of) = match group {
        Group::Window => ("windows", format!(" of {n_ctx}")),
        Group::Document => ("documents", String::new()),
    };
    if n_texts < n_all {
        format!("stopped: {n_tokens} tokens predicted in {n_texts} of {n_all} {group}{of}")
    } else {
        format!("{n_tokens} tokens predicted in {n_texts} {group}{of}")
    }
}

/// A mean with its standard error; one text has no spread.
fn shown(mean: &GroupedMean) -> String {
    let error = mean.standard_error();
    let error = if error.is_nan() { "–".to_owned() } else { format!("{error:.4}") };
    format!("{:>+10.4} ± {error:<6}", mean.mean())
}

/// The head of a table whose rows [`line`] makes.
pub fn head(width: usize, has_expert: bool) -> String {
    let expert = if has_expert { format!(" {:>19}", "against expert ±") } else { String::new() };
    format!(
        "{:width$} {:>19} {:>11} {:>19}{expert} {:>9} {:>7}",
        "", "nats/token ±", "perplexity", "against base ±", "top moved", "KL"
    )
}

/// A row: `is_base` has nothing to be compared with. `expert`: the lane of the expert alone, where there is one.
pub fn line(name: &str, width: usize, figures: &Figures, is_base: bool, expert: Option<usize>) -> String {
    let loss = &figures.loss;
    let error = loss.standard_error();
    let error = if error.is_nan() { "–".to_owned() } else { format!("{error:.4}") };
    let own = format!("{name:width$} {:>10.4} ± {error:<6} {:>11.2}", loss.mean(), figures.perplexity());
    if is_base {
        return own;
    }
    let against = [Some(0), expert].into_iter().flatten().map(|lane| format!(" {}", shown(figures.against(lane))));
    let (changed, divergence) = (100.0 * figures.changed.mean(), figures.divergence.mean());
    format!("{own}{} {changed:>7.1} % {divergence:>7.3}", against.collect::<String>())
}

/// A row for scripts.
pub fn object(figures: &Figures, expert: Option<usize>) -> Map<String, Value> {
    let Figures { loss, changed, divergence, .. } = figures;
    let (base, expert) = (figures.against(0), expert.map(|lane| figures.against(lane)));
    let value = json!({
        "nats_per_token": loss.mean(), "standard_error": loss.standard_error(), "perplexity": figures.perplexity(),
        "against_base": base.mean(), "against_base_standard_error": base.standard_error(),
        "against_expert": expert.map(GroupedMean::mean),
        "against_expert_standard_error": expert.map(GroupedMean::standard_error),
        "intervention_rate": changed.mean(), "kl_from_base": divergence.mean(),
    });
    if let Value::Object(object) = value { object } else { Map::new() }
}
