//! A model for each seed: one of the tiny ones, with some of its numbers, types or tensors changed.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::numbers::{ARCHITECTURES, Numbers};
use super::oracle::Oracle;
use super::random::{one_of, random};
use crate::gguf::{Kind, Spec, Tensor, Value};

/// Keys that decide about shapes, some of which no tiny model has: drawn more often than the others.
const SHAPING: [&str; 16] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "rope.dimension_count_swa",
    "vocab_size",
    "expert_group_count",
    "expert_group_used_count",
    "nextn_predict_layers",
    "n_deepstack_layers",
];
/// Bytes of tensors beyond which a model is no longer tiny: it then keeps the tensors that it had.
const MAX_BYTES: u64 = 16 << 20;
/// ggml's types by number, elements and bytes of a block: floats, quantised ones, integers.
const TYPES: [(u32, usize, usize); 14] = [
    (1, 1, 2),
    (30, 1, 2),
    (8, 32, 34),
    (2, 32, 18),
    (20, 32, 18),
    (39, 32, 17),
    (12, 256, 144),
    (9, 32, 36),
    (24, 1, 1),
    (25, 1, 2),
    (26, 1, 4),
    (27, 1, 8),
    (28, 1, 8),
    (40, 64, 36),
];

/// A model that can be written.
#[derive(Debug, Clone)]
pub struct Model {
    /// What was changed, in words.
    pub change: String,
    pub numbers: Numbers,
    pub tensors: Vec<Tensor>,
}

impl Model {
    pub fn write(&self, path: &Path) -> io::Result<()> {
        Spec::tiny().write_part(path, &self.numbers.metadata(), &self.tensors).map(|_| ())
    }

    fn n_bytes(&self) -> u64 {
        let weights = |tensor: &Tensor| tensor.dims.iter().map(|&n| u64::from(n)).product::<u64>();
        self.tensors.iter().map(|tensor| weights(tensor).saturating_mul(4)).fold(0, u64::saturating_add)
    }
}

/// The tiny models, and llama.cpp to ask about others.
pub struct Models {
    pub plain: Vec<Model>,
    oracle: Oracle,
}

impl Models {
    /// Every architecture, with experts and without, as far as llama.cpp makes a model of it.
    pub fn new() -> Self {
        let mut oracle = Oracle::new();
        let all = ARCHITECTURES.iter().flat_map(|&name| [false, true].map(|experts| Numbers::of(name, experts)));
        let made = all.filter_map(|numbers| {
            let tensors = oracle.tensors(&numbers).ok()?;
            Some(Model { change: "nothing".to_owned(), numbers, tensors })
        });
        Self { plain: made.collect(), oracle }
    }

    /// The model of a seed: each tiny one in turn as it is, then each with changes, then each with others.
    pub fn get(&mut self, seed: u64) -> Model {
        let n = self.plain.len() as u64;
        let mut model = self.plain[(seed % n) as usize].clone();
        if seed < n {
            return model;
        }
        model.change.clear();
        match random(seed, 0) % 16 {
            0 | 1 => retype(&mut model, seed),
            2 => {
                let at = random(seed, 1) as usize % model.tensors.len();
                let gone = model.tensors.remove(at).name;
                let _ = write!(model.change, "without {gone}");
            }
            3 => {
                let tensor = one_of(&(0..model.tensors.len()).collect::<Vec<_>>(), seed, 1);
                let tensor = &mut model.tensors[tensor];
                let dim = random(seed, 2) as usize % tensor.dims.len();
                tensor.dims[dim] = one_of(&[1, tensor.dims[dim] + 1, tensor.dims[dim] * 2], seed, 3);
                let _ = write!(model.change, "{} of {:?}", tensor.name, tensor.dims);
            }
            4 => renumber(&mut model, seed),
            _ => {
                renumber(&mut model, seed);
                // What llama.cpp will not make keeps the tensors that it had.
                if let Ok(tensors) = self.oracle.tensors(&model.numbers) {
                    let other = Model { tensors, ..model.clone() };
                    if other.n_bytes() <= MAX_BYTES {
                        return other;
                    }
                }
                model.change.push_str(", tensors as before");
            }
        }
        model
    }
}

/// Changes one to three numbers.
fn renumber(model: &mut Model, seed: u64) {
    for i in 0..=one_of(&[0, 0, 0, 1, 1, 2], seed, 9) {
        let place = 10 + i * 10;
        let values = &mut model.numbers.values;
        let key = if random(seed, place).is_multiple_of(2) {
            one_of(&SHAPING, seed, place + 1).to_owned()
        } else {
            one_of(&values.keys().cloned().collect::<Vec<_>>(), seed, place + 1)
        };
        let value = match values.get(&key) {
            Some(Value::F32(x)) => Value::F32(one_of(&[0.0, -1.0, x * 1e6, f32::NAN, f32::MAX], seed, place + 2)),
            Some(Value::Bool(x)) => Value::Bool(!x),
            Some(Value::I32s(list)) => {
                let mut list = list.clone();
                let at = random(seed, place + 2) as usize % list.len();
                list[at] = number(list[at].unsigned_abs(), seed, place + 3) as i32;
                Value::I32s(list)
            }
            Some(Value::U32(n)) if random(seed, place + 4).is_multiple_of(6) => {
                // One for each layer.
                Value::I32s(vec![*n as i32, number(*n, seed, place + 3) as i32])
            }
            Some(Value::U32(n)) => Value::U32(number(*n, seed, place + 3)),
            _ => Value::U32(number(16, seed, place + 3)),
        };
        let comma = if model.change.is_empty() { "" } else { ", " };
        let _ = write!(model.change, "{comma}{key} = {value:?}");
        if key == "vocab_size" && random(seed, place + 5).is_multiple_of(2) {
            model.numbers.n_tokens = 258 + random(seed, place + 6) as usize % 100;
        }
        model.numbers.values.insert(key, value);
    }
}

/// Something beside `n`, or not.
fn number(n: u32, seed: u64, place: u64) -> u32 {
    let times = |k| n.wrapping_mul(k);
    let near = [
        0,
        1,
        2,
        n.wrapping_sub(1),
        n.wrapping_add(1),
        n / 2,
        times(2),
        times(3),
        times(4),
        3,
        5,
        7,
        8,
        9,
        12,
        32,
        48,
        128,
    ];
    let far = [255, 1000, 65_536, i32::MAX as u32, u32::MAX];
    if random(seed, place).is_multiple_of(12) {
        one_of(&far, seed, place + 100)
    } else {
        one_of(&near, seed, place + 100)
    }
}

/// Gives a tensor, or all of one name, another type that its rows can have.
fn retype(model: &mut Model, seed: u64) {
    let chosen = &model.tensors[random(seed, 1) as usize % model.tensors.len()];
    let part =
        |name: &str| name.split_once('.').and_then(|(_, rest)| rest.split_once('.')).map(|(_, part)| part.to_owned());
    let (name, columns) = (chosen.name.clone(), chosen.dims[0] as usize);
    let fitting: Vec<_> = TYPES.into_iter().filter(|(_, block, _)| columns.is_multiple_of(*block)).collect();
    let (id, block, bytes) = one_of(&fitting, seed, 2);
    let everywhere = random(seed, 3).is_multiple_of(2) && part(&name).is_some();
    for tensor in &mut model.tensors {
        let is_like = everywhere && part(&tensor.name) == part(&name) && tensor.dims[0] as usize == columns;
        if tensor.name == name || is_like {
            tensor.kind = Kind::Other { id, block, bytes };
        }
    }
    let _ = write!(model.change, "{name} of type {id}");
}
