use proptest::prelude::*;

use super::*;

fn against(base: &[&str], other: &[&str]) -> Verdict {
    compare(&Vocabulary::from_tokens(base), &Vocabulary::from_tokens(other))
}

#[test]
fn the_same_tokens_are_identical() {
    assert_eq!(against(&["a", "b", "c"], &["a", "b", "c"]), Verdict::Identical);
}

#[test]
fn unused_ids_behind_the_shared_ones_are_padding() {
    let padded = Verdict::Padded { n_base: 3, n_other: 2 };
    assert_eq!(against(&["a", "b", "[PAD2]"], &["a", "b"]), padded);
    assert_eq!(against(&["a", "b"], &["a", "b", "[PAD2]"]), Verdict::Padded { n_base: 2, n_other: 3 });
}

#[test]
fn the_same_tokens_under_other_ids_are_remapped() {
    let Verdict::Remapped { ids, n_moved } = against(&["a", "b", "<s>"], &["<s>", "b", "a", "[PAD]"]) else { panic!() };
    assert_eq!(n_moved, 2);
    assert_eq!([0, 1, 2, 3].map(|id| ids.other(id)), [Some(2), Some(1), Some(0), None]);
    assert_eq!([0, 1, 2, 3].map(|id| ids.base(id)), [Some(2), Some(1), Some(0), None]);
    // An unused id of the base in between has no counterpart and needs none.
    let Verdict::Remapped { ids, .. } = against(&["a", "[PAD]", "b"], &["a", "b"]) else { panic!() };
    assert_eq!([0, 1, 2].map(|id| ids.other(id)), [Some(0), None, Some(1)]);
}

#[test]
fn special_tokens_that_differ_are_drift() {
    for (base, other, expected) in [
        (
            &["a", "b"][..],
            &["a", "b", "<PRE>"][..],
            "3 tokens where the base has 2, 1 ids differ; id 2 is \"<PRE>\", not nothing",
        ),
        (&["a", "<x>"], &["a", "<y>"], "1 of 2 tokens differ; id 1 is \"<y>\", not \"<x>\""),
    ] {
        let Verdict::Drifted { ids, differences } = against(base, other) else { panic!("{other:?}") };
        assert_eq!(differences.to_string(), expected);
        assert_eq!((ids.other(0), ids.other(base.len() - 1)), (Some(0), (base[1] == "b").then_some(1)));
    }
}

#[test]
fn special_tokens_are_told_by_their_names_too() {
    let base = Vocabulary::from_tokens(&["a", "b"]);
    for (name, expected) in [("▁<PRE>", "drifted"), ("<|x|>", "drifted"), ("<>", "different"), ("x>", "different")] {
        let other = Vocabulary::from_tokens(&["a", "b", name]).with_type(2, TYPE_NORMAL);
        assert_eq!(compare(&base, &other).name(), expected, "{name}");
    }
}

#[test]
fn the_first_differing_tokens_of_another_tokenizer_are_named() {
    let Verdict::Different(differences) = against(&["a", "b", "c"], &["a", "c", "d"]) else { panic!() };
    assert_eq!(differences.to_string(), "2 of 3 tokens differ; id 1 is \"c\", not \"b\", id 2 is \"d\", not \"c\"");
    assert!(matches!(against(&["a", "b"], &["a", "b", "new"]), Verdict::Different(_)));
}

#[test]
fn the_type_of_a_token_counts() {
    let base = Vocabulary::from_tokens(&["a", "b"]);
    let Verdict::Drifted { ids, differences } = compare(&base, &base.clone().with_type(1, 3)) else { panic!() };
    assert_eq!(differences.to_string(), "1 of 2 tokens differ; id 1 is \"b\" of another type");
    assert_eq!(ids.other(1), Some(1), "the token is the same");
    assert!(matches!(compare(&base, &base.clone().with_type(1, TYPE_BYTE)), Verdict::Different(_)));
}

#[test]
fn parts_are_compared_by_their_tokens() {
    let base = Vocabulary::from_tokens(&["<s>", "</s>", "a"]).with_special("bos", 0).with_special("eos", 1);
    assert_eq!(specials(&base, &base), []);
    let other = Vocabulary::from_tokens(&["a", "<s>", "</s>"]).with_special("bos", 1).with_special("eos", 2);
    assert_eq!(specials(&base, &other), [], "the same tokens under other ids");
    let expected = SpecialDifference { part: "eos", base: Some("</s>".to_owned()), other: Some("<s>".to_owned()) };
    assert_eq!(specials(&base, &base.clone().with_special("eos", 0)), [expected]);
}

proptest! {
    /// Whatever is changed in one place, the verdict is not that nothing was.
    #[test]
    fn every_single_change_is_seen(n in 2_usize..40, at in 0_usize..40, change in 0_usize..4) {
        let names: Vec<String> = (0..n).map(|i| format!("token{i}")).collect();
        let base = Vocabulary::from_tokens(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let at = at % n;
        let mut changed = names.clone();
        let other = match change {
            0 => { changed[at] = "other".to_owned(); None }
            1 => { changed.swap(at, (at + 1) % n); None }
            2 => { changed.insert(at, "new".to_owned()); None }
            _ => Some(base.clone().with_type(at, 4)),
        };
        let other = other.unwrap_or_else(|| Vocabulary::from_tokens(&changed.iter().map(String::as_str).collect::<Vec<_>>()));
        let seen = [compare(&base, &other), compare(&other, &base)].map(|verdict| verdict.name());
        let expected = ["different", "remapped", "different", "drifted"][change];
        prop_assert_eq!(seen, [expected; 2]);
    }

    /// A permutation is undone by its map.
    #[test]
    fn a_permutation_is_undone(order in Just((0..30_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let name = |id: &usize| format!("token{id}");
        let names: Vec<String> = (0..30).map(|id| name(&id)).collect();
        let permuted: Vec<String> = order.iter().map(name).collect();
        let as_vocabulary = |names: &[String]| Vocabulary::from_tokens(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let verdict = compare(&as_vocabulary(&names), &as_vocabulary(&permuted));
        for id in 0..30 {
            let other = verdict.ids().map_or(Some(id), |ids| ids.other(id)).expect("every token is there");
            prop_assert_eq!(order[other], id);
            prop_assert_eq!(verdict.ids().map_or(Some(other), |ids| ids.base(other)), Some(id));
        }
    }
}
