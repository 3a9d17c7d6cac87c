//! Bytes of tokens become text for a reader: whole characters only, and nothing of a stop string.

/// Takes the bytes of one token after another and gives out what is safe to show.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    stop: Vec<Vec<u8>>,
    /// Bytes that were not given out yet.
    held: Vec<u8>,
    /// The first of them, which somebody has given out before: see [`Self::begin`].
    n_told: usize,
    /// The stop string that came, by its place.
    stopped_by: Option<usize>,
}

impl TextStream {
    /// Empty stop strings are ignored.
    #[must_use]
    pub fn new(stop: &[String]) -> Self {
        let stop = stop.iter().filter(|stop| !stop.is_empty()).map(|stop| stop.clone().into_bytes()).collect();
        Self { stop, ..Self::default() }
    }

    /// Whether no text can stop it.
    #[must_use]
    pub fn has_no_end(&self) -> bool {
        self.stop.is_empty()
    }

    /// Whether a stop string came; the text ends before it.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped_by.is_some()
    }

    /// The stop string that came: of several the earliest, of those that begin together the first.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&str> {
        self.stopped_by.and_then(|which| str::from_utf8(&self.stop[which]).ok())
    }

    /// Takes in what the text begins with, in front of everything else; gives out the whole characters of it. They count as
    /// told: what is given out later goes on behind them, and a stop string may begin in them.
    pub fn begin(&mut self, bytes: &[u8]) -> String {
        self.n_told = whole_characters(bytes);
        let told = String::from_utf8_lossy(&bytes[..self.n_told]).into_owned();
        self.push(bytes);
        told
    }

    /// Takes the bytes of a token; gives out the text that no later byte can change.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.stopped() {
            return String::new();
        }
        self.held.extend_from_slice(bytes);
        let found = self.stop.iter().enumerate().filter_map(|(which, stop)| Some((find(&self.held, stop)?, which)));
        if let Some((at, which)) = found.min() {
            self.stopped_by = Some(which);
            self.held.truncate(at);
            return self.finish();
        }
        // What may still become a stop string or a character waits.
        let n_stop = self.stop.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        self.give(whole_characters(&self.held[..self.held.len() - n_stop]))
    }

    /// Gives out so many bytes, but for those that are told already.
    fn give(&mut self, n: usize) -> String {
        let n_told = self.n_told.min(n);
        let text = String::from_utf8_lossy(&self.held[n_told..n]).into_owned();
        self.held.drain(..n);
        self.n_told -= n_told;
        text
    }

    /// Gives out what is left when no more bytes will come; a broken character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        self.give(self.held.len())
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// How many bytes at the end of `text` are the beginning of `stop`.
fn overlap(text: &[u8], stop: &[u8]) -> usize {
    (1..stop.len().min(text.len() + 1)).rev().find(|&n| text.ends_with(&stop[..n])).unwrap_or(0)
}

