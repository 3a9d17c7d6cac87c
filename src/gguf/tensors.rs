//! The table of tensors behind the metadata, checked as ggml checks it, and against the size of the file.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::Error;
use super::reader::Reader;

/// Longest tensor name and most dimensions that ggml takes (`GGML_MAX_NAME` with its NUL, `GGML_MAX_DIMS`).
const MAX_NAME_BYTES: u64 = 63;
const MAX_DIMS: u32 = 4;
/// `LLAMA_MAX_LAYERS`
pub(super) const MAX_LAYERS: i64 = 512;
/// Most tensors for each layer, and for what stands around the layers. Of the architectures that llama.cpp knows none
/// has more than 53 with everything that is optional (`step35` with experts; a test of the corpus counts them). ggml
/// compares the name of each tensor with all before it, so that 60,000 tensors take it a minute.
pub(super) const MAX_TENSORS_PER_LAYER: u64 = 64;

/// One tensor as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// Elements along each dimension, the fastest first.
    pub shape: Vec<u64>,
    pub kind: &'static TensorType,
    /// Where its data begins, from the start of the data.
    pub offset: u64,
    pub n_bytes: u64,
}

/// How a tensor's elements are stored: `block` of them in `bytes` bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct TensorType {
    pub id: u32,
    pub name: &'static str,
    block: u64,
    bytes: u64,
}

/// ggml's types (`ggml_type_size`, `ggml_blck_size` of llama.cpp 0.6.0); numbers between belong to removed ones.
static TYPES: [TensorType; 35] = [
    of(0, "f32", 1, 4),
    of(1, "f16", 1, 2),
    of(2, "q4_0", 32, 18),
    of(3, "q4_1", 32, 20),
    of(6, "q5_0", 32, 22),
    of(7, "q5_1", 32, 24),
    of(8, "q8_0", 32, 34),
    of(9, "q8_1", 32, 36),
    of(10, "q2_K", 256, 84),
    of(11, "q3_K", 256, 110),
    of(12, "q4_K", 256, 144),
    of(13, "q5_K", 256, 176),
    of(14, "q6_K", 256, 210),
    of(15, "q8_K", 256, 292),
    of(16, "iq2_xxs", 256, 66),
    of(17, "iq2_xs", 256, 74),
    of(18, "iq3_xxs", 256, 98),
    of(19, "iq1_s", 256, 50),
    of(20, "iq4_nl", 32, 18),
    of(21, "iq3_s", 256, 110),
    of(22, "iq2_s", 256, 82),
    of(23, "iq4_xs", 256, 136),
    of(24, "i8", 1, 1),
    of(25, "i16", 1, 2),
    of(26, "i32", 1, 4),
    of(27, "i64", 1, 8),
    of(28, "f64", 1, 8),
    of(29, "iq1_m", 256, 56),
    of(30, "bf16", 1, 2),
    of(34, "tq1_0", 256, 54),
    of(35, "tq2_0", 256, 66),
    of(39, "mxfp4", 32, 17),
    of(40, "nvfp4", 64, 36),
    of(41, "q1_0", 128, 18),
    of(42, "q2_0", 64, 18),
];

impl TensorType {
    /// The type of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|kind| kind.name == name)
    }

    /// Bytes of a row of `n` elements; `None` where rows of this type cannot be that long.
    #[must_use]
    pub fn row_bytes(&self, n: u64) -> Option<u64> {
        if n.is_multiple_of(self.block) { (n / self.block).checked_mul(self.bytes) } else { None }
    }

    /// Whether several elements share what scales them.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.block > 1
    }
}

const fn of(id: u32, name: &'static str, block: u64, bytes: u64) -> TensorType {
    TensorType { id, name, block, bytes }
}

/// Reads `n` tensor infos and checks that the file holds what they promise.
pub(super) fn read(reader: &mut Reader<'_, impl Read + Seek>, n: u64, alignment: u64) -> Result<Vec<Tensor>, Error> {
    // The shortest info: an empty name, no dimension, a type and an offset.
    reader.expect(n, 8 + 4 + 4 + 8, "the table of tensors")?;
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut names = HashSet::new();
    let mut data_bytes: u64 = 0;
    for _ in 0..n {
        let tensor = info(reader)?;
        if !names.insert(tensor.name.clone()) {
            return Err(reader.damaged(format!("the tensor `{}` stands twice", tensor.name)));
        }
        if tensor.offset != data_bytes {
            let Tensor { name, offset, .. } = &tensor;
            return Err(reader.damaged(format!("the tensor `{name}` begins at {offset}, expected {data_bytes}")));
        }
        let end = tensor.n_bytes.checked_next_multiple_of(alignment).and_then(|padded| data_bytes.checked_add(padded));
        data_bytes = end.ok_or_else(|| reader.damaged(format!("the tensor `{}` is too large", tensor.name)))?;
        tensors.push(tensor);
    }
    if let Some(last) = tensors.last() {
        // The padding behind the last tensor may be missing.
        let needed = last.offset.saturating_add(last.n_bytes);
        reader.expect_data(needed, alignment)?;
    }
    Ok(tensors)
}

fn info(reader: &mut Reader<'_, impl Read + Seek>) -> Result<Tensor, Error> {
    let name = reader.string("a tensor's name", MAX_NAME_BYTES)?;
    let name = String::from_utf8(name).map_err(|_| reader.damaged("a tensor's name is not UTF-8"))?;
    let n_dims = reader.u32("a tensor's shape")?;
    if n_dims > MAX_DIMS {
        return Err(
            reader.damaged(format!("the tensor `{name}` has {n_dims} dimensions, at most {MAX_DIMS} are known"))
        );
    }
    let shape = (0..n_dims).map(|_| reader.u64("a tensor's shape")).collect::<Result<Vec<_>, _>>()?;
    let kind = reader.u32("a tensor's type")?;
    let kind = TYPES
        .iter()
        .find(|known| known.id == kind)
        .ok_or_else(|| reader.damaged(format!("the tensor `{name}` has the unknown type {kind}")))?;
    let offset = reader.u64("a tensor's offset")?;
    let row = shape.first().copied().unwrap_or(1);
    if row % kind.block != 0 {
        let TensorType { name: kind, block, .. } = kind;
        return Err(reader.damaged(format!("the tensor `{name}` has rows of {row}, {kind} takes multiples of {block}")));
    }
    let fits = |n: &u64| i64::try_from(*n).is_ok();
    let n_elements = shape.iter().try_fold(1, |n: u64, &dim| n.checked_mul(dim).filter(fits));
    let n_bytes = n_elements.and_then(|n| (n / kind.block).checked_mul(kind.bytes));
    let n_bytes = n_bytes.ok_or_else(|| reader.damaged(format!("the tensor `{name}` is too large: {shape:?}")))?;
    Ok(Tensor { name, shape, kind, offset, n_bytes })
}
