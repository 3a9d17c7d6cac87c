//! What was found, in words.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::written;
use crate::arithmetic::statistics::GroupedMean;
use crate::cli::scoring;
use crate::cli::terminal::shown;
use crate::eval::Texts;
use crate::eval::calibrate::{Calibration, EPSILON, Measured, Setting, is_clearly_below};
use crate::eval::texts::Group;
use crate::recipe::Recipe;
use crate::steer::Weights;

const WIDTH: usize = 20;
/// Pairs often hurt where they change the top token more often (`BlendIn`, arXiv 2606.11201).
const MANY: f64 = 0.2;

pub struct Found<'a> {
    pub calibration: Calibration,
    pub recipe: &'a Recipe,
    pub texts: &'a Texts,
    pub n_ctx: usize,
}

fn name(row: &Measured) -> String {
    match row.setting {
        Setting::Alone(role) => role.to_string(),
        Setting::BestBase => "base, best weight".to_owned(),
        Setting::Own => match row.weights.as_ref().and_then(Weights::one_alpha) {
            Some(alpha) => format!("own α = {alpha}"),
            None => "own weights".to_owned(),
        },
        Setting::BestAlpha => "best α".to_owned(),
        Setting::BestWeights => "best weights".to_owned(),
        Setting::Alpha(alpha) => format!("α = {alpha}"),
    }
}

fn key(setting: Setting) -> String {
    match setting {
        Setting::Alone(role) => role.to_string(),
        Setting::BestBase => "best_base".to_owned(),
        Setting::Own => "own".to_owned(),
        Setting::BestAlpha => "best_alpha".to_owned(),
        Setting::BestWeights => "best_weights".to_owned(),
        Setting::Alpha(alpha) => format!("alpha {alpha}"),
    }
}

/// `−0.0120 ± 0.0030 nats a token`
fn difference(mean: &GroupedMean) -> String {
    let error = mean.standard_error();
    let error = if error.is_nan() { String::new() } else { format!(" ± {error:.4}") };
    format!("{:+.4}{error} nats a token", mean.mean())
}

