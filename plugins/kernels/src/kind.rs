//! The quantised types of weights, as ggml lays them out.

/// A type of weights. A row is a sequence of blocks, and a block holds its scales beside its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Q4_0,
    Q5_0,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    F32,
    F16,
    Bf16,
}

impl Kind {
    pub const ALL: [Self; 9] =
        [Self::Q4_0, Self::Q5_0, Self::Q8_0, Self::Q4K, Self::Q5K, Self::Q6K, Self::F32, Self::F16, Self::Bf16];

    /// By the number that a GGUF file and ggml have for it.
    #[must_use]
    pub fn from_ggml(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_ggml() == number)
    }

    #[must_use]
    pub fn to_ggml(self) -> u32 {
        match self {
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 => 30,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "q4_0",
            Self::Q5_0 => "q5_0",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_K",
            Self::Q5K => "q5_K",
            Self::Q6K => "q6_K",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether weights are floats, which stand for themselves: their columns are not quantised either.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Weights in a block; of floats, those in four bytes.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
            Self::F32 => 1,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q5_0 => 22,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::F32 | Self::F16 | Self::Bf16 => 4,
        }
    }

    /// Bytes of a row of so many weights, which must be whole blocks.
    #[must_use]
    pub const fn row_bytes(self, n: usize) -> usize {
        n / self.block_len() * self.block_bytes()
    }

    /// Of a block of activations, how many numbers there are in 8 bits, as floats, and as sums of it; see
    /// [`activations`](crate::activations).
    pub(crate) const fn parts(self) -> Parts {
        let (quants, floats, sums) = match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => (32, 1, 1),
            Self::Q4K | Self::Q5K => (256, 1, 4),
            Self::Q6K => (256, 1, 16),
            Self::F32 => (0, 1, 0),
            Self::F16 | Self::Bf16 => (0, 2, 0),
        };
        Parts { quants, floats, sums }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub quants: usize,
    pub floats: usize,
    pub sums: usize,
}
