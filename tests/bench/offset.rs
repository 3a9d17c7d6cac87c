//! Is the offset added near memory speed? The stage's kernel against a plain copy, in turns, on vocabularies of today.
//!
//! The copy moves 24 bytes an entry: 12 are read and 12 are written, which is what the formula needs to read (a logit of
//! base, expert and antiexpert) and to write (a candidate). Where the stage comes first, as it does unless it is placed,
//! a chain makes its candidates with the offset added. Elsewhere the kernel works in place on candidates that other
//! samplers have seen: it reads the candidate where the formula reads the base's logit, and it looks at everything before
//! it changes anything.
//!
//!     make bench

use std::hint::black_box;
use std::time::Instant;

use llama_cpp_sys_2::llama_token_data;
use proxytune::arithmetic::offset::{Term, add_by_id, compose};

mod measured;

use measured::print;

const N_TURNS: usize = 1000;
const N_WARM_UP: usize = 100;

fn main() {
    for n_vocab in [128_256, 262_144] {
        println!("vocabulary of {n_vocab}");
        measure(n_vocab);
    }
}

fn measure(n_vocab: usize) {
    let row = |seed: u32| -> Vec<f32> {
        let number = |i| (u32::wrapping_mul(i, 2_654_435_761).wrapping_add(seed) >> 8) as f32 / (1 << 24) as f32;
        (0..n_vocab as u32).map(number).collect()
    };
    let (base, expert, antiexpert) = (row(1), row(2 << 28), row(3 << 28));
    let fill = |candidates: &mut Vec<llama_token_data>| {
        candidates.clear();
        candidates.extend(base.iter().zip(0..).map(|(&logit, id)| llama_token_data { id, logit, p: 0.0 }));
    };
    let terms = [Term::pair(1.0, Some(expert[..].into()), Some(antiexpert[..].into()))];
    let (mut candidates, mut copy) = (Vec::new(), Vec::new());
    fill(&mut candidates);
    fill(&mut copy);
    let source = candidates.clone();
    let mut composed = Vec::with_capacity(n_vocab);
    let mut times = [const { Vec::new() }; 5];
    for turn in 0..N_WARM_UP + N_TURNS {
        let began = Instant::now();
        copy.copy_from_slice(black_box(&source));
        black_box(&mut copy);
        let copied = began.elapsed().as_secs_f64();
        // The offset adds up otherwise.
        fill(&mut candidates);
        let began = Instant::now();
        add_by_id(black_box(&mut candidates), black_box(&terms)).expect("finite rows");
        black_box(&mut candidates);
        let added = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let entry = |id, logit| llama_token_data { id: id as i32, logit, p: 0.0 };
        let done = compose(black_box(&base), black_box(&terms), &mut composed, entry);
        assert_eq!(done, Some(Ok(())));
        black_box(&mut composed);
        let made = began.elapsed().as_secs_f64();
        if turn >= N_WARM_UP {
            let numbers = [copied * 1e6, made * 1e6, added * 1e6, made / copied, added / copied];
            times.iter_mut().zip(numbers).for_each(|(times, number)| times.push(number));
        }
    }
    let names = [
        "copy of 24 bytes an entry, µs",
        "candidates with the offset added, µs",
        "offset added in place, µs",
        "candidates with the offset / copy",
        "offset in place / copy",
    ];
    times.iter_mut().zip(names).for_each(|(times, name)| print(name, times));
}