impl Found<'_> {
    pub fn print(&self, output: Option<&Path>, tuned: &Recipe) -> std::io::Result<()> {
        let found = &self.calibration;
        let mut out = std::io::stdout().lock();
        let counted = scoring::counted(found.n_tokens, found.n_texts, found.n_texts, self.texts.group, self.n_ctx);
        writeln!(out, "{counted}\n\n{}", scoring::head(WIDTH, found.expert.is_some()))?;
        for row in &found.rows {
            let is_base = row.setting == Setting::Alone(crate::steer::Role::Base);
            writeln!(out, "{}", scoring::line(&name(row), WIDTH, &row.figures, is_base, found.expert))?;
        }
        writeln!(out)?;
        for row in &found.curve {
            writeln!(out, "{}", scoring::line(&name(row), WIDTH, &row.figures, false, found.expert))?;
        }
        writeln!(out, "\n{:>7}  {:>24}  {:>14}", "cut τ", "against no cut ±", "tokens removed")?;
        for cut in &found.cuts {
            let (mean, error) = (cut.against_none.mean(), cut.against_none.standard_error());
            writeln!(out, "{:>7}  {mean:>+15.4} ± {error:.4}  {:>12.2} %", cut.tau, 100.0 * cut.removed)?;
        }
        writeln!(out)?;
        for sentence in self.sentences() {
            writeln!(out, "{sentence}")?;
        }
        match output {
            Some(path) => writeln!(out, "\nwritten: {}", shown(&path.display().to_string())),
            None => writeln!(out, "\nIn the recipe:\n\n{}", shown(&written::lines(tuned, found))),
        }
    }

    /// What follows from the figures.
    fn sentences(&self) -> Vec<String> {
        let found = &self.calibration;
        let of = |setting| found.rows.iter().find(|row| row.setting == setting).and_then(|row| row.weights.as_ref());
        let words = |setting| of(setting).map(ToString::to_string).unwrap_or_default();
        let mut said = vec![format!("Best α: {}.", words(Setting::BestAlpha))];
        let weights = format!("Best weights: {}", words(Setting::BestWeights));
        let unseen = &found.weights_against_alpha;
        said.push(if unseen.standard_error().is_nan() {
            format!("{weights}. There are too few texts to tell whether they beat a plain α, which is recommended.")
        } else {
            let against =
                format!("{weights}: {} against the best α, on texts they were not fitted on.", difference(unseen));
            let then = if found.takes_weights {
                "That is more than two standard errors better, so the weights are recommended."
            } else {
                "That is not better by two standard errors, so the plain α is recommended."
            };
            format!("{against} {then}")
        });
        said.push(match (found.plausibility > 0.0, self.recipe.sampling.plausibility > 0.0) {
            (true, _) => {
                format!("Plausibility cut: {}, better than none by more than two standard errors.", found.plausibility)
            }
            (false, false) => "Plausibility cut: none is better than no cut by two standard errors.".to_owned(),
            (false, true) => format!(
                "Plausibility cut: none is better than no cut by two standard errors; the recipe keeps its {}.",
                self.recipe.sampling.plausibility
            ),
        });
        said.push(self.verdict());
        said.extend(self.sharpness());
        let changed = found.chosen().figures.changed.mean();
        if changed > MANY && !self.beats_both() {
            said.push(format!(
                "Steering changes the top token at {:.0} % of positions. Above about {:.0} % it often hurts: a lower α, or an \
                 expert tuned on more text, is worth a try.",
                100.0 * changed,
                100.0 * MANY
            ));
        }
        said
    }

    /// Whether a temperature does what the pairs do.
    fn sharpness(&self) -> Option<String> {
        let found = &self.calibration;
        let (base, tempered) = (found.against().0, &found.against_best_base);
        if !is_clearly_below(base) || is_clearly_below(tempered) {
            return None;
        }
        let row = found.rows.iter().find(|row| row.setting == Setting::BestBase)?;
        let weight = row.weights.as_ref()?.base_at(0);
        Some(format!(
            "But the base alone at a weight of {weight} (a temperature of {:.2}) predicts as well: steering is {} against it. \
             What is won is how sharp the distribution is, not what the pair knows.",
            weight.recip(),
            difference(tempered)
        ))
    }

    /// Whether the recommended weights beat the base and, if there is one, the expert alone.
    fn beats_both(&self) -> bool {
        let (base, expert) = self.calibration.against();
        is_clearly_below(base) && expert.is_none_or(is_clearly_below)
    }

    /// Whether steering is worth it.
    fn verdict(&self) -> String {
        let (base, expert) = self.calibration.against();
        let told = |who: &str, mean: &GroupedMean| format!("the {who} ({})", difference(mean));
        if base.standard_error().is_nan() {
            return "Verdict: one text alone does not tell whether steering helps; give more.".to_owned();
        }
        let beats_base = is_clearly_below(base);
        let Some(expert) = expert else {
            let beats = if beats_base { "beats" } else { "does not beat" };
            return format!("Verdict: steering {beats} {}.", told("base", base));
        };
        match (beats_base, is_clearly_below(expert)) {
            (true, true) => {
                format!("Verdict: steering beats {} and {}.", told("base", base), told("expert alone", expert))
            }
            (true, false) => format!(
                "Verdict: steering beats {}, but not {}, which is cheaper.",
                told("base", base),
                told("expert alone", expert)
            ),
            (false, true) => format!(
                "Verdict: steering beats {}, but not {}, which is cheaper.",
                told("expert alone", expert),
                told("base", base)
            ),
            (false, false) => {
                format!("Verdict: steering beats neither {} nor {}.", told("base", base), told("expert alone", expert))
            }
        }
    }

    pub fn print_json(&self) -> std::io::Result<()> {
        let found = &self.calibration;
        let row = |row: &Measured| {
            let mut object = serde_json::Map::new();
            object.insert("name".to_owned(), json!(key(row.setting)));
            if let Some(weights) = &row.weights {
                object.insert("weights".to_owned(), self.weights(weights));
            }
            object.extend(scoring::object(&row.figures, found.expert));
            object
        };
        let cut = |cut: &crate::eval::calibrate::Cut| {
            json!({"tau": cut.tau, "against_none": cut.against_none.mean(),
                   "against_none_standard_error": cut.against_none.standard_error(), "removed": cut.removed})
        };
        let rows: Vec<_> = found.rows.iter().map(row).collect();
        let curve: Vec<_> = found.curve.iter().map(row).collect();
        let cuts: Vec<_> = found.cuts.iter().map(cut).collect();
        let (base, expert) = found.against();
        let chosen = found.chosen();
        let n_texts = match self.texts.group {
            Group::Window => "n_windows",
            Group::Document => "n_documents",
        };
        let object = json!({
            "n_tokens": found.n_tokens, n_texts: found.n_texts, "n_too_long": self.texts.n_too_long,
            "n_ctx": self.n_ctx, "results": rows, "curve": curve, "cuts": cuts, "epsilon": EPSILON,
            "weights_against_alpha": found.weights_against_alpha.mean(),
            "weights_against_alpha_standard_error": found.weights_against_alpha.standard_error(),
            "recommended": {
                "name": key(chosen.setting), "weights": chosen.weights.as_ref().map(|weights| self.weights(weights)),
                "plausibility": found.plausibility, "beats_base": is_clearly_below(base),
                "beats_expert": expert.map(is_clearly_below),
                "against_best_base": found.against_best_base.mean(),
                "against_best_base_standard_error": found.against_best_base.standard_error(),
            },
        });
        writeln!(std::io::stdout().lock(), "{object}")
    }

    /// The weights at the answer's first position.
    fn weights(&self, weights: &Weights) -> Value {
        let pairs: Vec<_> = (0..self.recipe.pairs.len())
            .map(|i| weights.at(i, 0))
            .map(|(a, b)| json!({"expert": a, "antiexpert": b}))
            .collect();
        json!({"base": weights.base_at(0), "pairs": pairs})
    }
}
