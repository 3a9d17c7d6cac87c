//! Args and recipe → what is meant: a plan, a request, a prompt.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use super::args::{self, GpuLayers, Models, Placement, Prompt};
use super::report::{BadUsage, Hinted};
use super::{Done, progress};
use crate::generate::Request;
use crate::llama::backend::{self, Backend};
use crate::llama::lane::LaneParams;
use crate::llama::model::ModelParams;
use crate::llama::{device, rpc};
use crate::recipe::{Pair, Recipe, Sampling, Side};
use crate::steer::load::{Facts, Models as Loaded};
use crate::steer::{ModelSource, PairPlan, Plan, SidePlan, Steered};

/// The recipe that is used when no model is named.
const DEMO: &str = "demo";
/// Context when none is asked for: enough for a chat, small enough for three KV caches.
pub const DEFAULT_CTX: usize = 4096;
/// More text than this is a mistake.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// What a command that writes text is to do.
pub struct Run {
    pub resolved: Resolved,
    pub prompt: String,
    /// Nobody gave a prompt: it is the recipe's.
    pub is_example: bool,
    pub request: Request,
}

impl Run {
    pub fn new(args: &args::Run) -> Result<Self> {
        let mut resolved = Resolved::new(&args.models, args.alpha, Pairs::Required)?;
        let given = prompt(&args.prompt)?;
        let is_example = given.is_none();
        let example = || BadUsage("there is no prompt".to_owned());
        let prompt = given.or_else(|| resolved.recipe.example_prompt.clone()).ok_or_else(example);
        let prompt = prompt.hint("give one with -p TEXT or -f FILE, or pipe it in")?;
        let escape = !args.prompt.no_escape;
        let request = Request {
            sampling: args.sampling.over(&resolved.recipe.sampling, escape)?,
            n_predict: usize::try_from(args.prompt.n_predict).ok(),
            stop: args.prompt.stop.iter().map(|text| escaped(text, escape)).collect(),
            n_probs: None,
        };
        set_ctx(&mut resolved.plan, args.models.ctx_size, DEFAULT_CTX)?;
        Ok(Self { resolved, prompt, is_example, request })
    }
}

/// Whether a base by itself is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    Required,
    Optional,
}

/// A plan with everything that is needed to run it.
pub struct Resolved {
    pub recipe: Recipe,
    pub plan: Plan,
    pub backend: Backend,
    pub models: Loaded,
}

impl Resolved {
    /// What the models flags mean. `alpha` overrides the recipe's.
    pub fn new(args: &Models, alpha: Option<f32>, pairs: Pairs) -> Result<Self> {
        let recipe = recipe(args, alpha, pairs)?;
        let backend = backend::shared()?;
        for endpoint in args.rpc.iter().collect::<BTreeSet<_>>() {
            rpc::add_server(&backend, endpoint)?;
        }
        let plan = plan(args, &recipe, &backend)?;
        Ok(Self { recipe, plan, backend, models: Loaded::default() })
    }

    /// Loads what the plan needs, with a bar for each file on a terminal.
    pub fn load(&mut self, plan: &Plan) -> Result<Steered> {
        let mut bars = progress::Loading::default();
        let steered = Steered::load(&self.backend, plan, &mut self.models, &mut |role, path, share| {
            bars.report(role, path, share);
            !super::interrupt::stopped()
        });
        Ok(steered?)
    }
}

