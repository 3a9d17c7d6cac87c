//! Who answers: what was asked for, as far as a plan has it.

use std::path::Path;

use anyhow::Result;

use super::args::{Eval, Who};
use crate::cli::report::{BadUsage, Hinted};
use crate::cli::roles;
use crate::eval::contender::{Contender, Kind};
use crate::recipe::model_spec::Lora;
use crate::recipe::view::TemplateName;
use crate::recipe::{ModelSpec, Recipe, Schedule};
use crate::steer::{Plan, Role, Sampled, SidePlan, WeightsRequest};

/// Base, every side that is a model of its own, and steered at each α. Sides that are the same model under the same view
/// answer once.
pub fn of(args: &Eval, plan: &Plan) -> Result<Vec<Contender>> {
    let mut all = vec![alone(Kind::Base, Role::Base)];
    let mut seen: Vec<&SidePlan> = Vec::new();
    for (i, pair) in plan.pairs.iter().enumerate() {
        for (kind, role, side) in
            [(Kind::Expert, Role::Expert(i), &pair.expert), (Kind::Antiexpert, Role::Antiexpert(i), &pair.antiexpert)]
        {
            if let Some(side) = side.as_ref().filter(|side| side.source.is_some() && !seen.contains(side)) {
                seen.push(side);
                all.push(alone(kind, role));
            }
        }
    }
    all.extend(steered(&args.alpha, plan)?);
    for who in &args.contenders {
        if !all.iter().any(|contender| is(*who, contender.kind)) {
            return Err(BadUsage(format!("there is no {who:?} to answer").to_lowercase()))
                .hint("name the models with -m, -me and -ma, or a recipe with -R");
        }
    }
    if !args.contenders.is_empty() {
        all.retain(|contender| args.contenders.iter().any(|who| is(*who, contender.kind)));
    }
    Ok(all)
}

fn is(who: Who, kind: Kind) -> bool {
    let asked = match who {
        Who::Base => Kind::Base,
        Who::Expert => Kind::Expert,
        Who::Antiexpert => Kind::Antiexpert,
        Who::Steered => Kind::Steered,
    };
    asked == kind
}

fn alone(kind: Kind, role: Role) -> Contender {
    Contender { name: role.to_string(), kind, sampled: Sampled::Alone(role), weights: WeightsRequest::default() }
}

/// At each α that was typed, in order and once; else as planned. None for a base by itself.
fn steered(typed: &[f32], plan: &Plan) -> Result<Vec<Contender>> {
    let at = |name: String, weights| Contender { name, kind: Kind::Steered, sampled: Sampled::Steered, weights };
    if plan.pairs.is_empty() {
        return if typed.is_empty() { Ok(Vec::new()) } else { roles::no_pair() };
    }
    if typed.is_empty() {
        return Ok(vec![at(format!("steered {}", plan.weights()), WeightsRequest::default())]);
    }
    // A new α leaves the base's weight as it is.
    let base = plan.base_weight.as_ref().map(|weight| format!(", base × {weight}")).unwrap_or_default();
    let mut all: Vec<Contender> = Vec::new();
    for &alpha in typed {
        let schedule = Schedule::constant(alpha);
        schedule.validate()?;
        let contender = at(
            format!("steered α = {schedule}{base}"),
            WeightsRequest { alpha: vec![schedule], ..WeightsRequest::default() },
        );
        if !all.contains(&contender) {
            all.push(contender);
        }
    }
    Ok(all)
}

/// The model that was tuned itself, with the recipe that loads it, if there is one. It runs where the base runs, and sees
/// what the first expert sees, or the base where there is none.
pub fn tuned(args: &Eval, recipe: &Recipe) -> Option<(Contender, Recipe)> {
    let path = args.tuned.as_ref()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let adapter = args.tuned_lora.as_ref();
    let adapter_name = adapter.map(|path| format!(" + {}", name(path))).unwrap_or_default();
    let expert = recipe.pairs.first().and_then(|pair| pair.expert.as_ref());
    let mut view = expert.unwrap_or(&recipe.base).view.clone();
    if expert.is_some() {
        view.template.get_or_insert(TemplateName::Auto);
    }
    let spec = ModelSpec {
        lora: adapter.map(|path| Lora { path: path.clone(), scale: 1.0 }).into_iter().collect(),
        view,
        placement: recipe.base.placement.clone(),
        rope: recipe.base.rope.clone(),
        ..ModelSpec::file(path)
    };
    let contender = Contender { name: format!("tuned {}{adapter_name}", name(path)), ..alone(Kind::Tuned, Role::Base) };
    Some((contender, Recipe { system_prompt: recipe.system_prompt.clone(), ..Recipe::bare(spec) }))
}
