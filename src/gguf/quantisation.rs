//! How a file's weights are stored, in llama.cpp's words.

use std::collections::{BTreeMap, BTreeSet};

use super::header::Header;
use super::tensors::Tensor;

/// llama.cpp's `llama_ftype`; numbers that are missing belong to removed ones.
const FILE_TYPES: [(i64, &str); 36] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4"),
    (39, "NVFP4"),
    (40, "Q1_0"),
    (41, "Q2_0"),
];

impl Header {
    /// What the file calls its quantisation; where it does not, the type that most of its bytes have.
    #[must_use]
    pub fn quantisation(&self) -> String {
        let given = self.integer("general.file_type");
        let known = FILE_TYPES.iter().find(|(number, _)| given == Some(*number)).map(|(_, name)| (*name).to_owned());
        known.or_else(|| self.commonest_type()).unwrap_or_default()
    }

    /// The types of the matrices that a token is multiplied with, by name. Of an embedding that is not the output as well,
    /// rows are only copied.
    #[must_use]
    pub fn matrix_types(&self) -> BTreeSet<&'static str> {
        let has_output = self.tensors().iter().any(|tensor| tensor.name == "output.weight");
        let is_matrix = |tensor: &&Tensor| {
            let is_copied = has_output && tensor.name == "token_embd.weight";
            tensor.shape.iter().filter(|&&n| n > 1).count() > 1 && !is_copied
        };
        self.tensors().iter().filter(is_matrix).map(|tensor| tensor.kind.name).collect()
    }

    /// Whether there are matrices of several experts, of which each token is multiplied with some.
    #[must_use]
    pub fn has_experts(&self) -> bool {
        self.tensors().iter().any(|tensor| tensor.shape.iter().filter(|&&n| n > 1).count() > 2)
    }

    fn commonest_type(&self) -> Option<String> {
        let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
        for tensor in self.tensors() {
            let sum = bytes.entry(tensor.kind.name).or_default();
            *sum = sum.saturating_add(tensor.n_bytes);
        }
        bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(name, _)| name.to_uppercase())
    }
}