/// The recipe that is named, or the demo's where no model is, with the flags' models over it.
fn recipe(args: &Models, alpha: Option<f32>, pairs: Pairs) -> Result<Recipe> {
    let named = args.model.is_some() || args.expert.is_some() || args.antiexpert.is_some();
    let mut recipe = match (&args.recipe, &args.model) {
        (Some(name), _) => Recipe::open(name)?,
        (None, Some(base)) => bare(base.clone()),
        (None, None) if !named => Recipe::open(DEMO)
            .hint("name models with -m, -me and -ma, or set PROXYTUNE_MODELS to the folder that holds demo/")?,
        (None, None) => {
            return Err(BadUsage("an expert or antiexpert is given without a base".to_owned()))
                .hint("name the base with -m FILE");
        }
    };
    if let Some(base) = &args.model {
        recipe.base.clone_from(base);
    }
    if args.expert.is_some() || args.antiexpert.is_some() {
        if args.recipe.is_none() && (args.expert.is_none() || args.antiexpert.is_none()) {
            let (given, missing, flag) = if args.expert.is_some() {
                ("an expert", "antiexpert", "-ma")
            } else {
                ("an antiexpert", "expert", "-me")
            };
            return Err(BadUsage(format!("{given} is given without an {missing}")))
                .hint(format!("name it with {flag} FILE; {flag} none leaves that side out of the sum on purpose"));
        }
        // The flags name the first pair's sides; further pairs of a recipe stay.
        if recipe.pairs.is_empty() {
            recipe.pairs.push(Pair { alpha: 1.0, expert: None, antiexpert: None });
        }
        override_side(&mut recipe.pairs[0].expert, args.expert.as_deref());
        override_side(&mut recipe.pairs[0].antiexpert, args.antiexpert.as_deref());
    }
    if recipe.pairs.is_empty() && pairs == Pairs::Required {
        return Err(BadUsage(format!("there is nothing to steer {} with", recipe.base.display())))
            .hint("name a small tuned model with -me and the same model before its tuning with -ma");
    }
    if let Some(alpha) = alpha {
        recipe.pairs.iter_mut().for_each(|pair| pair.alpha = alpha);
    }
    recipe.validate()?;
    Ok(recipe)
}

fn bare(base: PathBuf) -> Recipe {
    Recipe { description: None, base, pairs: Vec::new(), sampling: Sampling::default(), example_prompt: None }
}

fn override_side(side: &mut Option<Side>, typed: Option<&Path>) {
    match typed {
        None => {}
        Some(path) if path.as_os_str() == "none" => *side = None,
        Some(path) => *side = Some(path.to_path_buf().into()),
    }
}

fn plan(args: &Models, recipe: &Recipe, backend: &Backend) -> Result<Plan> {
    let devices = |names: &[String]| device::by_name(backend, names);
    let base_model = ModelParams {
        n_gpu_layers: args.gpu_layers.0,
        devices: args.device.as_deref().map(devices).transpose()?,
        split_mode: args.split_mode.into(),
        main_gpu: args.main_gpu,
        tensor_split: args.tensor_split.clone(),
        load_mode: args.load_mode(),
        repack: !args.no_repack,
        check_tensors: args.check_tensors,
    };
    let defaults = LaneParams::default();
    let base_lane = LaneParams {
        n_ctx: 0,
        n_batch: args.batch_size.min(args.ubatch_size) as usize,
        // As in llama.cpp, no thread or a negative number of them asks for the default.
        n_threads: args.threads.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0).unwrap_or(defaults.n_threads),
        flash_attention: args.flash_attn,
        cache_type_k: args.cache_type_k,
        cache_type_v: args.cache_type_v,
        offload_kqv: !args.no_kv_offload,
        ..defaults
    };
    let side = |side: &Option<Side>, place: Placement<'_>| -> Result<Option<SidePlan>> {
        let path = match side {
            None => return Ok(None),
            Some(Side::Base) => return Ok(Some(SidePlan::Base)),
            Some(Side::File(path)) => path.clone(),
        };
        let (mut model, mut lane) = (base_model.clone(), base_lane.clone());
        if let Some(GpuLayers(layers)) = place.layers {
            model.n_gpu_layers = layers;
        }
        if let Some(names) = place.devices {
            model.devices = Some(devices(names)?);
        }
        lane.cache_type_k = place.cache_type_k.unwrap_or(lane.cache_type_k);
        lane.cache_type_v = place.cache_type_v.unwrap_or(lane.cache_type_v);
        Ok(Some(SidePlan::Model(ModelSource { path, model, lane })))
    };
    let mut pairs = Vec::new();
    for pair in &recipe.pairs {
        let expert = side(&pair.expert, args.expert_placement.get())?;
        let antiexpert = side(&pair.antiexpert, args.antiexpert_placement.get())?;
        pairs.push(PairPlan { alpha: pair.alpha, expert, antiexpert });
    }
    let base = ModelSource { path: recipe.base.clone(), model: base_model, lane: base_lane };
    Ok(Plan { base, pairs, allow_drift: args.allow_vocab_drift })
}

