//! The table's slots, each called or read as a host's llama.cpp does.

use std::ffi::CStr;

use proxytune_sampler::error::{PT_ERROR_ARGUMENT, PT_ERROR_BUSY, PT_ERROR_STAGE};
use proxytune_sampler::{PT_ANTIEXPERT, PT_BOTH, PT_EXPERT};

use crate::host::{Candidates, Files, N_VOCAB, Sampler, assert_near};
use crate::plugin::words;

const TEXT: [i32; 5] = [10, 20, 30, 40, 50];

#[test]
fn six_slots_are_there_and_the_next_26_are_null() {
    let (files, mut slots) = (Files::new(), [0_usize; 32]);
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    unsafe { std::ptr::copy_nonoverlapping((*stage.0).iface.cast::<usize>(), slots.as_mut_ptr(), slots.len()) };
    assert!(slots[..6].iter().all(|&slot| slot != 0));
    assert!(slots[6..].iter().all(|&slot| slot == 0));
    let name = unsafe { CStr::from_ptr(stage.table().name.expect("a slot")(stage.0)) };
    assert_eq!(name, c"proxy-tuning");
    let other = Sampler::new(&files.pair());
    assert!(std::ptr::eq(stage.table(), other.table()), "llama_sampler_copy compares tables");
}

#[test]
fn it_adds_alpha_times_the_difference_by_token_id() {
    let files = Files::new();
    let mut params = files.params();
    params.raw.alpha = 0.5;
    let pair = crate::plugin::pair(&params).unwrap_or_else(|error| panic!("{error:?}"));
    let stage = Sampler::new(&pair);
    stage.feed(PT_BOTH, &TEXT);
    let expected = files.expected(&TEXT, &TEXT, 0.5);
    let offset = stage.offset();
    assert_near(&offset, &expected);
    assert_eq!(stage.offset(), offset, "the same again: hosts resample");

    // Sorted, truncated, and with a selection that is not the stage's to change.
    let mut few = Candidates::of([(250, 3.0), (7, 2.0), (123, 1.0)]);
    (few.array.sorted, few.array.selected) = (true, 1);
    stage.apply(&mut few);
    assert_eq!(few.logits(), [3.0 + offset[250], 2.0 + offset[7], 1.0 + offset[123]]);
    assert_eq!((few.array.sorted, few.array.selected), (false, 1));
    // Nothing to do, and ids that are none.
    stage.apply(&mut Candidates::of([]));
    let mut strange = Candidates::of([(-1, 1.0), (1 << 20, 2.0)]);
    stage.apply(&mut strange);
    assert_eq!((strange.logits(), stage.status()), (vec![1.0, 2.0], 0));
}

#[test]
fn accept_moves_on_however_the_prompt_came() {
    let files = Files::new();
    let pair = files.pair();
    let expected = files.expected(&TEXT, &TEXT, 1.0);
    let accepted = Sampler::new(&pair);
    accepted.accept(&TEXT);
    assert_near(&accepted.offset(), &expected);

    let fed = Sampler::new(&pair);
    fed.feed(PT_BOTH, &TEXT[..3]);
    fed.accept(&TEXT[3..]);
    assert_near(&fed.offset(), &expected);

    // A host that accepts its prompt and feeds it then: the text is what was fed.
    let both = Sampler::new(&pair);
    both.accept(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    both.feed(PT_BOTH, &TEXT);
    assert_near(&both.offset(), &expected);
}

#[test]
fn roles_may_have_texts_of_their_own() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.feed(PT_EXPERT, &TEXT);
    stage.feed(PT_ANTIEXPERT, &TEXT[2..]);
    assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT[2..], 1.0));
    stage.accept(&[99]);
    assert_near(&stage.offset(), &files.expected(&[10, 20, 30, 40, 50, 99], &[30, 40, 50, 99], 1.0));
    // One file on both sides is loaded once and reads two texts.
    let params = files.params().with(|p| &mut p.antiexpert, &files.path("expert"));
    let pair = crate::plugin::pair(&params).unwrap_or_else(|error| panic!("{error:?}"));
    let guided = Sampler::new(&pair);
    guided.feed(PT_BOTH, &TEXT);
    assert!(guided.offset().iter().all(|&offset| offset.abs() < 1e-2), "the same on both sides");
    guided.feed(PT_ANTIEXPERT, &TEXT[4..]);
    let [with, without] = [&TEXT[..], &TEXT[4..]].map(|text| crate::host::row_behind(&files.path("expert"), text));
    assert_near(&guided.offset(), &with.iter().zip(without).map(|(e, a)| e - a).collect::<Vec<_>>());
}

