//! How many layers go to devices: as many as fit.
//!
//! llama.cpp moves every layer that no number is given for, and ends where a device has too little memory. Here some stay in main memory:
//! the base's before any of a small model, whose bytes are read more often where it drafts.

use std::fmt;
use std::path::PathBuf;

use super::Inspection;
use super::memory::{CPU, Device};
use super::model::Model;
use crate::arithmetic::units;
use crate::steer::{Plan, Role};

/// A model of which some layers stay in main memory; the output counts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    pub role: Role,
    pub n_layers: u32,
    pub n_all: u32,
    /// Bytes that are left free on every device.
    pub margin: u64,
}

impl fmt::Display for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_layers, n_all, margin, .. } = self;
        let margin = units::bytes(*margin);
        write!(
            f,
            "{n_layers} of {n_all} layers are on devices, as many as leave {margin} free there (--fit, --fit-target)"
        )
    }
}

/// Takes layers off devices until each has `margin` bytes left, where a plan does not say how many there are to be. `inspect`
/// is asked about the plan with other numbers. Empty, and the plan as it was, where all of them fit, where llama.cpp
/// gives no answer, and where layers that somebody placed leave no room whatever is done with the others.
pub fn fit(plan: &mut Plan, margin: u64, inspect: &mut dyn FnMut(&Plan) -> Inspection) -> Vec<Fitted> {
    let all = inspect(plan);
    if has_room(&all, margin) != Some(false) {
        return Vec::new();
    }
    let open: Vec<(PathBuf, Role, u32)> = all
        .models
        .iter()
        .filter(|model| plan.sources().all(|(_, of)| of.path != model.path || of.model.n_gpu_layers.is_none()))
        .filter_map(|model| {
            let layers = layers(model)?;
            let moves = layers.iter().any(|device| !device.starts_with(CPU));
            moves.then(|| (model.path.clone(), model.role, layers.len() as u32))
        })
        .collect();
    let placed = |n_layers: &[u32]| {
        let mut plan = plan.clone();
        for source in plan.sources_mut() {
            if let Some((_, n)) = open.iter().zip(n_layers).find(|((path, ..), _)| *path == source.path) {
                source.model.n_gpu_layers = Some(*n);
            }
        }
        plan
    };
    let most: Vec<u32> = open.iter().map(|(.., n_all)| *n_all).collect();
    let found = most_that_fit(&most, |n_layers| has_room(&inspect(&placed(n_layers)), margin));
    let Some(n_layers) = found else { return Vec::new() };
    *plan = placed(&n_layers);
    let fitted = open.iter().zip(n_layers);
    let fitted = fitted.map(|(&(_, role, n_all), n_layers)| Fitted { role, n_layers, n_all, margin });
    fitted.filter(|fitted| fitted.n_layers < fitted.n_all).collect()
}

fn layers(model: &Model) -> Option<&[String]> {
    Some(&model.report()?.layout.as_ref().ok()?.layers)
}

/// Whether every device has `margin` bytes left; `None` where some model was not laid out.
fn has_room(inspection: &Inspection, margin: u64) -> Option<bool> {
    let is_known = inspection.models.iter().all(|model| layers(model).is_some());
    let fits = |device: &Device| device.name == CPU || device.needed().saturating_add(margin) <= device.free;
    is_known.then(|| inspection.devices.iter().all(fits))
}

/// The most of each that fit: the first is taken down before the second is touched. `None` where nothing does, or where that
/// cannot be told.
fn most_that_fit(most: &[u32], mut fit: impl FnMut(&[u32]) -> Option<bool>) -> Option<Vec<u32>> {
    let mut n = most.to_vec();
    for i in 0..n.len() {
        n[i] = 0;
        if fit(&n)? {
            let (mut fits, mut too_many) = (0, most[i]);
            while too_many - fits > 1 {
                n[i] = fits.midpoint(too_many);
                *(if fit(&n)? { &mut fits } else { &mut too_many }) = n[i];
            }
            n[i] = fits;
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gives_way_and_as_little_as_can_be() {
        // A layer of the first takes 7, one of the others 2, and computing 1 in any case.
        let within = |room: u32| most_that_fit(&[29, 13, 13], |n| Some(1 + 7 * n[0] + 2 * (n[1] + n[2]) <= room));
        assert_eq!(within(53 + 7 * 28), Some(vec![28, 13, 13]));
        assert_eq!(within(53 + 7 * 3 + 6), Some(vec![3, 13, 13]));
        assert_eq!(within(53), Some(vec![0, 13, 13]));
        assert_eq!(within(52), Some(vec![0, 12, 13]));
        assert_eq!(within(26), Some(vec![0, 0, 12]));
        assert_eq!(within(1), Some(vec![0, 0, 0]));
        assert_eq!(within(0), None, "computing alone is too much");
        assert_eq!(most_that_fit(&[5, 5], |n| (n[0] > 2).then_some(false)), None, "nobody can tell");
        assert_eq!(most_that_fit(&[], |_| Some(true)), None);
    }
}
