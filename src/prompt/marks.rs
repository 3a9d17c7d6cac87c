//! Marks around messages, by which their text is found again in what a template made of it.
//!
//! The marks are noncharacters (U+FDD0 to U+FDEF, which Unicode keeps out of interchange) and carry the message's
//! number. They stand inside the outer white space, so that a template trims the marked text as it would the plain one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const RESERVED: RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// A mark is one of these, digits, and [`END`].
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';
const END: char = '\u{fdd2}';
const DIGIT_0: u32 = 0xfde0;
const RADIX: usize = 16;

/// Whether a character is kept for marks.
pub(super) fn is_reserved(c: char) -> bool {
    RESERVED.contains(&c)
}

/// The first character of a text that is kept for marks.
pub(super) fn reserved(text: &str) -> Option<char> {
    text.chars().find(|&c| is_reserved(c))
}

/// A text with its marks taken out.
pub(super) fn bare(text: &str) -> String {
    text.chars().filter(|&c| !is_reserved(c)).collect()
}

/// How many characters [`bare`] leaves.
pub(super) fn bare_len(text: &str) -> usize {
    text.chars().filter(|&c| !is_reserved(c)).count()
}

/// Whether [`bare`] would change the text.
pub(super) fn is_marked(text: &str) -> bool {
    reserved(text).is_some()
}

/// White space, the text proper, white space.
pub(super) fn outer(text: &str) -> (&str, &str, &str) {
    let inner = text.trim();
    let start = text.len() - text.trim_start().len();
    (&text[..start], inner, &text[start + inner.len()..])
}

/// The text of message `index` within marks; a blank one has none.
pub(super) fn marked(index: usize, text: &str) -> String {
    let (before, inner, after) = outer(text);
    if inner.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 32);
    out.push_str(before);
    push_mark(&mut out, OPEN, index);
    out.push_str(inner);
    push_mark(&mut out, CLOSE, index);
    out.push_str(after);
    out
}

/// The characters of a text without its marks, each with the number of the message that it is of.
fn owned(text: &str) -> Vec<(char, Option<usize>)> {
    let mut chars = Vec::new();
    let (mut owner, mut from) = (None, 0);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let Some((kind, index, end)) = read_mark(text, at) else {
            chars.push((c, owner));
            at += c.len_utf8();
            continue;
        };
        if kind == CLOSE {
            // Its partner may be gone.
            chars[from..].iter_mut().for_each(|(_, owner)| *owner = Some(index));
        }
        owner = (kind == OPEN).then_some(index);
        (from, at) = (chars.len(), end);
    }
    chars
}

/// The characters at some places of the text without its marks, marked as they were.
pub(super) fn picked(text: &str, places: impl FnOnce(usize) -> Vec<usize>) -> String {
    let chars = owned(text);
    let picked: Vec<_> = places(chars.len()).into_iter().filter_map(|n| chars.get(n)).collect();
    let mut out = String::new();
    for run in picked.chunk_by(|(_, a), (_, b)| a == b) {
        let text: String = run.iter().map(|(c, _)| c).collect();
        match run[0].1 {
            Some(index) => out.push_str(&marked(index, &text)),
            None => out.push_str(&text),
        }
    }
    out
}