/// Gives every lane of a plan the same context: what was asked for, else `unless_asked`, as far as every model was
/// trained; 0 asks for what they were trained on. Answers what the files say.
pub fn set_ctx(plan: &mut Plan, asked: Option<u32>, unless_asked: usize) -> Result<Facts> {
    let facts = plan.check()?;
    let trained = facts.n_ctx_train;
    let n_ctx = n_ctx(asked, unless_asked, trained);
    if n_ctx > trained {
        eprintln!("note: a context of {n_ctx} tokens is longer than the {trained} that every model was trained on");
    }
    plan.lanes_mut().for_each(|lane| lane.n_ctx = n_ctx);
    Ok(facts)
}

/// What was asked for, else `unless_asked` as far as every model was trained; 0 asks for what they were trained on.
pub fn n_ctx(asked: Option<u32>, unless_asked: usize, trained: usize) -> usize {
    match asked {
        None => trained.min(unless_asked),
        Some(0) => trained,
        Some(n) => n as usize,
    }
}

/// The prompt: typed, from a file or piped in.
fn prompt(args: &Prompt) -> Result<Option<String>> {
    match (&args.prompt, &args.file) {
        (Some(text), _) => Ok(Some(escaped(text, !args.no_escape))),
        (None, Some(path)) => read_text(path).map(without_last_newline).map(Some),
        (None, None) if std::io::stdin().is_terminal() => Ok(None),
        (None, None) => {
            let text = read_text(Path::new("-")).map(without_last_newline)?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
    }
}

/// A text file, or stdin for `-`: UTF-8 of a size that a memory holds.
pub fn read_text(path: &Path) -> Result<String> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let unreadable = |error| anyhow!("cannot read {name}: {error}");
    let input: Box<dyn Read> =
        if is_stdin { Box::new(std::io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    let mut bytes = Vec::new();
    input.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(anyhow!("{name} is longer than the {} MiB of text accepted", MAX_TEXT_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow!("{name} is not UTF-8 text: byte {at} is {:#04x}", error.as_bytes()[at])
    })
}

/// The newline that ends a file is not part of the prompt, as in llama.cpp.
fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Text as it was typed, or unescaped.
pub fn escaped(text: &str, escape: bool) -> String {
    if escape { unescape(text) } else { text.to_owned() }
}

/// What llama.cpp makes of `\n`, `\r`, `\t`, `\'`, `\"`, `\\` and `\xHH` (ASCII) in a prompt.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out += before;
        let simple = after.chars().next().and_then(|c| match c {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            '\'' | '"' | '\\' => Some(c),
            _ => None,
        });
        let hex =
            || after.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok()).filter(u8::is_ascii);
        rest = if let Some(c) = simple {
            out.push(c);
            &after[1..]
        } else if let Some(byte) = hex() {
            out.push(char::from(byte));
            &after[3..]
        } else {
            out.push('\\');
            after
        };
    }
    out + rest
}

/// `proxytune devices`
pub fn list_devices() -> Result<Done> {
    let mut out = std::io::stdout().lock();
    let backend = backend::shared()?;
    for device in device::list(&backend) {
        let gib = |bytes: usize| bytes as f64 / (1_u64 << 30) as f64;
        let (free, total) = (gib(device.memory_free), gib(device.memory_total));
        writeln!(out, "{}\t{}\t{free:.1} of {total:.1} GiB free", device.name, device.description)?;
    }
    Ok(Done::Fine)
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_llama_cpps() {
        for (typed, expected) in [
            (r"a\nb", "a\nb"),
            (r"\t\\n\'", "\t\\n'"),
            (r"\x41\xe9\x4", r"A\xe9\x4"),
            (r"end\", r"end\"),
            ("é\\é", "é\\é"),
        ] {
            assert_eq!(unescape(typed), expected);
        }
    }
}
