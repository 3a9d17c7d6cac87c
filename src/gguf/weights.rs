//! Types of tensors that llama.cpp computes with: its kernels take some of ggml's types, and end the process on others,
//! once the first token is decoded.

use super::tensors::Tensor;
use super::{Error, Header};

/// Types that ggml computes with and does not keep weights in.
const NOT_FOR_WEIGHTS: [&str; 2] = ["q8_1", "q8_K"];
/// Matrices by name that no token is multiplied with, nor looked up in: they are convolved with (`ssm_conv1d`,
/// `shortconv`), added or scaled by (`time_mix_lerp_x`), by kernels that take f32 alone. llama.cpp's converter keeps
/// them in f32.
const ELEMENTWISE: [&str; 7] =
    ["_norm", "conv1d", "shortconv.conv", "time_mix_lerp", "time_mix_first", "time_mix_r_k", "_res_score"];
/// The gate of a shared expert.
const ONE_ROW: &str = "ffn_gate_inp_shexp.weight";
/// A table of numbers of experts, by token.
const EXPERTS_BY_TOKEN: &str = "tid2eid.weight";

const MATRIX: &str = "f32, f16, bf16 or a quantised type";
const F32: &str = "f32";
const I32: &str = "i32";

/// Refuses a tensor whose type llama.cpp does not compute with.
pub(super) fn check(header: &Header) -> Result<(), Error> {
    header.tensors().iter().try_for_each(|tensor| {
        let expected = expected(tensor);
        let found = tensor.kind.name;
        let holds = if expected == MATRIX { is_multiplied(tensor) } else { found == expected };
        if holds { Ok(()) } else { Err(refused(header, tensor, expected)) }
    })
}

/// Refuses a tensor of an adapter that ggml does not multiply with.
pub(super) fn check_adapter(adapter: &Header, tensor: &Tensor) -> Result<(), Error> {
    if is_multiplied(tensor) { Ok(()) } else { Err(refused(adapter, tensor, MATRIX)) }
}

fn refused(header: &Header, tensor: &Tensor, expected: &'static str) -> Error {
    let path = header.path().to_path_buf();
    Error::TensorType { path, name: tensor.name.clone(), expected, found: tensor.kind.name }
}

/// Whether ggml multiplies with tensors of this type, and looks rows up in them.
fn is_multiplied(tensor: &Tensor) -> bool {
    let plain = ["f32", "f16", "bf16"].contains(&tensor.kind.name);
    plain || tensor.kind.is_quantised() && !NOT_FOR_WEIGHTS.contains(&tensor.kind.name)
}

/// Whether activations are multiplied with a tensor, or rows looked up in it, by its name and shape.
pub(super) fn is_matrix(Tensor { name, shape, .. }: &Tensor) -> bool {
    // A matrix of one row, which converters stored in bf16 and f16.
    if name.ends_with(ONE_ROW) {
        return true;
    }
    let is_named_so = [".weight", ".lora_a", ".lora_b"].into_iter().any(|end| name.ends_with(end));
    let is_vector = shape.iter().filter(|&&n| n > 1).count() <= 1;
    is_named_so && !is_vector && !ELEMENTWISE.into_iter().any(|part| name.contains(part))
}

fn expected(tensor: &Tensor) -> &'static str {
    match tensor {
        Tensor { name, .. } if name.ends_with(EXPERTS_BY_TOKEN) => I32,
        tensor if is_matrix(tensor) => MATRIX,
        _ => F32,
    }
}
