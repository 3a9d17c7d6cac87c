//! An ensemble in the engine, with what was learnt of it and the sequences that nobody uses.

use crate::generate::Task;
use crate::generate::draft::{Assumed, EXPECTED_COST, Policy};
use crate::llama::kernels::Isa;
use crate::llama::model::Model;
use crate::steer::{Ensemble, Error, Idle, Sampled};

/// A further token of a step where a lane is on a device, as a share of the first one: weights are read once for several. On an
/// H100 steps of 4 and 8 tokens of a 7.8 B were measured to take 1.40 and 1.90 times one, those of the trio 1.34 and 1.82 times.
const FURTHER_ON_DEVICES: f64 = 0.12;
/// What a layer on a device takes beside reading its weights, as bytes that are read in that time: its operations wait for one
/// another. On the same GPU a layer took 0.04 ms and a gigabyte 0.5 ms. Lanes wait at the same time, and read in turns: a step
/// of a 1.14 B and two of 0.12 B took 0.57 of its models' times.
const WAITING_OF_A_LAYER: f64 = 7e7;
/// The same with our kernels, which unpack weights once too: with AVX-512 VNNI a step of 8 tokens of a 1.5B in `Q4_K_M` was
/// measured to take 1.33 times one. Without VNNI nothing was measured; multiplying takes three instructions there in place of one.
const FURTHER_WITH_VNNI: f64 = 0.06;
const FURTHER_WITH_AVX2: f64 = 0.2;
/// The same for K-quants in llama.cpp's own, whose blocks are unpacked anew for each token: steps of 2 and 4 tokens of a 1.5B in `Q4_K_M`
/// were measured to take 1.85 and 3.25 times one.
const FURTHER_IN_BLOCKS_OF_256: f64 = 0.8;

pub(super) struct Resident {
    pub ensemble: Ensemble,
    /// Two of each kind of text, steered or one lane by itself: one with assumed costs, one with measured ones.
    pub policies: Vec<Policy>,
    pub idle: Idle,
}

impl Resident {
    pub fn new(ensemble: Ensemble) -> Self {
        let policy = Policy::assuming(assumed(&ensemble));
        let n_kinds = ensemble.lanes().len() + 1;
        let policies = (0..n_kinds).flat_map(|_| [policy.clone(), Policy::default()]).collect();
        Self { ensemble, policies, idle: Idle::default() }
    }

    /// What is known of drafts whose lengths no clock decides.
    pub fn policy(&self, sampled: Sampled) -> Result<&Policy, Error> {
        Ok(&self.policies[self.policy_of(sampled, false)?])
    }

    pub fn policy_mut(&mut self, sampled: Sampled) -> Result<&mut Policy, Error> {
        let which = self.policy_of(sampled, false)?;
        Ok(&mut self.policies[which])
    }

    fn policy_of(&self, sampled: Sampled, is_timed: bool) -> Result<usize, Error> {
        let kind = match sampled {
            Sampled::Steered => 0,
            Sampled::Alone(role) => self.ensemble.lane(role).map(|lane| lane + 1).ok_or(Error::NoLane { role })?,
        };
        Ok(2 * kind + usize::from(is_timed))
    }

    /// Which policy is for texts that are sampled and drafted as the task is.
    pub fn kind(&self, task: &Task) -> usize {
        self.policy_of(task.sampled(), task.is_timed()).unwrap_or(0)
    }

    /// Makes room for so many tokens on every lane, as far as there is something to forget; whether there is room.
    pub fn make_room(&mut self, n_tokens: usize) -> bool {
        self.idle.make_room(&mut self.ensemble, n_tokens)
    }
}

/// A lane's part of a step is what it reads of weights, and how long a device makes it wait.
fn assumed(ensemble: &Ensemble) -> Assumed {
    let models = || (0..ensemble.lanes().len()).map(|lane| ensemble.model(lane));
    let read: Vec<f64> = models().map(|model| model.n_bytes() as f64).collect();
    let waits: Vec<f64> = models().map(|model| model.n_layer_on_devices() as f64 * WAITING_OF_A_LAYER).collect();
    let step = |has: &dyn Fn(usize) -> bool| {
        let lanes = || (0..read.len()).filter(|&lane| has(lane));
        lanes().map(|lane| read[lane]).sum::<f64>() + lanes().map(|lane| waits[lane]).fold(0.0, f64::max)
    };
    let all = step(&|_| true);
    let ahead = (0..read.len()).map(|one| step(&|lane| lane == one) / all).collect();
    let behind = (0..read.len()).map(|one| step(&|lane| lane != one) / all).collect();
    let of = |model: &Model| match (model.uses_devices(), model.kernels()) {
        (true, _) => FURTHER_ON_DEVICES,
        (false, Some(Isa::Avx2)) => FURTHER_WITH_AVX2,
        (false, Some(Isa::AvxVnni | Isa::Avx512Vnni)) => FURTHER_WITH_VNNI,
        (false, None) if model.has_blocks_of_256() => FURTHER_IN_BLOCKS_OF_256,
        (false, None) => EXPECTED_COST,
    };
    let further =
        read.iter().zip(models()).map(|(bytes, model)| bytes * of(model)).sum::<f64>() / read.iter().sum::<f64>();
    Assumed { ahead, behind, further }
}