#[test]
fn one_side_alone_is_added_or_taken_away() {
    let files = Files::new();
    for (is_expert, sign) in [(true, 1.0), (false, -1.0)] {
        let mut params = files.params();
        let (side, other) = if is_expert { ("expert", PT_ANTIEXPERT) } else { ("antiexpert", PT_EXPERT) };
        *(if is_expert { &mut params.raw.antiexpert } else { &mut params.raw.expert }) = std::ptr::null();
        let pair = crate::plugin::pair(&params).unwrap_or_else(|error| panic!("{error:?}"));
        let stage = Sampler::new(&pair);
        stage.feed(PT_BOTH, &TEXT);
        let row = crate::host::row_behind(&files.path(side), &TEXT);
        assert_near(&stage.offset(), &row.iter().map(|logit| sign * logit).collect::<Vec<_>>());
        let status = unsafe { (crate::plugin::plugin().feed)(stage.0, other, TEXT.as_ptr(), TEXT.len()) };
        assert_eq!(status, PT_ERROR_ARGUMENT);
        assert!(words().contains("a side that the pair has"), "{}", words());
    }
}

#[test]
fn reset_is_a_fresh_stage() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.accept(&[1, 2, 3]);
    stage.reset();
    stage.accept(&TEXT);
    assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT, 1.0));
    stage.reset();
    stage.reset();
    stage.apply(&mut Candidates::zeros());
    assert_eq!(stage.status(), PT_ERROR_STAGE, "it has no text");
}

#[test]
fn rollback_takes_back_what_was_accepted() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.feed(PT_BOTH, &TEXT);
    stage.accept(&[100, 101, 102]);
    stage.offset();
    assert_eq!(stage.rollback(2), 0);
    assert_near(&stage.offset(), &files.expected(&[10, 20, 30, 40, 50, 100], &[10, 20, 30, 40, 50, 100], 1.0));
    assert_eq!(stage.rollback(0), 0);
    assert_eq!(stage.rollback(7), PT_ERROR_ARGUMENT);
    assert!(words().contains("at most 6"), "{}", words());
    assert_eq!(stage.status(), 0, "an argument that is refused is no failure");
}

#[test]
fn alpha_may_change() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.feed(PT_BOTH, &TEXT);
    for alpha in [0.0, -2.0, 0.25] {
        assert_eq!(stage.set_alpha(alpha), 0);
        assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT, alpha));
    }
    for alpha in [f32::NAN, f32::INFINITY, 11.0] {
        assert_eq!(stage.set_alpha(alpha), PT_ERROR_ARGUMENT);
    }
    let copy = stage.copy();
    assert_near(&copy.offset(), &files.expected(&TEXT, &TEXT, 0.25));
    assert_near(&Sampler::new(&pair).with_text(&TEXT).offset(), &files.expected(&TEXT, &TEXT, 1.0));
}

impl Sampler {
    fn with_text(self, text: &[i32]) -> Self {
        self.feed(PT_BOTH, text);
        self
    }
}

/// The row as it was, the reason in words, and no recovery but by reset.
#[track_caller]
fn assert_failed(stage: &Sampler, reason: &str) {
    let mut row = Candidates::zeros();
    for _ in 0..2 {
        stage.apply(&mut row);
        assert_eq!(row.logits(), [0.0; N_VOCAB]);
        assert_eq!(stage.status(), PT_ERROR_STAGE);
        assert!(words().contains(reason), "{}", words());
    }
}

#[test]
fn a_failure_leaves_the_row_and_stays_until_reset() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.accept(&vec![5; 300]);
    assert_eq!(stage.status(), 0, "nobody has asked for a row yet");
    assert_failed(&stage, "full");
    stage.accept(&[1]);
    assert_eq!(stage.rollback(100), PT_ERROR_STAGE);
    assert_failed(&stage, "full");
    stage.reset();
    stage.accept(&TEXT);
    assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT, 1.0));

    // Tokens that are none show where a row is needed behind them.
    for token in [-1, N_VOCAB as i32, i32::MIN, i32::MAX] {
        stage.accept(&[token]);
        assert_eq!(stage.status(), 0);
        assert_failed(&stage, "lacks");
        stage.reset();
        stage.accept(&TEXT);
    }
    stage.accept(&[-7]);
    assert_eq!(stage.rollback(1), 0);
    assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT, 1.0));
}

#[test]
fn a_text_may_fill_the_context_to_its_last_place() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.feed(PT_BOTH, &[5; 255]);
    stage.offset();
    stage.accept(&[6]);
    stage.offset();
    stage.accept(&[7]);
    assert_failed(&stage, "full");
}

#[test]
fn damaged_weights_are_named_by_role() {
    let files = Files::new();
    let damaged = crate::gguf::Spec { seed: 3, first_output_weight: Some(f32::NAN), ..crate::gguf::Spec::tiny() };
    files.write("antiexpert", &damaged);
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    stage.accept(&TEXT);
    assert_failed(&stage, "antiexpert: the logit of token");
}

#[test]
fn two_threads_at_once_are_a_failure_and_no_race() {
    let files = Files::new();
    let pair = files.pair();
    let stage = Sampler::new(&pair);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..200 {
                    stage.accept(&[i]);
                    stage.apply(&mut Candidates::zeros());
                    assert!([0, PT_ERROR_STAGE, PT_ERROR_BUSY].contains(&stage.status()));
                    stage.reset();
                    drop(stage.copy());
                }
            });
        }
    });
    stage.reset();
    stage.accept(&TEXT);
    assert_near(&stage.offset(), &files.expected(&TEXT, &TEXT, 1.0));
}
