use proptest::prelude::*;

use super::*;
use crate::arithmetic::row::NO_ID;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    id: usize,
    logit: f32,
}

impl Candidate for Entry {
    fn id(&self) -> usize {
        self.id
    }
    fn logit_mut(&mut self) -> &mut f32 {
        &mut self.logit
    }
}

fn term<'a>(alpha: f32, expert: impl Into<Option<&'a [f32]>>, antiexpert: impl Into<Option<&'a [f32]>>) -> Term<'a> {
    Term::pair(alpha, expert.into().map(Row::from), antiexpert.into().map(Row::from))
}

fn dense(base: &[f32], terms: &[Term<'_>]) -> Vec<f32> {
    let mut row = base.to_vec();
    add_dense(&mut row, terms).expect("finite rows");
    row
}

/// The formula in f64, written down as it stands in the paper.
fn oracle(base: &[f32], terms: &[Term<'_>]) -> Vec<f64> {
    (0..base.len())
        .map(|id| {
            let side = |row: Option<Row<'_>>| row.map_or(Some(0.0), |row| row.get(id).map(f64::from));
            let offset = |term: &Term<'_>| match (side(term.expert), side(term.antiexpert)) {
                (Some(expert), Some(antiexpert)) => f64::from(term.a) * expert - f64::from(term.b) * antiexpert,
                _ => 0.0,
            };
            f64::from(base[id]) + terms.iter().map(offset).sum::<f64>()
        })
        .collect()
}

const BASE: [f32; 4] = [0.0, 1.0, 2.0, 3.0];
const EXPERT: [f32; 4] = [4.0, 0.0, -1.0, 1.0];
const ANTIEXPERT: [f32; 4] = [1.0, 1.0, 1.0, 1.0];

#[test]
fn four_tokens() {
    let table: [(&[Term<'_>], [f32; 4]); 8] = [
        (&[], BASE),
        (&[term(1.0, &EXPERT[..], &ANTIEXPERT[..])], [3.0, 0.0, 0.0, 3.0]),
        (&[term(0.0, &EXPERT[..], &ANTIEXPERT[..])], BASE),
        (&[term(0.5, &EXPERT[..], &ANTIEXPERT[..])], [1.5, 0.5, 1.0, 3.0]),
        (&[term(-1.0, &EXPERT[..], &ANTIEXPERT[..])], [-3.0, 2.0, 4.0, 3.0]),
        (&[term(1.0, &EXPERT[..], None)], [4.0, 1.0, 1.0, 4.0]),
        (&[term(2.0, None, &EXPERT[..])], [-8.0, 1.0, 4.0, 1.0]),
        (&[term(1.0, &EXPERT[..], &ANTIEXPERT[..]), term(0.5, &ANTIEXPERT[..], &BASE[..])], [3.5, 0.0, -0.5, 2.0]),
    ];
    for (terms, expected) in table {
        assert_eq!(dense(&BASE, terms), expected, "{terms:?}");
    }
}

#[test]
fn each_side_may_have_a_weight_of_its_own_and_so_may_the_base() {
    let pair = |a, b| Term { b, ..term(a, &EXPERT[..], &ANTIEXPERT[..]) };
    assert_eq!(dense(&BASE, &[pair(2.0, 1.0)]), [7.0, 0.0, -1.0, 4.0]);
    assert_eq!(dense(&BASE, &[pair(0.0, 0.5)]), [-0.5, 0.5, 1.5, 2.5]);
    // 0.5 · base is base − 0.5 · base.
    assert_eq!(dense(&BASE, &[term(-0.5, &BASE[..], None)]), [0.0, 0.5, 1.0, 1.5]);
    let mut sorted = [3, 0].map(|id| Entry { id, logit: BASE[id] });
    add_by_id(&mut sorted, &[pair(2.0, 1.0)]).expect("finite rows");
    assert_eq!(sorted.map(|entry| entry.logit), [4.0, 7.0]);
    let entry = |id, logit| Entry { id, logit };
    assert_eq!(compose(&BASE, &[pair(2.0, 1.0)], &mut Vec::new(), entry), None);
}

#[test]
fn the_base_as_antiexpert_leaves_the_expert() {
    assert_eq!(dense(&BASE, &[term(1.0, &EXPERT[..], &BASE[..])]), EXPERT);
}

#[test]
fn rows_in_another_order_are_read_by_the_bases_ids() {
    // EXPERT with its ids turned round, and a row that has the base's ids 0 and 2 only.
    let (turned, ids) = ([1.0, -1.0, 0.0, 4.0], [3, 2, 1, 0]);
    let some = [5.0, 7.0];
    let expert = Some(Row::mapped(&turned, &ids));
    let term = |expert, antiexpert| Term::pair(1.0, expert, antiexpert);
    assert_eq!(dense(&BASE, &[term(expert, Some(ANTIEXPERT[..].into()))]), [3.0, 0.0, 0.0, 3.0]);
    let partial = Some(Row::mapped(&some, &[1, NO_ID, 0, NO_ID]));
    assert_eq!(dense(&BASE, &[term(partial, None)]), [7.0, 1.0, 7.0, 3.0]);
    let mut sorted: Vec<Entry> = [3, 2, 0].map(|id| Entry { id, logit: BASE[id] }).to_vec();
    add_by_id(&mut sorted, &[term(expert, None)]).expect("finite rows");
    assert_eq!(sorted.iter().map(|entry| entry.logit).collect::<Vec<_>>(), [4.0, 1.0, 4.0]);
}

#[test]
fn ids_that_one_side_lacks_get_no_offset() {
    let short = &EXPERT[..2];
    assert_eq!(dense(&BASE, &[term(1.0, short, &ANTIEXPERT[..])]), [3.0, 0.0, 2.0, 3.0]);
    assert_eq!(dense(&BASE, &[term(1.0, &EXPERT[..], &ANTIEXPERT[..3])]), [3.0, 0.0, 0.0, 3.0]);
    let long = [4.0, 0.0, -1.0, 1.0, 99.0, f32::NAN];
    assert_eq!(dense(&BASE, &[term(1.0, &long[..], &ANTIEXPERT[..])]), [3.0, 0.0, 0.0, 3.0]);
}

#[test]
fn a_masked_candidate_stays_masked() {
    let base = [0.0, f32::NEG_INFINITY, 2.0, 3.0];
    assert_eq!(dense(&base, &[term(1.0, &EXPERT[..], &ANTIEXPERT[..])])[1], f32::NEG_INFINITY);
}

#[test]
fn offsets_that_are_not_finite_are_named() {
    let inf = f32::INFINITY;
    for (expert, antiexpert) in [
        ([0.0, 0.0, f32::NAN, 0.0], [0.0; 4]),
        ([0.0; 4], [0.0, 0.0, inf, 0.0]),
        ([0.0, 0.0, -inf, 0.0], [0.0, 0.0, -inf, 0.0]),
        ([0.0, 0.0, f32::MAX, 0.0], [0.0, 0.0, -f32::MAX, 0.0]),
    ] {
        let terms = [term(1.0, &expert[..], &antiexpert[..])];
        assert_eq!(add_dense(&mut BASE.clone(), &terms), Err(NotFinite { id: 2 }));
        let mut sorted = [3, 2, 0].map(|id| Entry { id, logit: BASE[id] });
        assert_eq!(add_by_id(&mut sorted, &terms), Err(NotFinite { id: 2 }));
        let mut without = [3, 0].map(|id| Entry { id, logit: BASE[id] });
        assert_eq!(add_by_id(&mut without, &terms), Ok(()));
    }
    assert_eq!(first_non_finite_logit(&[0.0, f32::MAX, -0.0, 1e-45]), None);
    assert_eq!(first_non_finite_logit(&[0.0, f32::NEG_INFINITY, f32::NAN]), Some(1));
}

#[test]
fn composing_names_what_is_damaged() {
    let entry = |id, logit| Entry { id, logit };
    let composed = |base: &[f32], terms: &[Term<'_>]| compose(base, terms, &mut Vec::new(), entry);
    let pair = term(1.0, &EXPERT[..], &ANTIEXPERT[..]);
    assert_eq!(composed(&BASE, &[pair]), Some(Ok(())));
    let masked = [0.0, f32::NEG_INFINITY, 2.0, 3.0];
    assert_eq!(composed(&masked, &[pair]), Some(Err(Damaged::Base { id: 1 })));
    let nan = [0.0, 0.0, f32::NAN, 0.0];
    assert_eq!(
        composed(&BASE, &[term(1.0, &nan[..], &ANTIEXPERT[..])]),
        Some(Err(Damaged::Offset(NotFinite { id: 2 })))
    );
    let short = term(1.0, &EXPERT[..3], &ANTIEXPERT[..]);
    for terms in [&[][..], &[pair, pair], &[short], &[term(1.0, None, &ANTIEXPERT[..])]] {
        assert_eq!(composed(&BASE, terms), None);
    }
}

/// a, and b where it is another.
type Weights = (f32, Option<f32>);

fn weighted<'a>((a, b): Weights, expert: Option<&'a [f32]>, antiexpert: Option<&'a [f32]>) -> Term<'a> {
    Term { b: b.unwrap_or(a), ..term(a, expert, antiexpert) }
}

prop_compose! {
    fn rows()(n in 1_usize..200)(
        base in prop::collection::vec(-60.0_f32..60.0, n),
        sides in prop::collection::vec(
            ((-4.0_f32..4.0, prop::option::of(-4.0_f32..4.0)), prop::option::of(prop::collection::vec(-60.0_f32..60.0, 1..220)),
             prop::option::of(prop::collection::vec(-60.0_f32..60.0, 1..220))), 0..4),
        order in Just((0..n).collect::<Vec<usize>>()).prop_shuffle(),
        kept in 0..=n,
    ) -> (Vec<f32>, Vec<(Weights, Option<Vec<f32>>, Option<Vec<f32>>)>, Vec<usize>) {
        (base, sides, order[..kept].to_vec())
    }
}

proptest! {
    /// On any permutation and truncation, each candidate ends with exactly the logit its id has in the dense row.
    #[test]
    fn by_id_equals_dense((base, sides, order) in rows()) {
        let terms: Vec<_> = sides.iter().map(|(weights, e, a)| weighted(*weights, e.as_deref(), a.as_deref())).collect();
        let row = dense(&base, &terms);
        let mut candidates: Vec<_> = order.iter().map(|&id| Entry { id, logit: base[id] }).collect();
        add_by_id(&mut candidates, &terms).expect("finite rows");
        for candidate in candidates {
            prop_assert_eq!(candidate.logit, row[candidate.id]);
        }
    }

    /// One pass gives, bit by bit, what filling and adding give.
    #[test]
    fn composing_equals_dense(
        numbers in prop::collection::vec([-60.0_f32..60.0, -60.0_f32..60.0, -60.0_f32..60.0], 1..200),
        alpha in -4.0_f32..4.0,
    ) {
        let [base, expert, antiexpert] = [0, 1, 2].map(|i| numbers.iter().map(|of_id| of_id[i]).collect::<Vec<_>>());
        let terms = [term(alpha, &expert[..], &antiexpert[..])];
        let mut candidates = Vec::new();
        let done = compose(&base, &terms, &mut candidates, |id, logit| Entry { id, logit });
        prop_assert_eq!(done, Some(Ok(())));
        let logits: Vec<_> = candidates.iter().map(|candidate| candidate.logit).collect();
        prop_assert_eq!(logits, dense(&base, &terms));
    }

    #[test]
    fn dense_agrees_with_f64((base, sides, _) in rows()) {
        let terms: Vec<_> = sides.iter().map(|(weights, e, a)| weighted(*weights, e.as_deref(), a.as_deref())).collect();
        for (got, expected) in dense(&base, &terms).iter().zip(oracle(&base, &terms)) {
            prop_assert!((f64::from(*got) - expected).abs() <= 1e-3, "{got} {expected}");
        }
    }
}