/// The length of `bytes` without a last character that is still incomplete.
fn whole_characters(bytes: &[u8]) -> usize {
    let mut start = 0;
    loop {
        match std::str::from_utf8(&bytes[start..]) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                None => return start + error.valid_up_to(),
                Some(n_bad) => start += error.valid_up_to() + n_bad,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(stop: &[&str], pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut text = TextStream::new(&stop.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>());
        let mut out: Vec<_> = pieces.iter().map(|piece| text.push(piece)).collect();
        out.push(text.finish());
        (out, text.stopped())
    }

    #[test]
    fn a_character_in_two_tokens_comes_whole() {
        assert_eq!(stream(&[], &[b"caf\xc3", b"\xa9!"]).0, ["caf", "é!", ""]);
        assert_eq!(stream(&[], &[b"\xf0\x9f", b"\x98", b"\x80"]).0, ["", "", "😀", ""]);
    }

    #[test]
    fn broken_bytes_are_replaced_not_held() {
        assert_eq!(stream(&[], &[b"a\xffb", b"\xe2\x82"]).0, ["a\u{fffd}b", "", "\u{fffd}"]);
    }

    #[test]
    fn a_stop_string_across_tokens_ends_the_text_before_it() {
        assert_eq!(
            stream(&["END"], &[b"one E", b"N", b"D two"]),
            (["one ", "", "", ""].map(str::to_owned).to_vec(), true)
        );
        assert_eq!(stream(&["END"], &[b"one E", b"N", b"ough"]).0, ["one ", "", "ENough", ""]);
    }

    #[test]
    fn the_stop_string_that_came_is_told() {
        let told = |stop: &[&str], text: &str| {
            let mut stream = TextStream::new(&stop.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>());
            stream.push(text.as_bytes());
            stream.stopped_by().map(str::to_owned)
        };
        assert_eq!(told(&["", "ab", "xa"], "xab").as_deref(), Some("xa"));
        assert_eq!(told(&["ab", "a"], "xab").as_deref(), Some("ab"), "of those that begin together the first");
        assert_eq!(told(&["ab", "a"], "xb"), None);
    }

    #[test]
    fn the_earliest_stop_string_wins_and_empty_ones_do_nothing() {
        assert_eq!(stream(&["b", "", "a"], &[b"xxab"]), (vec!["xx".to_owned(), String::new()], true));
    }

    #[test]
    fn a_text_that_is_begun_goes_on() {
        let on = |stop: &[&str], begun: &[u8], pieces: &[&[u8]]| {
            let mut text = TextStream::new(&stop.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>());
            let told = text.begin(begun);
            let mut out: Vec<_> = pieces.iter().map(|piece| text.push(piece)).collect();
            out.push(text.finish());
            (told, out.concat(), text.stopped())
        };
        let is = |told: &str, text: &str, stopped| (told.to_owned(), text.to_owned(), stopped);
        assert_eq!(on(&[], b"caf\xc3", &[b"\xa9", b"!"]), is("caf", "\u{e9}!", false));
        assert_eq!(on(&[], b"a\xff\xe2\x82", &[b"\xac"]), is("a\u{fffd}", "\u{20ac}", false));
        assert_eq!(on(&[], b"caf\xc3", &[]), is("caf", "\u{fffd}", false));
        assert_eq!(on(&["END"], b"one E", &[b"N", b"D two"]), is("one E", "", true));
        assert_eq!(on(&["END"], b"one EN", &[b"ough"]), is("one EN", "ough", false));
        assert_eq!(on(&["END"], b"an END", &[b" x"]), is("an END", "", true));
        assert_eq!(on(&["\u{e9}\u{e9}"], b"\xc3\xa9\xc3", &[b"\xa9", b"!"]), is("\u{e9}", "", true));
        assert_eq!(on(&["\u{e9}\u{e9}"], b"\xc3\xa9\xc3", &[b"\xa8", b"!"]), is("\u{e9}", "\u{e8}!", false));
    }

    proptest! {
        /// Wherever a text is cut in two, what is told of the halves is the text.
        #[test]
        fn a_text_that_is_begun_anywhere_is_the_same(text in "[ab\u{e9}\u{20ac}\u{1f600}]{0,12}", at in 0_usize..50,
                                                    stop in prop::option::of("[ab\u{e9}]{1,3}")) {
            let (begun, rest) = text.as_bytes().split_at(at.min(text.len()));
            let mut stream = TextStream::new(stop.as_slice());
            let told = stream.begin(begun);
            if !stream.stopped() {
                let on: String = rest.chunks(1).map(|byte| stream.push(byte)).collect();
                let all = told.clone() + &on + &stream.finish();
                let expected = stop.as_ref().and_then(|stop| text.split_once(stop.as_str())).map_or(text.as_str(), |(before, _)| before);
                // What was told before a stop string was found to begin in it stays told.
                prop_assert_eq!(all, if told.len() > expected.len() { told.as_str() } else { expected });
            }
        }

        /// However the bytes are cut into tokens, the text is the same, whole, and ends before the stop string.
        #[test]
        fn cuts_do_not_matter(text in "[ab\u{e9}\u{20ac}\u{1f600}]{0,24}", cuts in prop::collection::vec(0_usize..80, 0..12),
                              stop in prop::option::of("[ab\u{e9}]{1,3}")) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let stops: Vec<_> = stop.as_deref().into_iter().collect();
            let (out, stopped) = stream(&stops, &pieces);
            let expected = stop.as_ref().and_then(|stop| text.split_once(stop.as_str())).map_or(text.as_str(), |(before, _)| before);
            prop_assert_eq!(out.concat(), expected);
            prop_assert_eq!(stopped, stop.is_some_and(|stop| text.contains(&stop)));
        }
    }
}
