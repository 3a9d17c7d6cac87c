//! Which weights of the sum predict texts best, whether those are worth more than a plain α, and whether steering helps at
//! all.
//!
//! The models read the texts once and their rows are kept; the loss is convex in the weights, so that a few steps of
//! Newton's method find the best ones. Weights of single parts are recommended only where they beat a plain α by more than
//! two standard errors on texts that they were not fitted on: fitted on one half, measured on the other, both ways.

use super::figures::{self, Figures, Point, Subject, Tally};
use super::fit::{Search, fit};
use super::kept::{Error, Kept, Place};
use crate::arithmetic::offset::add_dense;
use crate::arithmetic::plausibility::losses_behind_cuts;
use crate::arithmetic::statistics::GroupedMean;
use crate::steer::{Role, Weights};

/// Values of α at which the curve is drawn.
const CURVE: [f32; 8] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0];
/// Plausibility cuts that are tried; the first one cuts nothing.
const TAUS: [f32; 6] = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1];
/// Share of the base that is mixed in where cuts are compared, so that no token has a probability of 0.
pub const EPSILON: f64 = 0.01;
/// Standard errors that a difference has to have.
const CLEAR: f64 = 2.0;

/// Who predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting {
    Alone(Role),
    /// The base alone at the weight that predicts best: one over a temperature.
    BestBase,
    /// The recipe's own weights.
    Own,
    BestAlpha,
    BestWeights,
    /// Every pair at this α.
    Alpha(f32),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub setting: Setting,
    /// `None` for a lane alone.
    pub weights: Option<Weights>,
    pub figures: Figures,
}

/// A plausibility cut at the weights that are recommended.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    pub tau: f32,
    /// Its loss minus that without a cut, token by token, both with [`EPSILON`] of the base mixed in.
    pub against_none: GroupedMean,
    /// Share of the reference tokens that the cut takes away.
    pub removed: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    pub n_tokens: usize,
    pub n_texts: usize,
    /// Lanes alone, the base first; then the base at its best weight, the recipe's own weights, the best α and the best weights.
    pub rows: Vec<Measured>,
    pub curve: Vec<Measured>,
    /// Best weights minus best α, each on texts that it was not fitted on.
    pub weights_against_alpha: GroupedMean,
    /// What is recommended minus the base alone at its best weight: what the pairs bring beyond a temperature.
    pub against_best_base: GroupedMean,
    /// Whether those of single parts are recommended.
    pub takes_weights: bool,
    pub cuts: Vec<Cut>,
    /// The cut that is recommended; 0 for none.
    pub plausibility: f32,
    /// The lane of the expert that predicts best alone.
    pub expert: Option<usize>,
}

/// Whether a difference is below 0 by more than chance.
#[must_use]
pub fn is_clearly_below(difference: &GroupedMean) -> bool {
    difference.mean() + CLEAR * difference.standard_error() < 0.0
}

fn choice(takes_weights: bool) -> Setting {
    if takes_weights { Setting::BestWeights } else { Setting::BestAlpha }
}

impl Calibration {
    /// What is recommended.
    #[must_use]
    pub fn chosen(&self) -> &Measured {
        let wanted = choice(self.takes_weights);
        self.rows.iter().find(|row| row.setting == wanted).unwrap_or(&self.rows[0])
    }

    /// What is recommended against the base, and against the expert alone where there is one.
    #[must_use]
    pub fn against(&self) -> (&GroupedMean, Option<&GroupedMean>) {
        let figures = &self.chosen().figures;
        (figures.against(0), self.expert.map(|lane| figures.against(lane)))
    }
}

