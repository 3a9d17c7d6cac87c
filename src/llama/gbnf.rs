//! GBNF as llama.cpp reads it, far enough to tell what would run its parser or its matcher out of memory, stack or time.
//!
//! llama.cpp follows the first elements of rules to find out what may come next: through a rule's alternatives, and past
//! elements that may be empty. Four things there have no bound, and are refused here:
//! - a rule that leads back to itself before anything is matched, with something behind it: every round adds to the stack;
//! - rules that lead to the same rules on many ways: the check for left recursion walks every way;
//! - many characters that may come next at once: each of them is tried on every token;
//! - repetitions that are unfolded into more rules than there is memory for.

mod graph;
mod reader;
#[cfg(test)]
mod tests;

pub use reader::MAX_DEPTH;

/// Why a grammar is refused, to be put behind "the grammar is not valid: ".
pub fn check(grammar: &str) -> Result<(), String> {
    graph::Graph::of(&reader::rules(grammar)?).check()
}
