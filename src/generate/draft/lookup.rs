//! Prompt lookup: a text that repeats itself goes on as it did before.

use crate::llama::Token;

/// The shortest end of the text that counts as found again, and the longest that is told apart.
const SHORTEST: usize = 2;
pub(super) const LONGEST: usize = 8;

/// Puts up to `n` drafts into `drafts`: what followed where the text's end stood the last time, the longest end that
/// is found. How long that was, 0 for nothing found. Drafts go on into themselves where a text runs in a circle.
pub(super) fn look_up(text: &[Token], n: usize, drafts: &mut Vec<Token>) -> usize {
    drafts.clear();
    let Some((&last, front)) = text.split_last() else { return 0 };
    let same_before = |end: usize| {
        let pairs = front[..end].iter().rev().zip(front.iter().rev());
        1 + pairs.take(LONGEST - 1).take_while(|(a, b)| a == b).count()
    };
    let mut best = (SHORTEST - 1, 0);
    for at in (0..front.len()).rev().filter(|&at| front[at] == last) {
        let length = same_before(at);
        if length > best.0 {
            best = (length, at + 1);
        }
        if length == LONGEST {
            break;
        }
    }
    let (length, from) = best;
    if from == 0 {
        return 0;
    }
    for i in from..from + n {
        let draft = text.get(i).copied().unwrap_or_else(|| drafts[i - text.len()]);
        drafts.push(draft);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[Token], n: usize) -> (usize, Vec<Token>) {
        let mut drafts = Vec::new();
        let length = look_up(text, n, &mut drafts);
        (length, drafts)
    }

    #[test]
    fn what_followed_last_time() {
        assert_eq!(found(&[1, 2, 3, 4, 9, 2, 3], 2), (2, vec![4, 9]));
        assert_eq!(found(&[2, 3, 7, 2, 3, 8, 2, 3], 1), (2, vec![8]), "the last of equals");
        assert_eq!(found(&[1, 2, 3, 7, 2, 3, 8, 1, 2, 3], 1), (3, vec![7]), "the longest");
    }

    #[test]
    fn nothing_to_find() {
        for text in [&[][..], &[1], &[1, 2, 3], &[5, 1, 2, 1]] {
            assert_eq!(found(text, 4), (0, vec![]), "{text:?}");
        }
    }

    #[test]
    fn a_circle_goes_on() {
        assert_eq!(found(&[7, 1, 2, 1, 2], 5), (2, vec![1, 2, 1, 2, 1]));
        assert_eq!(found(&[4; 12], 3), (LONGEST, vec![4; 3]));
    }
}
