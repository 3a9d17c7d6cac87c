//! Texts to continue. How many drafts are accepted depends on the text; on random tokens it is meaningless.

/// English of several kinds.
pub const PROMPTS: [&str; 7] = [
    "Once upon a time, in a small village at the foot of a mountain, there lived an old clockmaker who",
    "The reason why the sky looks blue during the day and red in the evening is that",
    "\"Did you hear the noise last night?\" asked Anna.\n\"I did,\" said her brother. \"It came from the",
    "// Returns the position of the first byte that differs between the two slices, or None if they are equal.\n// It",
    "What to take along on a walk in the woods:\n\n1. a bottle of water\n2. a map\n3.",
    "Dear Mr. Harrison,\n\nThank you for your letter of the fourth of May. I am sorry to tell you that",
    "The meeting was called to order at nine. The first question was whether the bridge should be repaired or replaced, \
     and",
];

/// The prompts of a text: its paragraphs, or its lines where there is no empty one between them.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.trim().lines().map(str::trim_end).collect();
    let pieces: Vec<String> = if lines.contains(&"") {
        lines.split(|line| line.is_empty()).map(|lines| lines.join("\n")).collect()
    } else {
        lines.into_iter().map(str::to_owned).collect()
    };
    pieces.into_iter().filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paragraphs_else_lines() {
        assert_eq!(split("one\ntwo\n"), ["one", "two"]);
        assert_eq!(split("\none\n 1  \n \n\ntwo\n\n"), ["one\n 1", "two"]);
        assert_eq!(split(" \n\n"), [""; 0]);
    }
}
