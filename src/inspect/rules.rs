//! What is looked at, and how it is judged.

mod file;
mod room;

use super::finding::{Finding, Level};
use super::memory::Device;
use super::model::{File, Model};
use crate::recipe::Schedule;
use crate::steer::{Error, Facts, Plan, Role, SidePlan};
use crate::vocab::compare::{self, Verdict, specials};

/// The base has no say in the sum: what that means, and the next step.
pub const CANCELLED_BASE: &str = "the base has no say: its own weight and those of the sides that are the base come to 0, and \
                                  it is computed all the same";
pub const CANCELLED_BASE_HINT: &str =
    "an α below 1 (--alpha 0.5) keeps a part of the base; what is left of the sum is cheaper by itself, with -m";

/// Every finding, in the order of what decides first.
pub(super) fn all(plan: &Plan, facts: Result<&Facts, &Error>, models: &[Model], devices: &[Device]) -> Vec<Finding> {
    let mut found = Findings::default();
    for model in models {
        found.file(model, plan.sources().map(|(_, source)| source).find(|source| source.path == model.path));
    }
    // Where the base is on a server, the first small model has its tokenizer, and says nothing else of it.
    let has_file = plan.base.source().is_some();
    let Some((base, small)) = models.split_first() else { return found.0 };
    for model in small {
        if let (Ok(base), Ok(file)) = (&base.file, &model.file) {
            found.vocabulary(model.role, base, file, plan.allow_drift);
            if has_file {
                found.model(model.role, base, file);
            }
        }
    }
    if let Ok(file) = &base.file
        && has_file
        && is_proxy_tuning(plan)
    {
        found.base(file);
    }
    let side = |side: &Option<SidePlan>| match &side.as_ref()?.source {
        None => models.first().filter(|_| has_file),
        Some(source) => models.iter().find(|model| model.path == source.path),
    };
    for (i, pair) in plan.pairs.iter().enumerate() {
        let is_same = match facts {
            Ok(facts) => facts.view(Role::Expert(i)) == facts.view(Role::Antiexpert(i)),
            Err(_) => false,
        };
        let adapters = |side: &Option<SidePlan>| side.as_ref()?.source.as_ref().map(|source| source.adapters.clone());
        let is_same = is_same && adapters(&pair.expert) == adapters(&pair.antiexpert);
        found.pair(i, pair.weights(), side(&pair.expert), side(&pair.antiexpert), is_same);
    }
    if plan.pairs.is_empty() {
        found.tell(
            Level::Note,
            "pair",
            None,
            "there is no pair: the base writes by itself",
            "to steer it, name a small tuned model with -me and the same before its tuning with -ma",
        );
    }
    if facts.is_ok_and(|facts| plan.cancels_base(facts)) {
        found.tell(Level::Warning, "alpha", Some(Role::Base), CANCELLED_BASE, CANCELLED_BASE_HINT);
    }
    found.roles(plan, facts);
    for (i, pair) in plan.pairs.iter().enumerate() {
        for (role, of) in [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)] {
            if let (Ok(facts), Some(model)) = (facts, side(of)) {
                found.beginning(role, facts, model);
            }
        }
    }
    found.ends(models);
    found.context(plan, models);
    found.memory(devices, plan, models.iter().all(|model| model.file.is_ok()));
    found.0
}

/// Whether some pair carries a tuning over to the base: an expert that is another model than the base, tuned from one that
/// is another model too. Guidance, contrastive decoding and products of experts take any base.
fn is_proxy_tuning(plan: &Plan) -> bool {
    let base = plan.base.source().map(|base| &base.path);
    let is_own = |side: &Option<SidePlan>| {
        let source = side.as_ref().and_then(|side| side.source.as_ref());
        source.is_some_and(|source| Some(&source.path) != base)
    };
    plan.pairs.iter().any(|pair| is_own(&pair.expert) && is_own(&pair.antiexpert))
}

#[derive(Default)]
struct Findings(Vec<Finding>);

