//! LoRA adapters for tiny models: matrices that fit, for tensors of every kind.

use std::io;
use std::path::Path;

use super::models::Model;
use super::random::{one_of, random};
use crate::gguf::{Kind, Spec, Tensor, Value};

/// Writes an adapter for some of a model's tensors; now and then a half is the wrong way round or of another size.
pub fn write(model: &Model, seed: u64, path: &Path) -> io::Result<()> {
    let metadata =
        [("general.type", "adapter"), ("general.architecture", model.numbers.architecture), ("adapter.type", "lora")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), Value::Text(value.to_owned())));
    let mut tensors: Vec<Tensor> = Vec::new();
    for i in 0..=random(seed, 1) % 4 {
        let target = one_of(&model.tensors, seed, 10 + i);
        // Every fourth adapter changes the embedding.
        let target = match model.tensors.iter().find(|tensor| tensor.name == "token_embd.weight") {
            Some(embedding) if i == 0 && random(seed, 2).is_multiple_of(4) => embedding.clone(),
            _ => target,
        };
        if tensors.iter().any(|tensor| tensor.name.starts_with(&target.name)) {
            continue;
        }
        let rank = one_of(&[1, 2, 4], seed, 20 + i);
        let dim = |at: usize| target.dims.get(at).copied().unwrap_or(1);
        let further = target.dims.get(2..).unwrap_or_default();
        let (mut a, mut b) = match target.name.as_str() {
            "token_embd.weight" => (vec![rank, dim(1)], vec![rank, dim(0)]),
            _ => (vec![dim(0), rank], vec![rank, dim(1)]),
        };
        match random(seed, 30 + i) % 12 {
            0 => a.reverse(),
            1 => b[0] += 1,
            2 => std::mem::swap(&mut a, &mut b),
            _ => {}
        }
        for (half, dims) in [("lora_a", a), ("lora_b", b)] {
            let name = format!("{}.{half}", target.name);
            tensors.push(Tensor { name, dims: [&dims, further].concat(), kind: Kind::F32 });
        }
    }
    Spec { seed, ..Spec::tiny() }.write_part(path, &metadata, &tensors).map(|_| ())
}
