//! Which instructions a machine has, and the kernels compiled for each set of them.

/// An instruction set that there are kernels for, the slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    Avx2,
    AvxVnni,
    Avx512Vnni,
}

impl Isa {
    pub const ALL: [Self; 3] = [Self::Avx2, Self::AvxVnni, Self::Avx512Vnni];

    /// The fastest of this machine, if there is one.
    #[must_use]
    pub fn best() -> Option<Self> {
        Self::ALL.into_iter().rfind(|isa| isa.is_here())
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512Vnni => "AVX-512 VNNI",
        }
    }

    /// Rows that are multiplied at once.
    #[must_use]
    pub fn rows(self) -> usize {
        match self {
            Self::Avx2 | Self::AvxVnni => 8,
            Self::Avx512Vnni => 16,
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn is_here(self) -> bool {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        avx2 && match self {
            Self::Avx2 => true,
            Self::AvxVnni => is_x86_feature_detected!("avxvnni"),
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[must_use]
    pub fn is_here(self) -> bool {
        false
    }
}
