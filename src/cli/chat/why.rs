//! What the stage changed in an answer.

use std::io::Write;

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::super::terminal::{has_colour, shown};
use crate::generate::probs::{Logprob, Position};
use crate::plain::plain;
use crate::steer::Role;

const CHANGED: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Prints the answer with what was changed in colour, and a row for each such token: what was written and the
/// base's top token, each with its probability to the base and steered.
pub fn print(positions: &[Position], out: &mut impl Write) -> Result<()> {
    // What was drawn against the odds is chance, and not steering.
    let is_changed = |position: &Position| position.changed && position.chosen.id != position.base_top.id;
    let changed = || positions.iter().enumerate().filter(|(_, position)| is_changed(position));
    let n_changed = changed().count();
    if has_colour() {
        // Tokens that spell a character together are coloured together.
        let (mut bytes, mut is_any) = (Vec::new(), false);
        for position in positions {
            bytes.extend_from_slice(&position.chosen.bytes);
            is_any |= is_changed(position);
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let (style, end) = if is_any { (CHANGED, PLAIN) } else { ("", "") };
                write!(out, "{style}{}{end}", shown(text))?;
                (bytes, is_any) = (Vec::new(), false);
            }
        }
        writeln!(out, "{}\n", shown(&String::from_utf8_lossy(&bytes)))?;
    }
    let n = if n_changed == 0 { "none".to_owned() } else { n_changed.to_string() };
    writeln!(out, "Steering changed the top token at {n} of {} positions.", positions.len())?;
    if n_changed == 0 {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    let n_pairs = positions.iter().map(|position| position.chosen.pairs.len()).max().unwrap_or(0);
    let sides = (0..n_pairs).flat_map(|i| [Role::Expert(i), Role::Antiexpert(i)]).map(|role| role.to_string());
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mut header = texts(&["token", "written", "base", "steered"]);
    header.extend(sides);
    header.extend(texts(&["base's top", "base", "steered"]));
    let n_columns = header.len();
    table.set_header(header);
    let percent = |logprob: f64| format!("{:.1} %", logprob.exp() * 100.0);
    let composed = |entry: &Logprob| percent(entry.composed.unwrap_or(f64::NEG_INFINITY));
    let side = |logprob: Option<f64>| logprob.map_or("–".to_owned(), percent);
    let piece = |entry: &Logprob| plain(&format!("{:?}", entry.piece()));
    for (i, Position { chosen, base_top, .. }) in changed() {
        let mut row = vec![(i + 1).to_string(), piece(chosen), percent(chosen.base), composed(chosen)];
        row.extend(chosen.pairs.iter().flat_map(|pair| [side(pair.expert), side(pair.antiexpert)]));
        row.extend([piece(base_top), percent(base_top.base), composed(base_top)]);
        table.add_row(row);
    }
    // Numbers, but for the two tokens.
    for i in (0..n_columns).filter(|&i| i != 1 && i != n_columns - 3) {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}
