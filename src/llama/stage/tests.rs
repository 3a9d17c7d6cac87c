//! The stage through llama.cpp's own functions, on four tokens.

use super::*;

const BASE: [f32; 4] = [0.0, 1.0, 2.0, 3.0];
const EXPERT: [f32; 4] = [4.0, 0.0, -1.0, 1.0];
const ANTIEXPERT: [f32; 4] = [1.0, 1.0, 1.0, 1.0];
/// BASE + 1·(EXPERT − ANTIEXPERT)
const STEERED: [f32; 4] = [3.0, 0.0, 0.0, 3.0];

fn terms() -> [Term<'static>; 1] {
    [Term::pair(1.0, Some(EXPERT[..].into()), Some(ANTIEXPERT[..].into()))]
}

/// A sampler that is freed at the end of its test.
struct Owned(NonNull<sys::llama_sampler>);

impl Owned {
    fn new(raw: *mut sys::llama_sampler) -> Self {
        Self(NonNull::new(raw).expect("a sampler"))
    }

    fn stage() -> Self {
        Self(Stage::create(0.0))
    }

    fn chain(samplers: impl IntoIterator<Item = *mut sys::llama_sampler>) -> Self {
        // SAFETY: each sampler is handed to the chain, which frees it.
        unsafe {
            let chain = Self::new(sys::llama_sampler_chain_init(sys::llama_sampler_chain_default_params()));
            samplers.into_iter().for_each(|sampler| sys::llama_sampler_chain_add(chain.0.as_ptr(), sampler));
            chain
        }
    }

    fn as_stage(&self) -> Stage {
        // SAFETY: the sampler lives as long as the test.
        unsafe { Stage::of(self.0) }.expect("a stage")
    }

    /// The stage among a chain's samplers.
    fn stage_of_chain(&self) -> Stage {
        // SAFETY: the chain owns what it returns.
        unsafe {
            (0..sys::llama_sampler_chain_n(self.0.as_ptr()))
                .filter_map(|i| NonNull::new(sys::llama_sampler_chain_get(self.0.as_ptr(), i)))
                .find_map(|sampler| Stage::of(sampler))
        }
        .expect("a stage in the chain")
    }

    /// Applies to a fresh row; the candidates that are left, with the id that was selected.
    fn apply(&self, row: &[f32]) -> (Vec<(i32, f32)>, Option<i32>) {
        let mut data: Vec<_> =
            row.iter().zip(0..).map(|(&logit, id)| sys::llama_token_data { id, logit, p: 0.0 }).collect();
        let mut array =
            sys::llama_token_data_array { data: data.as_mut_ptr(), size: data.len(), selected: -1, sorted: false };
        // SAFETY: sampler and array are valid.
        let left = unsafe {
            sys::llama_sampler_apply(self.0.as_ptr(), &raw mut array);
            std::slice::from_raw_parts(array.data, array.size)
        };
        let selected = usize::try_from(array.selected).ok().map(|i| left[i].id);
        (left.iter().map(|candidate| (candidate.id, candidate.logit)).collect(), selected)
    }

    fn logits(&self, row: &[f32]) -> Vec<f32> {
        self.apply(row).0.into_iter().map(|(_, logit)| logit).collect()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the sampler is ours.
        unsafe { sys::llama_sampler_free(self.0.as_ptr()) };
    }
}

#[test]
fn the_table_is_padded_with_null() {
    assert_eq!(size_of::<Table>(), 32 * size_of::<usize>());
    let iface = &TABLE.iface;
    assert!(iface.backend_init.is_none() && iface.backend_accept.is_none() && iface.backend_apply.is_none());
    assert!(iface.backend_set_input.is_none() && iface.backend_reset.is_none() && iface.copy_state.is_none());
    assert!(TABLE.later.iter().all(|&slot| slot == 0));
}

#[test]
fn it_has_a_name() {
    let stage = Owned::stage();
    // SAFETY: the sampler is valid.
    let name = unsafe { std::ffi::CStr::from_ptr(sys::llama_sampler_name(stage.0.as_ptr())) };
    assert_eq!(name, NAME);
}

#[test]
fn two_fresh_copies_of_a_row_give_the_same() {
    let (stage, terms) = (Owned::stage(), terms());
    let _lent = stage.as_stage().lend(&terms);
    assert_eq!(stage.logits(&BASE), STEERED);
    assert_eq!(stage.logits(&BASE), STEERED);
    assert_eq!(stage.as_stage().failure(), None);
}

