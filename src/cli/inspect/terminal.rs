//! What was found, for a terminal: the text with its colours, the tokens that were moved furthest, and the sums.

use std::io::{Result, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::super::terminal::{has_colour, shown};
use super::found::{Found, N_MOVED, SHADES, percent, shade};
use crate::arithmetic::logprobs::Standing;
use crate::eval::influence::{Influence, Moved};
use crate::plain::plain;

const PLAIN: &str = "\x1b[0m";
const UNDERLINED: &str = "\x1b[4m";
/// Backgrounds from pale to strong, with black upon them: to be read on a light terminal and on a dark one.
const BACKGROUNDS: [&str; SHADES.len() + 1] =
    ["", "\x1b[30;48;5;230m", "\x1b[30;48;5;223m", "\x1b[30;48;5;221m", "\x1b[30;48;5;214m"];
/// Characters of a text that are shown in front of a token and behind it.
const N_AROUND: usize = 24;

impl Found {
    /// The text: a token is shaded by its divergence, and underlined where steering changed the top token.
    pub fn print_text(&self, tokens: &[Influence], out: &mut impl Write) -> Result<()> {
        let spelled = self.spelled(tokens);
        if !has_colour() {
            return writeln!(out, "{}", shown(spelled.concat().trim_end_matches('\n')));
        }
        // A character that several tokens share has the strongest of their colours.
        let (mut strongest, mut is_changed) = (0, false);
        for (token, text) in tokens.iter().zip(&spelled) {
            strongest = strongest.max(shade(token.divergence));
            is_changed |= token.is_changed();
            if !text.is_empty() {
                let style = format!("{}{}", BACKGROUNDS[strongest], if is_changed { UNDERLINED } else { "" });
                write!(out, "{}", painted(&shown(text), &style))?;
                (strongest, is_changed) = (0, false);
            }
        }
        let bounds = SHADES.iter().zip(&BACKGROUNDS[1..]).map(|(bound, style)| format!("{style} {bound} {PLAIN}"));
        let bounds: Vec<_> = bounds.collect();
        writeln!(
            out,
            "\n\nshaded by KL(steered ‖ base) from {} nats on; {UNDERLINED}underlined{PLAIN} where steering changed the top token",
            bounds.join(" ")
        )
    }

    /// At how many positions steering changed the top token, and how far it moved the probabilities.
    pub fn print_summary(&self, out: &mut impl Write) -> Result<()> {
        let found = &self.influences;
        let (n, share, kl) = (found.tokens.len(), 100.0 * found.changed.mean(), &found.divergence);
        let error = kl.standard_error();
        let error = if error.is_nan() { String::new() } else { format!(" ± {error:.3}") };
        let weights = if self.weights.is_empty() { String::new() } else { format!(" ({})", self.weights) };
        writeln!(
            out,
            "Steering{weights} changed the top token at {} of {n} positions ({share:.0} %); KL(steered ‖ base) is {:.3}{error} nats \
             on average.",
            found.n_changed(),
            kl.mean()
        )
    }

    /// A row for each of the `n` tokens that steering moved furthest; `has_texts`: with where they stand.
    pub fn print_strongest(&self, n: usize, has_texts: bool, out: &mut impl Write) -> Result<()> {
        let places = self.influences.strongest(n);
        if places.is_empty() {
            return Ok(());
        }
        let sides = self.sides.iter().map(|(name, _)| name.as_str());
        let mut header = vec![if has_texts { "text:token" } else { "token" }, "written", "base"];
        header.extend(sides.chain(["steered", "ranks", "KL", "base's top", "base", "steered"]));
        if has_texts {
            header.push("where");
        }
        let n_left = usize::from(has_texts);
        let is_text = |i: usize| i == 1 || i + n_left == header.len() - 3 || has_texts && i == header.len() - 1;
        let mut table = table(&header, is_text);
        for place in places {
            let token = &self.influences.tokens[place];
            let at = token.position + 1;
            let share = |standing: Option<Standing>| standing.map_or("–".to_owned(), |it| percent(it.logprob));
            let rank = |standing: Option<Standing>| standing.map_or("–".to_owned(), |it| it.rank.to_string());
            let mut row = vec![if has_texts { format!("{}:{at}", token.text + 1) } else { at.to_string() }];
            row.push(quoted(&self.name(token.token)));
            row.extend(self.standings(token).map(|(_, standing)| share(standing)));
            let base = token.lanes.first().copied().flatten();
            row.push(format!("{} → {}", rank(base), rank(Some(token.steered))));
            row.push(format!("{:.2}", token.divergence));
            let top = token.base_top;
            row.extend([quoted(&self.name(top.token)), percent(top.base), percent(top.steered)]);
            if has_texts {
                row.push(self.around(place));
            }
            table.add_row(row);
        }
        writeln!(out, "\nThe tokens that steering moved furthest:\n{table}")
    }

    /// A token in its text, between its neighbours.
    fn around(&self, place: usize) -> String {
        let tokens = &self.influences.tokens;
        let text = tokens[place].text;
        // A token has hardly more characters than bytes, and most have several.
        let first = tokens[..place].iter().rposition(|token| token.text != text).map_or(0, |at| at + 1);
        let first = first.max(place.saturating_sub(N_AROUND));
        let last = tokens[place..].iter().take(N_AROUND).take_while(|token| token.text == text).count() + place;
        let spelled = self.spelled(&tokens[first..last]);
        let (before, behind) = spelled.split_at(place - first);
        let (before, behind) = (before.concat(), behind[1..].concat());
        let n_before = before.chars().count().saturating_sub(N_AROUND);
        let before: String = before.chars().skip(n_before).collect();
        let behind: String = behind.chars().take(N_AROUND).collect();
        let line = format!("{before}[{}]{behind}", spelled[place - first]);
        plain(&line.replace('\n', "⏎").replace('\t', "⇥"))
    }

    /// The tokens that steering made more probable, and those that it made less probable.
    pub fn print_moved(&self, out: &mut impl Write) -> Result<()> {
        let (promoted, demoted) = (self.influences.promoted(N_MOVED), self.influences.demoted(N_MOVED));
        if promoted.is_empty() {
            return Ok(());
        }
        let header = ["promoted", "sum", "written", "demoted", "sum", "written"];
        let mut table = table(&header, |i| i == 0 || i == 3);
        let cells = |moved: Option<&Moved>| match moved {
            Some(Moved { token, sum, n_written }) => {
                [quoted(&self.name(*token)), format!("{sum:+.2}"), format!("{n_written} ×")]
            }
            None => [const { String::new() }; 3],
        };
        for i in 0..promoted.len().max(demoted.len()) {
            table.add_row([cells(promoted.get(i)), cells(demoted.get(i))].concat());
        }
        writeln!(
            out,
            "\nProbability that tokens gained and lost, summed over all positions, and how often each was written:\n{table}"
        )
    }
}

/// Text in a style that ends with each of its lines: a background would go on to the border of the terminal.
fn painted(text: &str, style: &str) -> String {
    if style.is_empty() {
        return text.to_owned();
    }
    let lines =
        text.split('\n').map(|line| if line.is_empty() { String::new() } else { format!("{style}{line}{PLAIN}") });
    lines.collect::<Vec<_>>().join("\n")
}

/// A token with its spaces and line breaks to be seen.
fn quoted(piece: &str) -> String {
    plain(&format!("{piece:?}"))
}

fn table(header: &[&str], is_text: impl Fn(usize) -> bool) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header.to_vec());
    for i in (0..header.len()).filter(|&i| !is_text(i)) {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_ends_with_its_line() {
        assert_eq!(painted(" a\n\nb", "<"), "< a\x1b[0m\n\n<b\x1b[0m");
        assert_eq!((painted("a\n", ""), painted("\n", "<")), ("a\n".to_owned(), "\n".to_owned()));
    }

    #[test]
    fn tokens_are_quoted_without_what_acts_on_a_terminal() {
        assert_eq!(quoted(" a\n\u{1b}[2J\u{202e}"), "\" a\\n\\u{1b}[2J\\u{202e}\"");
    }
}
