//! The recipe that is meant: the one that is named, or the demo's where no model is, with the flags over it.

use std::path::Path;

use anyhow::Result;

use super::alpha::{Alpha, Parts, constants};
use super::deterministic;
use super::models::{Models, RoleFlags};
use super::report::{BadUsage, Hinted};
use super::terminal::{say, shown};
use super::text::escaped;
use crate::recipe::builtin::BuiltIn;
use crate::recipe::model_spec::Lora;
use crate::recipe::placement::Placement;
use crate::recipe::view::TemplateName;
use crate::recipe::{ModelName, ModelSpec, PairSpec, Recipe, Schedule, View};

/// The recipe that is used when no model is named.
pub const DEMO: &str = "demo";

/// `escape`: texts of the flags are unescaped.
pub fn recipe(args: &Models, alpha: &Alpha, escape: bool) -> Result<Recipe> {
    // As with any option that is given twice, the last one counts.
    recipe_named(args, args.recipe.last().map(String::as_str), alpha, escape)
}

/// The same with the recipe of that name, or none.
pub fn recipe_named(args: &Models, name: Option<&str>, alpha: &Alpha, escape: bool) -> Result<Recipe> {
    let (expert, antiexpert) = (args.expert_flags.get(), args.antiexpert_flags.get());
    let has_expert = args.expert.is_some() || expert.hub.is_some();
    let has_antiexpert = args.antiexpert.is_some() || antiexpert.hub.is_some();
    if let Some(word) =
        args.model.as_ref().filter(|model| ["base", "none"].iter().any(|word| model.as_os_str() == *word))
    {
        return Err(BadUsage(format!("the base is {:?}, expected a model's file", word.display().to_string())))
            .hint("`base` and `none` are for -me and -ma");
    }
    let hub = args.hf_repo.clone().map(|repo| ModelName::Hub { repo, file: args.hf_file.clone() });
    let server = args.remote.over(None).map(|remote| ModelName::Remote(Box::new(remote)));
    let base = args.model.clone().map(ModelName::File).or(hub).or(server);
    let mut recipe = match (name, &base) {
        (Some(name), _) => Recipe::open(name)?,
        (None, Some(base)) => Recipe::bare(base.clone().into()),
        (None, None) if !has_expert && !has_antiexpert => Recipe::open(DEMO)
            .hint("name models with -m, -me and -ma, or set PROXYTUNE_MODELS to the folder that holds demo/")?,
        (None, None) => {
            return Err(BadUsage("an expert or antiexpert is given without a base".to_owned()))
                .hint("name the base with -m FILE, or a recipe with -R: `-R demo` has the bundled one");
        }
    };
    if let Some(base) = base {
        name_base(&mut recipe.base, base);
    }
    ask_server(args, &mut recipe)?;
    if has_expert || has_antiexpert {
        if name.is_none() && !(has_expert && has_antiexpert) {
            let (given, missing, flag) =
                if has_expert { ("-me", "antiexpert", "-ma") } else { ("-ma", "expert", "-me") };
            return Err(BadUsage(format!("{given} is given without {flag}, the {missing}")))
                .hint(format!("name it with {flag} FILE; {flag} none leaves that side out of the sum on purpose"));
        }
        // The flags name the first pair's sides; further pairs of a recipe stay.
        if recipe.pairs.is_empty() {
            recipe.pairs.push(PairSpec::default());
        }
        let pair = &mut recipe.pairs[0];
        name_side("-me", &mut pair.expert, args.expert.as_deref(), expert.hub.clone());
        name_side("-ma", &mut pair.antiexpert, args.antiexpert.as_deref(), antiexpert.hub.clone());
        pair.alpha_expert.take_if(|_| pair.expert.is_none());
        pair.alpha_antiexpert.take_if(|_| pair.antiexpert.is_none());
        // `none` for both is the base by itself.
        recipe.pairs.retain(|pair| pair.expert.is_some() || pair.antiexpert.is_some());
        if recipe.pairs.is_empty() {
            recipe.base_weight = None;
        }
    }
    weigh(&mut recipe, alpha)?;
    let own = [args.lora.as_slice(), &args.lora_scaled].concat();
    add_adapters(&mut recipe.base, &own);
    recipe.base.placement = args.placement().or(&recipe.base.placement);
    recipe.base.rope = args.rope.get().or(&recipe.base.rope);
    if let Some(template) = chat_template(args)? {
        let sides = recipe.pairs.iter_mut().flat_map(|pair| [&mut pair.expert, &mut pair.antiexpert]);
        let all = [&mut recipe.base].into_iter().chain(sides.flatten());
        all.for_each(|spec| spec.view.template = Some(template.clone()));
    }
    if let Some(template) = &args.base_template {
        recipe.base.view.template = Some(template.as_str().into());
    }
    put_over(&expert, "expert", escape, recipe.pairs.iter_mut().map(|pair| &mut pair.expert))?;
    put_over(&antiexpert, "antiexpert", escape, recipe.pairs.iter_mut().map(|pair| &mut pair.antiexpert))?;
    if args.deterministic {
        deterministic::place(args, &mut recipe)?;
    }
    recipe.validate()?;
    Ok(recipe)
}

