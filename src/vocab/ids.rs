//! One vocabulary's ids in terms of another's.

use std::sync::Arc;

use crate::arithmetic::row::NO_ID;

/// For each id of the base, the id under which a small model has the same token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap(Arc<[u32]>);

impl IdMap {
    /// From the other's id for each of the base's.
    pub(super) fn new(ids: impl IntoIterator<Item = Option<usize>>) -> Self {
        let entry = |id: Option<usize>| id.and_then(|id| u32::try_from(id).ok()).unwrap_or(NO_ID);
        Self(ids.into_iter().map(entry).collect())
    }

    /// The other's id of the base's token.
    #[must_use]
    pub fn other(&self, base: usize) -> Option<usize> {
        self.0.get(base).filter(|&&id| id != NO_ID).map(|&id| id as usize)
    }

    /// The base's id of the other's token.
    #[must_use]
    pub fn base(&self, other: usize) -> Option<usize> {
        self.0.iter().position(|&id| id as usize == other).filter(|_| other != NO_ID as usize)
    }

    /// The other's id for each of the base's, [`NO_ID`] where it has none.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }
}
