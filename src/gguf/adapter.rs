//! LoRA adapters, checked against the model that they are to change as llama.cpp would check them, and where it would
//! abort.

use std::path::Path;

use super::tensors::Tensor;
use super::{Error, Header, Value, weights};

const ALPHA: &str = "adapter.lora.alpha";
const ACTIVATED: &str = "adapter.alora.invocation_tokens";
/// GGUF's number for a type.
const F32: u32 = 6;

/// Tensors that llama.cpp multiplies with by themselves in every architecture that has them, and so without what an
/// adapter adds (`ggml_mul_mat` in place of `build_lora_mm`).
const MULTIPLIED_ALONE: [&str; 17] = [
    "attn_kv_a_mqa",
    "attn_kv_b",
    "attn_k_b",
    "attn_v_b",
    "indexer",
    "ssm_f_a",
    "ssm_f_b",
    "ssm_g_a",
    "ssm_g_b",
    "time_mix_w",
    "time_mix_a",
    "time_mix_v1",
    "time_mix_v2",
    "time_mix_g",
    "time_mix_decay",
    "altup",
    "ffn_latent",
];

/// Refuses a file that is no adapter for a model. Answers which of its tensors llama.cpp reads and does not apply: it
/// adds to matrices while it multiplies with them, and to nothing else.
pub fn check(path: &Path, model: &Header) -> Result<Vec<String>, Error> {
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
    // Where there is no output of its own, the embedding is multiplied with as well, and llama.cpp does not transpose
    // the halves for that.
    let is_tied = find(model.tensors(), "output.weight").is_none();
    let (mut n_pairs, mut left_out) = (0, Vec::new());
    for a in adapter.tensors() {
        let name = &a.name;
        weights::check_adapter(&adapter, a)?;
        let other = if let Some(target) = name.strip_suffix(".lora_a") {
            format!("{target}.lora_b")
        } else if let Some(target) = name.strip_suffix(".lora_b") {
            format!("{target}.lora_a")
        } else if name.ends_with("_norm.weight") {
            left_out.push(name.clone());
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
        let is_embedding = target.ends_with("token_embd.weight");
        if is_embedding && is_tied {
            let reason = "changes the embedding, which is this model's output too: llama.cpp aborts on that";
            return Err(unlike(name, reason.to_owned()));
        }
        if !is_applied(weight) {
            left_out.push(target.to_owned());
        }
        let [w, a, b] = [weight, a, b].map(shape);
        // The embedding is looked up rather than multiplied with, so its halves lie the other way round.
        let fits = if is_embedding {
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
    Ok(left_out)
}

/// Whether llama.cpp adds what an adapter has for a tensor.
fn is_applied(weight: &Tensor) -> bool {
    weights::is_matrix(weight) && !MULTIPLIED_ALONE.into_iter().any(|part| weight.name.contains(part))
}

/// Its four dimensions.
fn shape(tensor: &Tensor) -> [u64; 4] {
    std::array::from_fn(|i| tensor.shape.get(i).copied().unwrap_or(1))
}