fn push_mark(out: &mut String, kind: char, mut index: usize) {
    out.push(kind);
    while index > 0 {
        out.extend(char::from_u32(DIGIT_0 + (index % RADIX) as u32));
        index /= RADIX;
    }
    out.push(END);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span<'a> {
    Template(&'a str),
    Marked { index: usize, text: &'a str },
}

/// The messages whose marks came out without their partners.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Broken {
    pub messages: BTreeSet<usize>,
    /// A piece of a mark of which nobody can tell whose it was.
    pub stray: bool,
}

/// Splits what a template wrote at the marks of `n_messages`. `answer` has the text of a message that a template may
/// cut: where one of its marks is missing, what is left of it is found from the other one.
pub(super) fn split<'a, 'b>(
    text: &'a str,
    n_messages: usize,
    answer: impl Fn(usize) -> Option<&'b str>,
) -> Result<Vec<Span<'a>>, Broken> {
    let mut spans = Vec::new();
    let mut broken = Broken::default();
    let mut open = None;
    // Where what was not given out yet begins: behind the last mark.
    let mut from = 0;
    let mut at = 0;
    // A message that opened and did not close.
    let cut_behind = |spans: &mut Vec<_>, broken: &mut Broken, index: usize, from: &mut usize, end: usize| {
        let rest = &text[*from..end];
        let Some(answer) = answer(index) else {
            broken.messages.insert(index);
            return;
        };
        let n: usize = rest.chars().zip(answer.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum();
        spans.push(Span::Marked { index, text: &rest[..n] });
        *from += n;
    };
    while let Some(offset) = text[at..].find(is_reserved) {
        let start = at + offset;
        let Some((kind, index, end)) = read_mark(text, start).filter(|&(_, index, _)| index < n_messages) else {
            broken.stray = true;
            at = start + OPEN.len_utf8();
            continue;
        };
        if let Some(other) = open.take_if(|other| kind == OPEN || *other != index) {
            cut_behind(&mut spans, &mut broken, other, &mut from, start);
        }
        let before = &text[from..start];
        match (kind, open.take()) {
            (OPEN, _) => {
                spans.push(Span::Template(before));
                open = Some(index);
            }
            (_, Some(_)) => spans.push(Span::Marked { index, text: before }),
            (_, None) => {
                let pairs = |answer: &'b str| before.chars().rev().zip(answer.chars().rev());
                let n: Option<usize> = answer(index)
                    .map(|answer| pairs(answer).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum());
                if n.is_none() {
                    broken.messages.insert(index);
                }
                let (template, left) = before.split_at(before.len() - n.unwrap_or(0));
                spans.extend([Span::Template(template), Span::Marked { index, text: left }]);
            }
        }
        from = end;
        at = end;
    }
    if let Some(other) = open {
        cut_behind(&mut spans, &mut broken, other, &mut from, text.len());
    }
    spans.push(Span::Template(&text[from..]));
    if broken == Broken::default() { Ok(spans) } else { Err(broken) }
}

/// The mark that begins at `start`: its kind, the message's number, where it ends.
fn read_mark(text: &str, start: usize) -> Option<(char, usize, usize)> {
    let mut chars = text[start..].char_indices();
    let (_, kind) = chars.next().filter(|&(_, c)| c == OPEN || c == CLOSE)?;
    let mut index = 0_usize;
    let mut place = 1_usize;
    for (offset, c) in chars {
        if c == END {
            return Some((kind, index, start + offset + END.len_utf8()));
        }
        let digit = u32::from(c).checked_sub(DIGIT_0).filter(|&digit| digit < RADIX as u32)?;
        index = index.checked_add(place.checked_mul(digit as usize)?)?;
        place = place.checked_mul(RADIX)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_stand_inside_the_white_space() {
        let text = marked(300, " \n hello  ");
        assert_eq!(bare(&text), " \n hello  ");
        assert_eq!(bare(text.trim()), "hello");
        assert_eq!(marked(3, " \n"), " \n");
    }

    #[test]
    fn partners_that_are_missing_are_named() {
        let (one, two) = (marked(1, "one"), marked(17, "two"));
        let cut = one.split_once('n').expect("there").1;
        let broken = |messages: &[usize], stray| Err(Broken { messages: messages.iter().copied().collect(), stray });
        let split = |text: &str, n| split(text, n, |_| None).map(|spans| spans.len());
        assert_eq!(split(&format!("{cut}{two}"), 20), broken(&[1], false));
        assert_eq!(split(&format!("{two}{}", &one[..10]), 20), broken(&[1], false));
        assert_eq!(split(&format!("{}{two}", &one[..10]), 20), broken(&[1], false));
        assert_eq!(split(&two, 17), broken(&[], true));
        assert_eq!(split(&one[OPEN.len_utf8()..], 20), broken(&[1], true));
    }

    #[test]
    fn what_is_left_of_a_cut_answer_is_found_from_its_other_mark() {
        let answer = |index| (index == 1).then_some("one two");
        let whole = marked(1, "one two");
        let (open, close) = (whole.split_once("one").expect("there").0, whole.split_once("two").expect("there").1);
        let marked = |text| Span::Marked { index: 1, text };
        let found = |text: &str| format!("{:?}", split(text, 20, answer).expect("it is found"));
        let expected = |spans: &[Span]| format!("{:?}", spans.to_vec());
        let tail = [Span::Template("<s>"), marked(" two"), Span::Template("</s>")];
        assert_eq!(found(&format!("<s> two{close}</s>")), expected(&tail));
        let head = [Span::Template("<s>"), marked("one"), Span::Template("</s>")];
        assert_eq!(found(&format!("<s>{open}one</s>")), expected(&head));
    }

    #[test]
    fn what_is_picked_stays_marked() {
        let text = format!("<{}>{}", marked(7, "one two"), marked(1, "x"));
        let pick = |range: std::ops::Range<usize>| picked(&text, |_| range.collect());
        assert_eq!(pick(0..10), text);
        assert_eq!(pick(1..5), format!("{} ", marked(7, "one")));
        assert_eq!(pick(7..20), format!("{}>{}", marked(7, "o"), marked(1, "x")));
        assert_eq!(picked("abc", |n| (0..n).rev().collect()), "cba");
        let tail = text.split_once(' ').expect("there").1;
        assert_eq!(picked(tail, |n| (1..n).collect()), format!("{}>{}", marked(7, "wo"), marked(1, "x")));
    }

    proptest! {
        #[test]
        fn what_is_marked_is_found(texts in prop::collection::vec(("[a-z<|>\u{e9}]{0,4}", "[a-z<|>\u{e9}]{1,6}", 0_usize..5000), 0..6),
                                   tail in "[a-z]{0,3}") {
            let mut out = String::new();
            for (before, text, index) in &texts {
                out.extend([before.as_str(), &marked(*index, text)]);
            }
            let mut expected: Vec<_> = texts.iter()
                .flat_map(|(before, text, index)| [Span::Template(before), Span::Marked { index: *index, text }]).collect();
            expected.push(Span::Template(&tail));
            out.push_str(&tail);
            prop_assert_eq!(split(&out, 5000, |_| None), Ok(expected));
        }
    }
}