/// Names the base in place of a recipe's. What that says of devices and adapters is nothing to a server.
fn name_base(base: &mut ModelSpec, name: ModelName) {
    if matches!(name, ModelName::Remote(_)) {
        let view = base.view.clone();
        *base = ModelSpec { view, ..name.into() };
    } else {
        base.rename(name);
    }
}

/// Puts what was typed of the server over what a recipe says of it.
fn ask_server(args: &Models, recipe: &mut Recipe) -> Result<()> {
    if !args.remote.is_given() {
        return Ok(());
    }
    let ModelName::Remote(known) = &mut recipe.base.model else {
        return Err(BadUsage("an option of the base's server is given, and the base is on none".to_owned()))
            .hint("name the server with --base-url URL, in place of -m");
    };
    if let Some(remote) = args.remote.over(Some(known)) {
        **known = remote;
    }
    Ok(())
}

/// Puts the weights that were typed over what a recipe says. A new α is that of both sides.
fn weigh(recipe: &mut Recipe, alpha: &Alpha) -> Result<()> {
    let Parts { alpha_expert, alpha_antiexpert, base_weight } = &alpha.parts;
    let alphas = alpha.schedules()?;
    let is_typed = [alphas.len(), alpha_expert.len(), alpha_antiexpert.len()] != [0; 3] || base_weight.is_some();
    if is_typed && recipe.pairs.is_empty() {
        return no_pair();
    }
    each(&mut recipe.pairs, &alphas, "α", PairSpec::set_alpha)?;
    each(&mut recipe.pairs, &constants(alpha_expert), "--alpha-expert", |pair, weight| {
        pair.alpha_expert = Some(weight);
    })?;
    each(&mut recipe.pairs, &constants(alpha_antiexpert), "--alpha-antiexpert", |pair, weight| {
        pair.alpha_antiexpert = Some(weight);
    })?;
    if let Some(weight) = *base_weight {
        recipe.base_weight = Some(Schedule::constant(weight));
    }
    Ok(())
}

/// One value for all pairs, or one for each.
fn each(pairs: &mut [PairSpec], values: &[Schedule], name: &str, set: impl Fn(&mut PairSpec, Schedule)) -> Result<()> {
    let n_pairs = pairs.len();
    if values.len() > 1 && values.len() != n_pairs {
        let of = if n_pairs == 1 { "pair" } else { "pairs" };
        return Err(BadUsage(format!("{} values of {name} are given for {n_pairs} {of}", values.len())))
            .hint("give one for all pairs, or one for each");
    }
    for (pair, value) in pairs.iter_mut().zip(values.iter().cycle()) {
        set(pair, value.clone());
    }
    Ok(())
}

