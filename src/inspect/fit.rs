//! How many layers go to devices: as many as fit.
//!
//! llama.cpp moves every layer that no number is given for, and ends where a device has too little memory. Here some stay in main memory:
//! the base's before any of a small model, whose bytes are read more often where it drafts.

use std::path::PathBuf;

use super::Inspection;
use super::memory::{CPU, Device};
use crate::steer::{Plan, Role};

/// A model of which some layers stay in main memory; the output counts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    pub role: Role,
    pub n_layers: u32,
    pub n_all: u32,
}

/// Takes layers off devices until each has `margin` bytes left, where a plan does not say how many there are to be. `inspect`
/// is asked about the plan with other numbers. Empty where all of them fit.
pub fn fit(plan: &mut Plan, margin: u64, inspect: &mut dyn FnMut(&Plan) -> Inspection) -> Vec<Fitted> {
    let all = inspect(plan);
    if have_room(&all.devices, margin) {
        return Vec::new();
    }
    let open: Vec<(PathBuf, Role, u32)> = all
        .models
        .iter()
        .filter(|model| plan.sources().any(|(_, of)| of.path == model.path && of.model.n_gpu_layers.is_none()))
        .filter_map(|model| {
            let layers = &model.report()?.layout.as_ref().ok()?.layers;
            let moves = layers.iter().any(|device| !device.starts_with(CPU));
            moves.then(|| (model.path.clone(), model.role, layers.len() as u32))
        })
        .collect();
    let place = |plan: &mut Plan, n_layers: &[u32]| {
        for source in plan.sources_mut().filter(|source| source.model.n_gpu_layers.is_none()) {
            let of_file = open.iter().zip(n_layers).find(|((path, ..), _)| *path == source.path);
            source.model.n_gpu_layers = of_file.map(|(_, n)| *n);
        }
    };
    let most: Vec<u32> = open.iter().map(|(.., n_all)| *n_all).collect();
    let n_layers = most_that_fit(&most, |n_layers| {
        let mut plan = plan.clone();
        place(&mut plan, n_layers);
        have_room(&inspect(&plan).devices, margin)
    });
    place(plan, &n_layers);
    let fitted = open.iter().zip(n_layers);
    fitted
        .map(|(&(_, role, n_all), n_layers)| Fitted { role, n_layers, n_all })
        .filter(|f| f.n_layers < f.n_all)
        .collect()
}

fn have_room(devices: &[Device], margin: u64) -> bool {
    devices.iter().all(|device| device.name == CPU || device.needed().saturating_add(margin) <= device.free)
}

/// The most of each that fit: the first is taken down before the second is touched. Nothing of any where even that does not.
fn most_that_fit(most: &[u32], mut fit: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut n = most.to_vec();
    for i in 0..n.len() {
        n[i] = 0;
        if fit(&n) {
            let (mut fits, mut too_many) = (0, most[i]);
            while too_many - fits > 1 {
                n[i] = fits.midpoint(too_many);
                *(if fit(&n) { &mut fits } else { &mut too_many }) = n[i];
            }
            n[i] = fits;
            break;
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gives_way_and_as_little_as_can_be() {
        // A layer of the first takes 7, one of the others 2.
        let within = |room: u32| most_that_fit(&[29, 13, 13], |n| 7 * n[0] + 2 * (n[1] + n[2]) <= room);
        assert_eq!(within(52 + 7 * 28), [28, 13, 13]);
        assert_eq!(within(52 + 7 * 3 + 6), [3, 13, 13]);
        assert_eq!(within(52), [0, 13, 13]);
        assert_eq!(within(51), [0, 12, 13]);
        assert_eq!(within(25), [0, 0, 12]);
        assert_eq!(within(0), [0, 0, 0]);
        assert_eq!(most_that_fit(&[5, 5], |_| false), [0, 0], "computing alone may be too much");
        assert!(most_that_fit(&[], |_| true).is_empty());
    }
}
