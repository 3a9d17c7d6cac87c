//! Whether a context's logits depend on how tokens are batched, bit by bit.
//!
//! llama.cpp takes other kernels for one token than for several, and other ones again for many, or when the cache has
//! grown. Where their sums round differently, a token that was verified in a batch may get another row than it would
//! have got by itself; speculation then draws from the same distribution up to rounding. Where they do not, it gives the
//! very same text.

use serde::{Deserialize, Serialize};

use super::batch::Outputs;
use super::context::Context;
use super::kernels::{self, Kernels};
use super::{Error, Token};
use crate::arithmetic::offset::first_non_finite_logit;
use crate::gguf::Header;

/// Types of matrices for which llama.cpp's own CPU kernels round a token alike by itself and beside others, with flash attention
/// over a cache in `q8_0`; tests hold it to that. Of others, K-quants are computed in another way from 2 tokens on where
/// they are repacked and from 8 on where they are not. Nobody has looked on other processors.
#[cfg(target_arch = "x86_64")]
const INVARIANT: &[&str] = &["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"];
#[cfg(not(target_arch = "x86_64"))]
const INVARIANT: &[&str] = &[];

/// The types of a file's matrices whose products may depend on how many columns there are.
#[must_use]
pub fn dependent(header: &Header, kernels: Kernels) -> Vec<&'static str> {
    let ours = kernels.isa(header).is_some();
    let is_invariant = |kind: &&str| INVARIANT.contains(kind) || ours && kernels::knows(kind);
    header.matrix_types().into_iter().filter(|kind| !is_invariant(kind)).collect()
}

/// Lengths of the text before the batch. From 512 cells on flash attention splits the cache among threads for a token
/// by itself.
const LENGTHS: [usize; 2] = [64, 768];
/// Tokens in a batch: a matrix by a few columns, by groups of four and what is left, by tiles.
const WIDTHS: [usize; 6] = [2, 3, 4, 5, 8, 16];
/// The widest batch: as many rows a context must be able to put out to be looked at in full.
pub const MAX_WIDTH: usize = 16;

/// What was compared, and where batches differed first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Invariance {
    /// Tokens in the cache before the batch. None where the context is too small to hold two more.
    pub n_kv: Vec<usize>,
    /// Tokens in the batches.
    pub widths: Vec<usize>,
    pub difference: Option<Difference>,
}

/// The first row that a batch gives otherwise than its token does by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub n_kv: usize,
    pub width: usize,
    pub row: usize,
    /// The largest of any logit, in any batch.
    pub max: f32,
}

impl Invariance {
    /// `None` where nothing could be compared.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        (!self.n_kv.is_empty() && !self.widths.is_empty()).then_some(self.difference.is_none())
    }
}

/// Compares batches with single tokens on a context's first sequence, as far as the context reaches; the sequence is
/// empty afterwards.
pub fn probe(context: &mut Context) -> Result<Invariance, Error> {
    let most = context.n_batch().min(context.n_rows_max()).min(context.n_ctx().saturating_sub(1));
    let widths: Vec<_> = WIDTHS.into_iter().filter(|&width| width <= most).collect();
    let mut found = Invariance { widths, ..Invariance::default() };
    let Some(&widest) = found.widths.last() else { return Ok(found) };
    found.n_kv.extend(LENGTHS.map(|n| n.min(context.n_ctx() - widest)));
    found.n_kv.dedup();
    let tokens = text(context, found.n_kv.iter().max().unwrap_or(&0) + widest);
    for &n_kv in &found.n_kv {
        let (before, next) = tokens[..n_kv + widest].split_at(n_kv);
        let mut singles = Vec::new();
        rewind(context, before)?;
        for token in next {
            context.decode(std::slice::from_ref(token), Outputs::All)?;
            singles.push(finite(context, 0)?.to_vec());
        }
        for &width in &found.widths {
            rewind(context, before)?;
            context.decode(&next[..width], Outputs::All)?;
            for (row, single) in singles[..width].iter().enumerate() {
                let batched = finite(context, row)?;
                if batched.iter().zip(single).all(|(a, b)| a.to_bits() == b.to_bits()) {
                    continue;
                }
                let max = batched.iter().zip(single).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let first = found.difference.get_or_insert(Difference { n_kv, width, row, max });
                first.max = first.max.max(max);
            }
        }
    }
    context.roll_back(0, 0);
    Ok(found)
}

/// Tokens from all over the vocabulary, behind what texts begin with.
fn text(context: &Context, n: usize) -> Vec<Token> {
    // Near the golden section: neighbours are far apart, and none comes twice before all have come.
    let n_vocab = context.n_vocab() as u64;
    let token = |i: u64| (i * 2_654_435_761 % n_vocab) as Token;
    context.model().leading_bos().into_iter().chain((1..).map(token)).take(n).collect()
}

/// Makes the first sequence hold these tokens, however little of it its model can forget.
fn rewind(context: &mut Context, before: &[Token]) -> Result<(), Error> {
    context.roll_back(0, before.len());
    if context.n_past(0) != before.len() {
        context.roll_back(0, 0);
        before.chunks(context.n_batch()).try_for_each(|tokens| context.decode(tokens, Outputs::None))?;
    }
    Ok(())
}

fn finite(context: &Context, row: usize) -> Result<&[f32], Error> {
    let row = context.row(0, row)?;
    first_non_finite_logit(row).map_or(Ok(row), |id| Err(Error::NotFinite { id, value: row[id] }))
}
