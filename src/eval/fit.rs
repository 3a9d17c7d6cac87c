//! The weights under which the sum predicts kept rows best.

use super::kept::{Error, Kept, Place};
use crate::arithmetic::log_linear::Position;
use crate::arithmetic::newton::{Expansion, minimise};
use crate::arithmetic::offset::{Term, add_dense};
use crate::steer::{self, Role, Rows, Topology, Weights};

/// What the base's weight may be, and those of the sides.
const BASE: (f64, f64) = (0.0, 2.0);
const SIDE: (f64, f64) = (0.0, 4.0);
/// Weights are rounded to so many parts of 1: what a person can read, and far finer than a text can tell.
const ROUND: f64 = 1000.0;

/// Every so many positions of a text are looked at first: where they predict best is near where all do, and a pass over all
/// of them takes a second for some thousand.
const STRIDE: usize = 8;

/// Which weights are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// One α for each pair; the base has its own weight, 1.
    Alphas,
    /// That of the base and of each side.
    Parts,
    /// That of the base alone, without its pairs: one over a temperature.
    Base,
}

/// A number that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Base,
    Pair(usize),
    Expert(usize),
    Antiexpert(usize),
}

/// The weights that predict the wanted places best, from `start` on.
pub fn fit(
    kept: &Kept,
    search: Search,
    start: &Weights,
    n_threads: usize,
    is_wanted: impl Fn(&Place) -> bool,
) -> Result<Weights, Error> {
    let topology = kept.topology();
    let parts = parts(search, topology);
    let bounds: Vec<_> = parts.iter().map(|part| if *part == Part::Base { BASE } else { SIDE }).collect();
    let expand = |theta: &[f64], stride: usize| -> Result<Expansion, Error> {
        let is_wanted = |place: &Place| place.position.is_multiple_of(stride) && is_wanted(place);
        let new = || (Expansion::zero(parts.len()), 0_usize, Vec::new());
        let shares = kept.fold(n_threads, is_wanted, new, |(sum, n, features), place, rows| {
            fill(topology, &parts, rows, features)?;
            let fixed = (search == Search::Alphas).then_some(rows.logits[0].as_slice());
            Position { fixed, features, token: place.token as usize }.add_loss(theta, sum);
            *n += 1;
            Ok(())
        })?;
        let mut total = Expansion::zero(parts.len());
        let mut n_all = 0;
        for (sum, n, _) in shares {
            total.add(&sum);
            n_all += n;
        }
        total.scale(1.0 / n_all.max(1) as f64);
        Ok(total)
    };
    let from = |part: &Part| {
        f64::from(match *part {
            Part::Base => start.base_at(0),
            Part::Pair(i) | Part::Expert(i) => start.at(i, 0).0,
            Part::Antiexpert(i) => start.at(i, 0).1,
        })
    };
    let start: Vec<f64> = parts.iter().map(from).collect();
    let near = minimise(&start, &bounds, |theta| expand(theta, STRIDE))?;
    let found = minimise(&near, &bounds, |theta| expand(theta, 1))?;
    Ok(weights(topology, &parts, &found))
}

fn parts(search: Search, topology: &Topology) -> Vec<Part> {
    let pairs = 0..topology.n_pairs();
    match search {
        Search::Alphas => pairs.map(Part::Pair).collect(),
        Search::Base => vec![Part::Base],
        Search::Parts => {
            let sides =
                pairs.flat_map(|i| [(Role::Expert(i), Part::Expert(i)), (Role::Antiexpert(i), Part::Antiexpert(i))]);
            let there = sides.filter(|(role, _)| topology.lane(*role).is_some()).map(|(_, part)| part);
            std::iter::once(Part::Base).chain(there).collect()
        }
    }
}

/// What each part adds to the sum at a weight of 1.
fn fill(topology: &Topology, parts: &[Part], rows: &Rows, features: &mut Vec<Vec<f32>>) -> Result<(), steer::Error> {
    let n_pairs = topology.n_pairs();
    let unit = Weights::constant(1.0, &vec![(1.0, 1.0); n_pairs]);
    let terms = topology.terms_of(&unit, rows)?;
    features.resize(parts.len(), Vec::new());
    for (part, feature) in parts.iter().zip(features) {
        feature.clear();
        let term = match *part {
            Part::Base => {
                feature.extend_from_slice(&rows.logits[0]);
                continue;
            }
            Part::Pair(i) => terms[i],
            Part::Expert(i) => Term { b: 0.0, ..terms[i] },
            Part::Antiexpert(i) => Term { a: 0.0, ..terms[i] },
        };
        feature.resize(rows.logits[0].len(), 0.0);
        add_dense(feature, &[term])?;
    }
    Ok(())
}

/// Numbers that were found, as weights; a side that is not there has that of the other.
fn weights(topology: &Topology, parts: &[Part], found: &[f64]) -> Weights {
    let of = |wanted: Part| {
        let at = parts.iter().position(|part| *part == wanted)?;
        Some(((found[at] * ROUND).round() / ROUND) as f32)
    };
    let pair = |i: usize| {
        let pair = of(Part::Pair(i));
        let (a, b) = (of(Part::Expert(i)).or(pair), of(Part::Antiexpert(i)).or(pair));
        (a.or(b).unwrap_or(0.0), b.or(a).unwrap_or(0.0))
    };
    let pairs: Vec<_> = (0..topology.n_pairs()).map(pair).collect();
    Weights::constant(of(Part::Base).unwrap_or(1.0), &pairs)
}