#[test]
fn without_rows_it_fails_until_reset_and_leaves_the_row() {
    let (stage, terms) = (Owned::stage(), terms());
    drop(stage.as_stage().lend(&terms));
    assert_eq!(stage.logits(&BASE), BASE);
    assert_eq!(stage.as_stage().failure(), Some(Failure::NoRows));
    {
        let _lent = stage.as_stage().lend(&terms);
        stage.logits(&BASE);
        assert_eq!(stage.as_stage().failure(), Some(Failure::NoRows), "a failure is sticky");
    }
    // SAFETY: the sampler is valid.
    unsafe { sys::llama_sampler_reset(stage.0.as_ptr()) };
    assert_eq!(stage.as_stage().failure(), None);
    let _lent = stage.as_stage().lend(&terms);
    assert_eq!(stage.logits(&BASE), STEERED);
}

#[test]
fn a_damaged_row_never_gets_into_the_candidates() {
    let stage = Owned::stage();
    let damaged = [4.0, f32::NAN, -1.0, 1.0];
    let terms = [Term::pair(1.0, Some(damaged[..].into()), Some(ANTIEXPERT[..].into()))];
    let _lent = stage.as_stage().lend(&terms);
    assert_eq!(stage.logits(&BASE), BASE);
    assert_eq!(stage.as_stage().failure(), Some(Failure::NotFinite { id: 1 }));
}

#[test]
fn a_clone_outlives_its_origin_and_has_no_rows_of_it() {
    let (stage, terms) = (Owned::stage(), terms());
    let lent = stage.as_stage().lend(&terms);
    // SAFETY: the sampler is valid.
    let copy = Owned::new(unsafe { sys::llama_sampler_clone(stage.0.as_ptr()) });
    drop(lent);
    drop(stage);
    assert_eq!(copy.logits(&BASE), BASE);
    assert_eq!(copy.as_stage().failure(), Some(Failure::NoRows));
}

#[test]
fn llama_sampler_copy_gives_a_working_stage() {
    let (origin, copy, terms) = (Owned::stage(), Owned::stage(), terms());
    // SAFETY: both samplers are valid and of one kind.
    unsafe { sys::llama_sampler_copy(origin.0.as_ptr(), copy.0.as_ptr()) };
    drop(origin);
    let _lent = copy.as_stage().lend(&terms);
    assert_eq!(copy.logits(&BASE), STEERED);
}

#[test]
fn before_between_and_after_stock_samplers() {
    let terms = terms();
    let top_k = |k| {
        // SAFETY: takes a number.
        unsafe { sys::llama_sampler_init_top_k(k) }
    };
    let stage = || Stage::create(0.0).as_ptr();
    // SAFETY: takes a number.
    let temp = || unsafe { sys::llama_sampler_init_temp(0.5) };
    let cases = [
        // The best two of the steered row.
        (vec![stage(), top_k(2)], vec![(0, 3.0), (3, 3.0)]),
        // The base's best two, then steered by id: 3 + 0 and 2 − 2.
        (vec![top_k(2), stage()], vec![(3, 3.0), (2, 0.0)]),
        // Sorted by the base, steered, and sorted anew: the stage clears `sorted`.
        (vec![top_k(4), stage(), top_k(1)], vec![(3, 3.0)]),
        (vec![top_k(3), stage(), temp()], vec![(3, 6.0), (2, 0.0), (1, 0.0)]),
    ];
    for (samplers, expected) in cases {
        let chain = Owned::chain(samplers);
        let _lent = chain.stage_of_chain().lend(&terms);
        let (mut left, _) = chain.apply(&BASE);
        if expected[0].1 == expected[1 % expected.len()].1 {
            left.sort_by_key(|&(id, _)| id);
        }
        assert_eq!(left, expected);
    }
}

#[test]
fn what_was_selected_before_stays_selected() {
    // SAFETY: takes nothing.
    let greedy = unsafe { sys::llama_sampler_init_greedy() };
    let chain = Owned::chain([greedy, Stage::create(0.0).as_ptr()]);
    let terms = terms();
    let _lent = chain.stage_of_chain().lend(&terms);
    assert_eq!(chain.apply(&BASE).1, Some(3));
}