/// Who a finding is about.
type About = Option<Role>;

impl Findings {
    fn add(&mut self, level: Level, topic: &'static str, role: About, text: impl Into<String>) -> &mut Finding {
        self.0.push(Finding { level, topic, role, text: text.into(), advice: None });
        self.0.last_mut().expect("just added")
    }

    fn ok(&mut self, topic: &'static str, role: About, text: impl Into<String>) {
        self.add(Level::Ok, topic, role, text);
    }

    fn tell(&mut self, level: Level, topic: &'static str, role: About, text: impl Into<String>, advice: &str) {
        self.add(level, topic, role, text).advice = Some(advice.to_owned());
    }

    fn vocabulary(&mut self, role: Role, base: &File, file: &File, allow_drift: bool) {
        const TOPIC: &str = "vocabulary";
        let about = Some(role);
        match compare::compare(&base.vocabulary, &file.vocabulary) {
            Verdict::Identical => {
                self.ok(TOPIC, about, format!("the base's {} tokens, id by id", base.vocabulary.len()));
            }
            Verdict::Padded { n_base, n_other } => {
                let text = format!(
                    "padded: the shared ids are the same, {} further ones are unused",
                    n_base.abs_diff(n_other)
                );
                self.ok(TOPIC, about, text);
            }
            Verdict::Remapped { n_moved, .. } => {
                let text = format!("the base's tokens, {n_moved} of them under other ids: they are mapped");
                self.add(Level::Note, TOPIC, about, text);
            }
            Verdict::Drifted { differences, .. } if allow_drift => {
                let text = format!("ordinary tokens are the base's, special ones are not all: {differences}");
                let advice = "the base's special tokens that it lacks are never chosen";
                self.tell(Level::Warning, TOPIC, about, text, advice);
            }
            Verdict::Drifted { differences, .. } => {
                let text = format!("ordinary tokens are the base's, special ones are not all: {differences}");
                self.tell(Level::Refused, TOPIC, about, text, "--allow-vocab-drift takes it all the same");
            }
            Verdict::Different(differences) => {
                let text = format!("it has another tokenizer than the base: {differences}");
                self.tell(Level::Refused, TOPIC, about, text, "take base and pair from one family with one tokenizer");
                return;
            }
        }
        if !base.vocabulary.cuts_as(&file.vocabulary) {
            let name = |file: &File| format!("{} {}", file.vocabulary.tokenizer(), file.vocabulary.splitter());
            let text = format!(
                "it cuts text otherwise than the base (base {}, here {}, or other merges)",
                name(base).trim(),
                name(file).trim()
            );
            self.tell(Level::Warning, "tokenizer", about, text, "convert both with the same version of llama.cpp");
        }
        for compare::SpecialDifference { part, base, other } in specials(&base.vocabulary, &file.vocabulary) {
            let shown = |token: Option<String>| token.map_or("none".to_owned(), |token| format!("{token:?}"));
            let text = format!("its {part} token is {}, the base's is {}", shown(other), shown(base));
            self.add(Level::Note, "specials", about, text);
        }
    }

    /// What else a small model and the base must agree on, and what steering can bring.
    fn model(&mut self, role: Role, base: &File, file: &File) {
        let about = Some(role);
        if base.softcap() != file.softcap() {
            let shown = |cap: Option<f64>| cap.map_or("none".to_owned(), |cap| cap.to_string());
            let (here, there) = (shown(file.softcap()), shown(base.softcap()));
            let text =
                format!("its final logits are capped at {here}, the base's at {there}: the offset has another scale");
            self.tell(Level::Warning, "softcap", about, text, "measure several α with `proxytune perplexity`");
        }
        if base.vocabulary.add_bos() != file.vocabulary.add_bos() {
            let shown = |add: Option<bool>| match add {
                None => "by default",
                Some(true) => "yes",
                Some(false) => "no",
            };
            let (here, there) = (shown(file.vocabulary.add_bos()), shown(base.vocabulary.add_bos()));
            let text = format!("whether its texts begin with BOS ({here}) is not as in the base ({there})");
            self.add(Level::Note, "bos", about, text);
        }
        if matches!(role, Role::Expert(_)) && file.n_params() >= base.n_params() && base.n_params() > 0 {
            let text = "it is no smaller than the base";
            self.tell(
                Level::Warning,
                "size",
                about,
                text,
                "an expert of this size writes as well by itself, and faster",
            );
        }
    }