/// Searches on `n_threads` threads. Refused by nothing but a file that cannot be read: rows were checked when they were
/// kept.
pub fn calibrate(kept: &Kept, n_threads: usize) -> Result<Calibration, Error> {
    let topology = kept.topology();
    let n_pairs = topology.n_pairs();
    let all_at = |alpha: f32| Weights::constant(1.0, &vec![(alpha, alpha); n_pairs]);
    let alphas = fit(kept, Search::Alphas, &all_at(1.0), n_threads, |_| true)?;
    let parts = fit(kept, Search::Parts, &alphas, n_threads, |_| true)?;
    let base = fit(kept, Search::Base, &all_at(0.0), n_threads, |_| true)?;

    let alone = topology.lanes().iter().map(|lane| (Setting::Alone(lane.role), None));
    let own = topology.planned().clone();
    let sums = [
        (Setting::BestBase, base),
        (Setting::Own, own),
        (Setting::BestAlpha, alphas.clone()),
        (Setting::BestWeights, parts.clone()),
    ];
    let curve = CURVE.map(|alpha| (Setting::Alpha(alpha), all_at(alpha)));
    let settings: Vec<_> =
        alone.chain(sums.into_iter().chain(curve).map(|(setting, weights)| (setting, Some(weights)))).collect();
    let subjects: Vec<_> = settings
        .iter()
        .enumerate()
        .map(|(i, (_, weights))| weights.clone().map_or(Subject::Alone(i), Subject::Sum))
        .collect();
    let weights_against_alpha = cross_validate(kept, [&alphas, &parts], n_threads)?;
    let takes_weights = is_clearly_below(&weights_against_alpha);
    let at = |wanted: Setting| settings.iter().position(|(setting, _)| *setting == wanted).unwrap_or(0);
    let (chosen, best_base) = (at(choice(takes_weights)), at(Setting::BestBase));
    let mut tally = Tally::new(topology.lanes().len(), subjects.len());
    let mut against_best_base = GroupedMean::default();
    let mut n_texts = 0;
    for text in score(kept, &subjects, n_threads, |_| true)? {
        let of_tokens = text.chunks(subjects.len());
        of_tokens.for_each(|points| against_best_base.push(points[chosen].loss - points[best_base].loss));
        against_best_base.next_group();
        tally.take_in(&text);
        n_texts += 1;
    }
    let figures = tally.into_figures();
    let expert = figures::best_expert(topology, &figures);
    let measured = settings.into_iter().zip(figures);
    let mut rows: Vec<_> =
        measured.map(|((setting, weights), figures)| Measured { setting, weights, figures }).collect();
    let curve = rows.split_off(rows.len() - CURVE.len());

    let cuts = cuts(kept, if takes_weights { &parts } else { &alphas }, n_threads)?;
    let clear = cuts.iter().filter(|cut| is_clearly_below(&cut.against_none));
    let best = clear.min_by(|a, b| a.against_none.mean().total_cmp(&b.against_none.mean()));
    let plausibility = best.map_or(0.0, |cut| cut.tau);
    let n_tokens = kept.places().len();
    Ok(Calibration {
        n_tokens,
        n_texts,
        rows,
        curve,
        weights_against_alpha,
        against_best_base,
        takes_weights,
        cuts,
        plausibility,
        expert,
    })
}

/// Points of every subject, text by text.
fn score(
    kept: &Kept,
    subjects: &[Subject],
    n_threads: usize,
    is_wanted: impl Fn(&Place) -> bool,
) -> Result<Vec<Vec<Point>>, Error> {
    let topology = kept.topology();
    let shares = kept.fold(n_threads, &is_wanted, Vec::new, |points, place, rows| {
        let row = |lane: usize| Ok(topology.lanes()[lane].row(&rows.logits[lane]));
        figures::score(topology, subjects, place.position, place.token, row, points)
    })?;
    let points: Vec<Point> = shares.into_iter().flatten().collect();
    let places: Vec<_> = kept.places().iter().filter(|place| is_wanted(place)).collect();
    let mut points = points.into_iter();
    let texts = places.chunk_by(|a, b| a.text == b.text);
    Ok(texts.map(|text| points.by_ref().take(text.len() * subjects.len()).collect()).collect())
}

/// The loss of the best weights minus that of the best α, both fitted on the other half of the texts.
fn cross_validate(kept: &Kept, fitted: [&Weights; 2], n_threads: usize) -> Result<GroupedMean, Error> {
    let mut difference = GroupedMean::default();
    for half in [0, 1] {
        let here = |place: &Place| place.text % 2 == half;
        let there = |place: &Place| place.text % 2 != half;
        if !kept.places().iter().any(there) {
            continue;
        }
        let [alphas, parts] = [(Search::Alphas, fitted[0]), (Search::Parts, fitted[1])]
            .map(|(search, start)| fit(kept, search, start, n_threads, there));
        let subjects = [Subject::Sum(alphas?), Subject::Sum(parts?)];
        for text in score(kept, &subjects, n_threads, here)? {
            text.chunks(subjects.len()).for_each(|points| difference.push(points[1].loss - points[0].loss));
            difference.next_group();
        }
    }
    Ok(difference)
}

fn cuts(kept: &Kept, weights: &Weights, n_threads: usize) -> Result<Vec<Cut>, Error> {
    let topology = kept.topology();
    let shares = kept.fold(
        n_threads,
        |_| true,
        Vec::new,
        |found, place, rows| {
            let base = &rows.logits[0];
            let mut sum = base.clone();
            add_dense(&mut sum, &topology.terms_of(weights, rows)?)?;
            found.push((place.text, losses_behind_cuts(base, &sum, place.token as usize, &TAUS, EPSILON)));
            Ok(())
        },
    )?;
    let found: Vec<_> = shares.into_iter().flatten().collect();
    let cut = |i: usize| {
        let mut cut = Cut { tau: TAUS[i], against_none: GroupedMean::default(), removed: 0.0 };
        for text in found.chunk_by(|a, b| a.0 == b.0) {
            for (_, losses) in text {
                cut.against_none.push(losses[i].0 - losses[0].0);
                cut.removed += f64::from(u8::from(losses[i].1)) / found.len() as f64;
            }
            cut.against_none.next_group();
        }
        cut
    };
    Ok((1..TAUS.len()).map(cut).collect())
}