/// Refuses a weight that nothing would be steered by.
pub fn no_pair<T>() -> Result<T> {
    Err(BadUsage("α is given, and there is no pair to steer with".to_owned()))
        .hint("name a small tuned model with -me and the same model before its tuning with -ma")
}

/// The template that every role is to see.
fn chat_template(args: &Models) -> Result<Option<TemplateName>> {
    if let Some(path) = &args.chat_template_file {
        return Ok(Some(TemplateName::File(path.clone())));
    }
    let Some(text) = &args.chat_template else { return Ok(None) };
    let template = TemplateName::from(text.as_str());
    if let TemplateName::File(path) = &template
        && !path.is_file()
    {
        let known = BuiltIn::ALL.map(BuiltIn::name).join(", ");
        return Err(BadUsage(format!("there is no chat template {text:?}"))).hint(format!(
            "expected Jinja source or one of {known}, plain, model and expert. llama.cpp's other built-in templates are \
             code: `--chat-template model` takes the one in the model's own file, --chat-template-file one of yours"
        ));
    }
    Ok(Some(template))
}

fn name_side(flag: &str, side: &mut Option<ModelSpec>, typed: Option<&Path>, hub: Option<ModelName>) {
    let model = match (typed, hub) {
        (None, None) => return,
        (Some(path), _) if path.as_os_str() == "none" => {
            *side = None;
            return;
        }
        (Some(path), _) => path.to_path_buf().into(),
        (None, Some(hub)) => hub,
    };
    match side {
        Some(side) => {
            // Adapters go with the model that they were made for.
            if !is_same_file(&side.model, &model) {
                for adapter in side.lora.drain(..) {
                    say!(
                        "note: {flag} names another model than the recipe, whose adapter {} is left out",
                        shown(&adapter.path.display().to_string())
                    );
                }
            }
            side.rename(model);
        }
        None => *side = Some(model.into()),
    }
}

/// Whether two names mean one file, as far as names tell: a file of the hub may lie anywhere under its own name.
fn is_same_file(known: &ModelName, typed: &ModelName) -> bool {
    let file = |name: &ModelName| match name {
        ModelName::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        ModelName::Hub { file, .. } => file.as_deref()?.rsplit('/').next().map(str::to_owned),
        ModelName::Base | ModelName::Remote(_) => None,
    };
    let is_hub = |name: &ModelName| matches!(name, ModelName::Hub { .. });
    known == typed || (is_hub(known) || is_hub(typed)) && file(known).is_some() && file(known) == file(typed)
}

/// Adds adapters to those that a spec has; one that is there already gets the new scale.
fn add_adapters(spec: &mut ModelSpec, adapters: &[Lora]) {
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    for adapter in adapters {
        match spec.lora.iter_mut().find(|there| same(&there.path, &adapter.path)) {
            Some(there) => there.scale = adapter.scale,
            None => spec.lora.push(adapter.clone()),
        }
    }
}

/// Puts the flags of a role over that role in every pair; adapters over the first alone.
fn put_over<'a>(
    flags: &RoleFlags,
    role: &str,
    escape: bool,
    sides: impl Iterator<Item = &'a mut Option<ModelSpec>>,
) -> Result<()> {
    let RoleFlags { lora, view, placement, .. } = flags;
    let mut view = view.clone();
    for text in [&mut view.system, &mut view.prefix, &mut view.prompt].into_iter().flatten() {
        *text = escaped(text, escape);
    }
    let mut n_sides = 0;
    for side in sides.flatten() {
        if n_sides == 0 {
            add_adapters(side, lora);
        }
        side.view = view.or(&side.view);
        side.placement = placement.or(&side.placement);
        n_sides += 1;
    }
    let is_asked = !lora.is_empty() || view != View::default() || *placement != Placement::default();
    if n_sides == 0 && is_asked {
        return Err(BadUsage(format!("an option of the {role} is given, and there is no {role}")))
            .hint(format!("name it with -{} FILE, or `base`", if role == "expert" { "me" } else { "ma" }));
    }
    Ok(())
}
