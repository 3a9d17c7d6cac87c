//! LoRA adapters, checked against the model that they are to change as llama.cpp would check them, and where it would
//! abort.

use std::path::Path;

use super::preflight::NOT_FOR_WEIGHTS;
use super::tensors::Tensor;
use super::{Error, Header, Value};

const ALPHA: &str = "adapter.lora.alpha";
const ACTIVATED: &str = "adapter.alora.invocation_tokens";
/// GGUF's number for a type.
const F32: u32 = 6;

/// Refuses a file that is no adapter for a model.
pub fn check(path: &Path, model: &Header) -> Result<(), Error> {
    let adapter = Header::file(path).map_err(Error::of_adapter)?;
    let is_model = adapter.tensors().iter().any(|tensor| tensor.name == "token_embd.weight");
    if is_model {
        let reason = "it is a model itself".to_owned();
        return Err(Error::Adapter { path: path.to_path_buf(), model: model.path().to_path_buf(), reason });
    }
    let require = |key: &str, expected: &'static str, holds: &dyn Fn(&str) -> bool| match adapter.get(key) {
        Some(Value::String(bytes)) if std::str::from_utf8(bytes).is_ok_and(holds) => Ok(()),
        _ => Err(adapter.unusable(key, expected)),
    };
    require("general.type", "\"adapter\": a LoRA adapter", &|kind| kind == "adapter")?;
    require("adapter.type", "\"lora\"", &|kind| kind == "lora")?;
    let architecture = model.architecture();
    require("general.architecture", "the architecture of the model that it is for", &|name| name == architecture)?;
    if let Some(entry) = adapter.metadata.get(ALPHA)
        && !(entry.kind == F32 && matches!(entry.value, Value::Float(alpha) if alpha.is_finite()))
    {
        return Err(adapter.unusable(ALPHA, "a number in f32"));
    }

    if adapter.get(ACTIVATED).is_some() {
        let found = "an activated LoRA, which acts from certain tokens on".to_owned();
        return Err(adapter.found(ACTIVATED, "none: an adapter that acts everywhere", found));
    }

    let unlike = |name: &str, reason: String| Error::Adapter {
        path: path.to_path_buf(),
        model: model.path().to_path_buf(),
        reason: format!("its tensor `{name}` {reason}"),
    };
    let find = |tensors: &'_ [Tensor], name: &str| tensors.iter().position(|tensor| tensor.name == name);
    let mut n_pairs = 0;
    for a in adapter.tensors() {
        let name = &a.name;
        if !is_weight(a) {
            return Err(Error::TensorType { path: path.to_path_buf(), name: name.clone(), found: a.kind.name });
        }
        let other = if let Some(target) = name.strip_suffix(".lora_a") {
            format!("{target}.lora_b")
        } else if let Some(target) = name.strip_suffix(".lora_b") {
            format!("{target}.lora_a")
        } else if name.ends_with("_norm.weight") {
            // llama.cpp leaves it out.
            continue;
        } else {
            return Err(unlike(name, "is none of `.lora_a`, `.lora_b`".to_owned()));
        };
        let b = find(adapter.tensors(), &other).map(|i| &adapter.tensors()[i]);
        let b = b.ok_or_else(|| unlike(name, format!("stands without `{other}`")))?;
        let Some(target) = name.strip_suffix(".lora_a") else { continue };
        let weight = find(model.tensors(), target).map(|i| &model.tensors()[i]);
        let weight = weight.ok_or_else(|| unlike(name, "changes a tensor that the model does not have".to_owned()))?;
        if weight.kind.name == "nvfp4" {
            return Err(unlike(name, "changes one in nvfp4, which takes no adapters".to_owned()));
        }
        let [w, a, b] = [weight, a, b].map(shape);
        // The embedding is looked up rather than multiplied with, so its halves lie the other way round.
        let fits = if target.ends_with("token_embd.weight") {
            [w[0], w[1], a[0]] == [b[1], a[1], b[0]]
        } else {
            [w[0], w[1], a[1]] == [a[0], b[1], b[0]]
        };
        if !fits || a[2..] != w[2..] || b[2..] != w[2..] || a.contains(&0) {
            return Err(unlike(name, format!("has the shape {a:?} beside {b:?}, and is to change one of {w:?}")));
        }
        n_pairs += 1;
    }
    if n_pairs == 0 {
        let reason = "it holds no matrices".to_owned();
        return Err(Error::Adapter { path: path.to_path_buf(), model: model.path().to_path_buf(), reason });
    }
    Ok(())
}

/// Whether ggml multiplies with tensors of this type.
fn is_weight(tensor: &Tensor) -> bool {
    let plain = ["f32", "f16", "bf16"].contains(&tensor.kind.name);
    plain || tensor.kind.is_quantised() && !NOT_FOR_WEIGHTS.contains(&tensor.kind.name)
}

/// Its four dimensions.
fn shape(tensor: &Tensor) -> [u64; 4] {
    std::array::from_fn(|i| tensor.shape.get(i).copied().unwrap_or(1))
}