    fn base(&mut self, file: &File) {
        let about = Some(Role::Base);
        match file.looks_tuned() {
            Some(reason) if file.template().is_none() || !reason.contains("template") => {
                let text = format!("it looks tuned already: {reason}");
                let advice = "proxy-tuning moves an untuned base; take the model it was tuned from";
                self.tell(Level::Warning, "tuned", about, text, advice);
            }
            Some(reason) => {
                self.add(Level::Note, "tuned", about, format!("it may be tuned already: {reason}"));
            }
            None => {}
        }
    }

    /// What the roles see, and what is added to them: as far as the files are in order.
    fn roles(&mut self, plan: &Plan, facts: Result<&Facts, &Error>) {
        let facts = match facts {
            Ok(facts) => facts,
            Err(Error::Adapter { role, source }) => {
                let advice = source.hint().map(str::to_owned);
                self.add(Level::Refused, "adapter", Some(*role), source.to_string()).advice = advice;
                return;
            }
            Err(
                error @ (Error::Prompt { role, .. }
                | Error::NoTemplate { role, .. }
                | Error::TemplateFile { role, .. }
                | Error::NoExpert { role }),
            ) => {
                let advice = "--base-template, --expert-template and --antiexpert-template take plain, model or a file";
                self.tell(Level::Refused, "template", Some(*role), error.to_string(), advice);
                return;
            }
            Err(_) => return,
        };
        for (role, source) in plan.sources().filter(|(_, source)| !source.adapters.is_empty()) {
            let n = source.adapters.len();
            self.ok("adapter", Some(role), format!("{n} of its own, made for this model"));
        }
        for left_out in &facts.left_out {
            let advice = "the adapter acts by its other tensors alone; merge it into the model to have all of it";
            self.tell(Level::Warning, "adapter", Some(left_out.role), left_out.to_string(), advice);
        }
        for (i, pair) in plan.pairs.iter().enumerate() {
            let sides = [(Role::Expert(i), &pair.expert), (Role::Antiexpert(i), &pair.antiexpert)];
            for (role, _) in sides.into_iter().filter(|(_, side)| side.is_some()) {
                if facts.view(role).is_some_and(|view| view.template.is_some()) {
                    self.add(Level::Note, "template", Some(role), "it is given the prompt in a chat template");
                }
            }
        }
        if facts.view(Role::Base).is_some_and(|view| view.template.is_some()) {
            self.add(Level::Note, "template", Some(Role::Base), "it is given the prompt in a chat template");
        }
    }

    /// What a role begins with that is shown no prompt.
    fn beginning(&mut self, role: Role, facts: &Facts, model: &Model) {
        const TOPIC: &str = "prompt";
        let (Some(view), Ok(file)) = (facts.view(role), &model.file) else { return };
        if view.prompt.as_deref() != Some("") || view.prefix.as_ref().is_some_and(|prefix| !prefix.is_empty()) {
            return;
        }
        let Some(Ok(vocabulary)) = model.report().map(|report| &report.vocabulary) else { return };
        let name = |id: i32| usize::try_from(id).ok().and_then(|id| file.vocabulary.shown(id)).unwrap_or_default();
        let declared = file.typed.number("tokenizer.ggml.bos_token_id").and(vocabulary.bos);
        if view.template.is_some() {
            self.ok(TOPIC, Some(role), "it is shown no prompt: it begins with its chat template around nothing");
        } else if let Some(bos) = vocabulary.bos.filter(|_| vocabulary.add_bos) {
            self.ok(TOPIC, Some(role), format!("it is shown no prompt: it begins with {}", name(bos)));
        } else if let Some(bos) = declared {
            let text = format!(
                "it is shown no prompt, and its model puts no token in front of a text: it begins with {}, the BOS that its \
                 file names",
                name(bos)
            );
            self.add(Level::Note, TOPIC, Some(role), text);
        } else {
            let text = "it is shown no prompt, and its model has no BOS: it begins with the last token of the prompt";
            self.add(Level::Note, TOPIC, Some(role), text);
        }
    }

