//! Clones, and several stages on one pair.

use proxytune_sampler::PT_BOTH;
use proxytune_sampler::error::{PT_ERROR_SEQUENCES, PT_ERROR_STAGE};

use crate::host::{Candidates, Files, N_VOCAB, Sampler, assert_near};
use crate::plugin::{plugin, words};

const TEXT: [i32; 4] = [60, 61, 62, 63];

fn behind(text: &[i32], token: i32) -> Vec<i32> {
    [text, &[token]].concat()
}

#[test]
fn a_clone_goes_its_own_way() {
    let files = Files::new();
    let pair = files.pair();
    let origin = Sampler::new(&pair);
    origin.feed(PT_BOTH, &TEXT);
    let copy = origin.copy();
    assert_eq!(copy.offset(), origin.offset());
    let late = origin.copy();
    assert_eq!(late.offset(), origin.offset(), "of a stage that has its rows");
    origin.accept(&[1]);
    copy.accept(&[2]);
    late.accept(&[3]);
    for (stage, token) in [(&late, 3), (&origin, 1), (&copy, 2)] {
        let text = behind(&TEXT, token);
        assert_near(&stage.offset(), &files.expected(&text, &text, 1.0));
    }
}

#[test]
fn origin_and_clone_may_be_freed_in_any_order() {
    let files = Files::new();
    let pair = files.pair();
    let text = behind(&TEXT, 9);
    let expected = files.expected(&text, &text, 1.0);
    for clone_first in [true, false] {
        let origin = Sampler::new(&pair);
        origin.feed(PT_BOTH, &TEXT);
        let copy = origin.copy();
        let left = if clone_first {
            drop(copy);
            origin
        } else {
            drop(origin);
            copy
        };
        left.accept(&[9]);
        assert_near(&left.offset(), &expected);
        // And a clone of what is left.
        assert_near(&left.copy().offset(), &expected);
    }
}

#[test]
fn a_clone_beyond_the_last_sequence_is_there_and_failed() {
    let files = Files::new();
    let mut params = files.params();
    params.raw.n_seq_max = 2;
    let pair = crate::plugin::pair(&params).unwrap_or_else(|error| panic!("{error:?}"));
    let origin = Sampler::new(&pair);
    origin.feed(PT_BOTH, &TEXT);
    let second = origin.copy();
    let third = origin.copy();
    let fourth = third.copy();
    for failed in [&third, &fourth] {
        assert_eq!(failed.status(), PT_ERROR_STAGE);
        assert!(words().contains("n_seq_max"), "{}", words());
        let mut row = Candidates::zeros();
        failed.accept(&[1]);
        failed.apply(&mut row);
        assert_eq!(row.logits(), [0.0; N_VOCAB]);
    }
    let mut stage = std::ptr::null_mut();
    assert_eq!(unsafe { (plugin().stage_new)(pair.0, &raw mut stage) }, PT_ERROR_SEQUENCES);
    assert!(stage.is_null());
    // The others do not notice, and a failed one starts afresh where there is room again.
    let expected = files.expected(&TEXT, &TEXT, 1.0);
    assert_near(&second.offset(), &expected);
    assert_near(&origin.offset(), &expected);
    drop(second);
    third.reset();
    third.feed(PT_BOTH, &TEXT);
    assert_near(&third.offset(), &expected);
    fourth.reset();
    fourth.feed(PT_BOTH, &TEXT);
    fourth.apply(&mut Candidates::zeros());
    assert_eq!(fourth.status(), PT_ERROR_STAGE);
}

#[test]
fn stages_outlive_the_pairs_handle() {
    let files = Files::new();
    let pair = files.pair();
    let (stage, other) = (Sampler::new(&pair), Sampler::new(&pair));
    drop(pair);
    stage.feed(PT_BOTH, &TEXT);
    assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT, 1.0));
    drop(stage);
    other.feed(PT_BOTH, &TEXT);
    assert_near(&other.offset(), &files.expected(&TEXT, &TEXT, 1.0));
}

#[test]
fn texts_that_nobody_has_make_room() {
    let files = Files::new();
    let pair = files.pair();
    // 256 places for all: each of these takes 200, so what the one before left has to go.
    for token in 1..6 {
        let text = vec![token; 200];
        let stage = Sampler::new(&pair);
        stage.feed(PT_BOTH, &text);
        assert_near(&stage.offset(), &files.expected(&text, &text, 1.0));
    }
    let (first, second) = (Sampler::new(&pair), Sampler::new(&pair));
    first.feed(PT_BOTH, &[7; 200]);
    first.offset();
    second.feed(PT_BOTH, &[8; 200]);
    second.apply(&mut Candidates::zeros());
    assert_eq!(second.status(), PT_ERROR_STAGE, "a text that somebody has stays");
    first.accept(&[7]);
    assert_near(&first.offset(), &files.expected(&[7; 201], &[7; 201], 1.0));
}

#[test]
fn threads_with_a_stage_each_share_a_pair() {
    let files = Files::new();
    let pair = files.pair();
    let stages: Vec<_> = (0..4).map(|_| Sampler::new(&pair)).collect();
    std::thread::scope(|scope| {
        for (i, stage) in stages.iter().enumerate() {
            let files = &files;
            scope.spawn(move || {
                let mut text = vec![i as i32 + 1];
                stage.feed(PT_BOTH, &text);
                for token in 0..30 {
                    stage.accept(&[token]);
                    text.push(token);
                    let offset = stage.offset();
                    if token % 10 == 9 {
                        assert_near(&offset, &files.expected(&text, &text, 1.0));
                    }
                }
            });
        }
    });
}
