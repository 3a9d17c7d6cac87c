//! Bytes read for a token against what memory can give: how close decoding comes to its limit.

use serde::Serialize;

use super::bandwidth::Bandwidth;
use super::bytes::Read;
use super::row::How;
use super::settings::Settings;
use super::timed::Timed;
use super::{Error, Subjects};
use crate::arithmetic::statistics::Median;
use crate::llama::backend::Backend;
use crate::steer::Sampled;

/// Where all is computed on the CPU: a device has a memory of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    pub bandwidth: Bandwidth,
    pub subjects: Vec<Traffic>,
}

/// What a subject reads for each token that it generates: weights as far as a token touches them (an embedding that is not
/// the output too does not count, nor do adapters), and the cache at the middle of the texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    #[serde(skip)]
    pub of: How,
    pub role: String,
    pub how: &'static str,
    pub weight_bytes: f64,
    pub kv_bytes: f64,
    /// By the median run.
    pub bytes_per_s: f64,
    /// Share of the bandwidth. Models that fit into caches may be beyond 1.
    pub roofline: f64,
}

impl Memory {
    /// `None` where nothing was generated, or not on the CPU alone.
    pub(super) fn of(
        backend: &Backend,
        subjects: &Subjects,
        settings: &Settings,
        timed: &Timed,
    ) -> Result<Option<Self>, Error> {
        let uses_devices = subjects.ensemble().use_devices();
        if timed.generating.rounds.is_empty() || uses_devices {
            return Ok(None);
        }
        let models = subjects.alone.iter().map(|alone| Read::of(backend, &alone.source));
        let models = models.collect::<Result<Vec<_>, _>>()?;
        let bandwidth = Bandwidth::measure(subjects.alone[0].source.context.n_threads);
        let n_past = timed.n_prompt + settings.n_gen as f64 / 2.0;
        let steps = Steps { subjects, models: &models, n_past };
        let traffic = timed.generating.subjects.iter().filter_map(|&of| {
            let samples = timed.generating.samples(of)?;
            let [weight_bytes, kv_bytes] = steps.per_token(of, timed, settings);
            let seconds = Median::of(samples.into_iter().map(|ns| ns as f64)).median / 1e9 / settings.n_gen as f64;
            let bytes_per_s = (weight_bytes + kv_bytes) / seconds;
            let (role, how) = (subjects.role(of), of.name());
            Some(Traffic {
                of,
                role,
                how,
                weight_bytes,
                kv_bytes,
                bytes_per_s,
                roofline: bytes_per_s / bandwidth.bytes_per_s,
            })
        });
        let subjects = traffic.collect();
        Ok(Some(Self { bandwidth, subjects }))
    }
}

struct Steps<'a> {
    subjects: &'a Subjects,
    models: &'a [Read],
    /// Tokens in the cache.
    n_past: f64,
}

impl Steps<'_> {
    /// Weights and cache that one model reads in a step, for so many lanes at once.
    fn model(&self, model: usize, n_lanes: usize) -> [f64; 2] {
        let Read { weights, kv_per_token } = self.models[model];
        [weights, kv_per_token * self.n_past * n_lanes as f64]
    }

    /// The same for a step of the steered model. Lanes of one model are decoded together.
    fn together(&self) -> [f64; 2] {
        let n_lanes = |model: usize| self.subjects.lanes.iter().filter(|&&of| of == model).count();
        let models = (0..self.models.len()).map(|model| (model, n_lanes(model))).filter(|(_, n)| *n > 0);
        models.map(|(model, n)| self.model(model, n)).fold([0.0; 2], sum)
    }

    fn per_token(&self, of: How, timed: &Timed, settings: &Settings) -> [f64; 2] {
        match of {
            How::Alone(model) => self.model(model, 1),
            How::Lockstep => self.together(),
            How::Speculative => {
                let n_tokens = (timed.n_texts * settings.n_gen) as f64;
                let per_token = |n: usize| n as f64 / n_tokens;
                let steps = self.together().map(|bytes| bytes * per_token(timed.stats.n_steps()));
                let lane = settings.draft.lane(self.subjects.ensemble(), Sampled::Steered);
                let drafter = lane.map(|lane| self.subjects.lanes[lane]);
                // Every draft of a model is a decode of its own.
                let drafts = drafter.map_or([0.0; 2], |model| self.model(model, 1));
                sum(steps, drafts.map(|bytes| bytes * per_token(timed.stats.by_model.n_drafted)))
            }
        }
    }
}

fn sum(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] + b[0], a[1] + b[1]]
}