    /// `is_same`: what distinguishes the two is their files alone.
    fn pair(
        &mut self,
        i: usize,
        weights: [&Schedule; 2],
        expert: Option<&Model>,
        antiexpert: Option<&Model>,
        is_same: bool,
    ) {
        let about = Some(Role::Antiexpert(i));
        if weights.iter().all(|weight| weight.as_constant() == Some(0.0)) {
            self.add(Level::Note, "alpha", Some(Role::Expert(i)), "α is 0: this pair changes nothing");
        }
        let (Some(expert), Some(antiexpert)) = (expert, antiexpert) else {
            if expert.is_some() {
                let text = "it has no antiexpert: its logits are added as they are, a product of experts";
                self.add(Level::Note, "pair", Some(Role::Expert(i)), text);
            } else {
                let text = "it has no expert: its logits are taken away, contrastive decoding";
                let advice =
                    "--plausibility 0.1 cuts off what the base finds implausible; without a cut the text is noise";
                self.tell(Level::Note, "pair", Some(Role::Antiexpert(i)), text, advice);
            }
            return;
        };
        if expert.path == antiexpert.path && !is_same {
            return;
        }
        if expert.path == antiexpert.path {
            let text = "expert and antiexpert are one file under one prompt: their difference is zero";
            self.tell(Level::Warning, "pair", about, text, "the antiexpert is the expert before its tuning");
            return;
        }
        // The base as one side is another size on purpose.
        if [expert, antiexpert].into_iter().any(|model| model.role == Role::Base) {
            return;
        }
        let (Ok(e), Ok(a)) = (&expert.file, &antiexpert.file) else { return };
        let mut differs = |what: &str, expert: String, antiexpert: String| {
            if expert != antiexpert {
                let text = format!("its {what} is {antiexpert}, the expert's is {expert}");
                let advice = "the difference of the two then holds more than the tuning";
                self.tell(Level::Warning, "pair", about, text, advice);
            }
        };
        differs("architecture", e.header.architecture(), a.header.architecture());
        differs("number of parameters", e.n_params().to_string(), a.n_params().to_string());
        differs("quantisation", e.header.quantisation(), a.header.quantisation());
        if let Some(reason) = a.looks_tuned().filter(|reason| !reason.contains("template")) {
            let text = format!("it looks tuned: {reason}");
            self.tell(Level::Warning, "tuned", about, text, "the antiexpert is the expert before its tuning");
        }
    }

    /// What ends a generation, role by role, by llama.cpp's word.
    fn ends(&mut self, models: &[Model]) {
        let ends = |model: &Model| {
            let report = model.report()?.vocabulary.as_ref().ok()?;
            let mut names: Vec<String> = report.eog.iter().map(|(_, name)| name.clone()).collect();
            names.sort_unstable();
            Some(names)
        };
        let Some(base) = models.first().and_then(ends) else { return };
        if base.is_empty() {
            let text = "it has no token that ends a text";
            self.tell(Level::Note, "eog", Some(Role::Base), text, "set a length with -n or a stop text with -r");
        }
        for model in models.iter().skip(1) {
            if let Some(names) = ends(model).filter(|names| *names != base) {
                let text = format!("a text ends for it with {}, for the base with {}", list(&names), list(&base));
                self.add(Level::Note, "eog", Some(model.role), text);
            }
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
}
