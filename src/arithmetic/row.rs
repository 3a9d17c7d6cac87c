//! A small model's logits, asked for by the base's ids.

/// Stands in a map of ids where the small model lacks a token of the base.
pub const NO_ID: u32 = u32::MAX;

/// One row of raw logits. Where the model numbers its tokens otherwise than the base does, with the model's id for
/// each of the base's.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    logits: &'a [f32],
    ids: Option<&'a [u32]>,
}

impl<'a> From<&'a [f32]> for Row<'a> {
    /// A row in the base's own ids. It may be shorter or longer than the base's.
    fn from(logits: &'a [f32]) -> Self {
        Self { logits, ids: None }
    }
}

impl<'a> Row<'a> {
    /// A row whose token `ids[id]` is the base's token `id`.
    #[must_use]
    pub fn mapped(logits: &'a [f32], ids: &'a [u32]) -> Self {
        Self { logits, ids: Some(ids) }
    }

    /// The logit of the base's token `id`; `None` where this model does not have it.
    #[inline]
    #[must_use]
    pub fn get(&self, id: usize) -> Option<f32> {
        let own = match self.ids {
            None => id,
            Some(ids) => *ids.get(id)? as usize,
        };
        self.logits.get(own).copied()
    }

    /// All logits in the model's own order.
    #[must_use]
    pub fn logits(&self) -> &'a [f32] {
        self.logits
    }

    /// The base's ids that may be asked for are below this.
    pub(super) fn n_ids(&self) -> usize {
        self.ids.map_or(self.logits.len(), <[u32]>::len)
    }

    /// Whether its ids are the base's.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.ids.is_none()
    }

    /// The logits, if they stand in the order of the base's ids.
    pub(super) fn in_order(&self) -> Option<&'a [f32]> {
        if self.ids.is_none() { Some(self.logits) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_leads_to_the_models_own_ids() {
        let logits = [0.5, 1.5, 2.5];
        let row = Row::mapped(&logits, &[2, NO_ID, 0, 1]);
        assert_eq!([0, 1, 2, 3, 4].map(|id| row.get(id)), [Some(2.5), None, Some(0.5), Some(1.5), None]);
        assert_eq!(Row::from(&logits[..]).get(3), None);
    }
}
