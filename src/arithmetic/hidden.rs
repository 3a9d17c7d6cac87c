//! What is known of tokens whose probability nobody shows.
//!
//! Of a base that shows the log-probabilities of some ids, the others share what those leave, `rest`, and none of them is more
//! probable than the least that is shown. How they share it is not known. The sum multiplies each by `exp(offset)`, so that
//! all of them together can have no more than is left when the share goes to those with the largest offsets, each getting as
//! much as one can have: a fractional knapsack.

/// What hidden ids can have of a composed distribution at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hidden {
    /// Their probability together, 0 to 1.
    pub share: f64,
    /// One of them could be the most probable of all.
    pub may_lead: bool,
}

/// The bound. `composed` has the offset added to `base`, both `[n_vocab]`; `shown` are the ids that are known; `rest` is the
/// base's probability of all others together, `cap` the most that one of them can have, as a log-probability.
#[must_use]
pub fn hidden(base: &[f32], composed: &[f32], shown: &[i32], rest: f64, cap: f32) -> Hidden {
    let cap = f64::from(cap).min(rest.ln());
    let mut is_shown = vec![false; base.len()];
    shown.iter().filter_map(|&id| usize::try_from(id).ok()).for_each(|id| is_shown[id] = true);
    let all = || base.iter().zip(composed).zip(&is_shown);
    let lead =
        all().filter(|(_, shown)| **shown).map(|((_, sum), _)| f64::from(*sum)).fold(f64::NEG_INFINITY, f64::max);
    let known: f64 = all().filter(|(_, shown)| **shown).map(|((_, sum), _)| (f64::from(*sum) - lead).exp()).sum();
    // What a hidden id would weigh if it had as much as one can have.
    let hidden =
        all().filter(|(_, shown)| !**shown).map(|((base, sum), _)| f64::from(*sum) - f64::from(*base) + cap - lead);
    let mut weights: Vec<f64> = hidden.collect();
    let n_full = rest / cap.exp();
    let n_most = (n_full.ceil() as usize).min(weights.len());
    if n_most == 0 {
        return Hidden { share: 0.0, may_lead: false };
    }
    weights.select_nth_unstable_by(n_most - 1, |a, b| b.total_cmp(a));
    let (largest, last) = (&weights[..n_most - 1], weights[n_most - 1]);
    // The last of them gets what is left.
    let part = (n_full - (n_most - 1) as f64).clamp(0.0, 1.0);
    let unknown = largest.iter().map(|weight| weight.exp()).sum::<f64>() + part * last.exp();
    let most = weights[..n_most].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Hidden { share: unknown / (unknown + known), may_lead: most >= 0.0 }
}

/// The hidden ids that could have most of the composed distribution, the first of them, if any could have a part of it that
/// is worth asking for.
#[must_use]
pub fn most_wanted(base: &[f32], composed: &[f32], shown: &[i32], bound: Hidden, n: usize) -> Vec<i32> {
    /// Less than this changes no text that anybody would notice.
    const WORTH_IT: f64 = 0.01;
    if n == 0 || !bound.may_lead && bound.share < WORTH_IT {
        return Vec::new();
    }
    let mut is_shown = vec![false; base.len()];
    shown.iter().filter_map(|&id| usize::try_from(id).ok()).for_each(|id| is_shown[id] = true);
    let mut ids: Vec<i32> = (0..base.len()).filter(|&id| !is_shown[id]).map(|id| id as i32).collect();
    let offset = |id: &i32| composed[*id as usize] - base[*id as usize];
    let n = n.min(ids.len());
    if n == 0 {
        return Vec::new();
    }
    ids.select_nth_unstable_by(n - 1, |a, b| offset(b).total_cmp(&offset(a)));
    ids.truncate(n);
    ids
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_an_offset_they_have_what_is_left() {
        let base = [0.5_f32, 0.3, 0.1, 0.1].map(f32::ln);
        let Hidden { share, may_lead } = hidden(&base, &base, &[0, 1], 0.2, 0.3_f32.ln());
        assert!((share - 0.2).abs() < 1e-6, "{share}");
        assert!(!may_lead);
    }

    #[test]
    fn a_large_offset_may_lead() {
        let base = [0.5_f32, 0.3, 0.1, 0.1].map(f32::ln);
        let mut composed = base;
        composed[3] += 2.0;
        assert!(hidden(&base, &composed, &[0, 1], 0.2, 0.3_f32.ln()).may_lead);
    }

    #[test]
    fn those_with_the_largest_offsets_are_asked_for() {
        let base = [0.5_f32, 0.3, 0.1, 0.1].map(f32::ln);
        let composed = [base[0], base[1], base[2] - 1.0, base[3] + 2.0];
        let bound = hidden(&base, &composed, &[0, 1], 0.2, 0.3_f32.ln());
        assert_eq!(most_wanted(&base, &composed, &[0, 1], bound, 1), [3]);
        let nothing = Hidden { share: 0.001, may_lead: false };
        assert_eq!(most_wanted(&base, &composed, &[0, 1], nothing, 1), [0; 0]);
    }

    proptest! {
        /// However the rest is shared, hidden ids have no more than the bound says, and where none may lead, none does.
        #[test]
        fn nobody_has_more(
            logits in prop::collection::vec(-6.0_f32..3.0, 12),
            offsets in prop::collection::vec(-4.0_f32..4.0, 12),
            n_shown in 1_usize..11,
        ) {
            let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
            let mut truth: Vec<f32> = logits.iter().map(|logit| (f64::from(*logit) - sum.ln()) as f32).collect();
            truth.sort_by(|a, b| b.total_cmp(a));
            let shown: Vec<i32> = (0..n_shown as i32).collect();
            let rest: f64 = truth[n_shown..].iter().map(|logprob| f64::from(*logprob).exp()).sum();
            let cap = truth[n_shown - 1];
            let even = ((rest / (12 - n_shown) as f64).ln() as f32).min(cap);
            let base: Vec<f32> = (0..12).map(|id| if id < n_shown { truth[id] } else { even }).collect();
            let composed: Vec<f32> = base.iter().zip(&offsets).map(|(base, offset)| base + offset).collect();
            let bound = hidden(&base, &composed, &shown, rest, cap);
            let weights: Vec<f64> = truth.iter().zip(&offsets).map(|(t, o)| f64::from(t + o).exp()).collect();
            let got = weights[n_shown..].iter().sum::<f64>() / weights.iter().sum::<f64>();
            prop_assert!(got <= bound.share + 1e-5, "{got} of {bound:?}");
            let leader = (0..12).max_by(|a, b| weights[*a].total_cmp(&weights[*b])).unwrap_or(0);
            prop_assert!(bound.may_lead || leader < n_shown);
        }
    }
}
