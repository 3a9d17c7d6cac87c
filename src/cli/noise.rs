//! `perplexity --quant-noise`: what rounding does to each role, and to what is added to the base.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::report::hinted;
use super::{Done, interrupt, progress, scoring};
use crate::arithmetic::statistics::GroupedMean;
use crate::eval::Texts;
use crate::eval::figures::Subject;
use crate::eval::kept;
use crate::eval::noise::{Error, Noise, Offset, Rounded, measure};
use crate::steer::Ensemble;

const NO_ROOM: &str = "TMPDIR names the folder for it, --chunks N reads less";

pub fn run(ensemble: &mut Ensemble, texts: &Texts, json: bool) -> Result<Done> {
    let store = scoring::store(kept::n_bytes(ensemble, texts.n_tokens()), NO_ROOM)?;
    let bar = progress::tokens(2 * texts.n_tokens());
    let measured = measure(ensemble, texts, store, |done, _| {
        bar.set_position(done as u64);
        !interrupt::stopped()
    });
    bar.finish_and_clear();
    let noise = measured.map_err(|error| match error.hint() {
        Some(hint) => hinted(error, hint),
        None => match error {
            Error::Kept(kept::Error::Steer(error)) => error.into(),
            other => hinted(other, NO_ROOM),
        },
    })?;
    if noise.n_tokens > 0 {
        if json { print_json(ensemble, &noise) } else { print_table(ensemble, texts, &noise) }?;
    }
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

fn name(ensemble: &Ensemble, subject: &Subject) -> String {
    match subject {
        Subject::Alone(lane) => ensemble.lanes()[*lane].role.to_string(),
        Subject::Sum(weights) => format!("steered, {weights}"),
    }
}

fn print_table(ensemble: &Ensemble, texts: &Texts, noise: &Noise) -> std::io::Result<()> {
    const HEADS: &str = "   noise   top moved         KL          loss, rounded − not   largest";
    let mut out = std::io::stdout().lock();
    let Noise { n_tokens, n_texts, rows, offset } = noise;
    writeln!(out, "{}\n", scoring::counted(*n_tokens, *n_texts, texts.len(), texts.group, ensemble.n_ctx()))?;
    let names: Vec<_> = rows.iter().map(|row| name(ensemble, &row.subject)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:width$}{HEADS}", "")?;
    for (name, row) in names.iter().zip(rows) {
        let Rounded { changed, divergence, loss, largest, .. } = row;
        let (noise, moved) = (row.noise(), 100.0 * changed.mean());
        let (mean, error) = (loss.mean(), loss.standard_error());
        let divergence = divergence.mean();
        writeln!(
            out,
            "{name:width$}  {noise:6.4}  {moved:8.2} %  {divergence:9.2e}  {mean:+9.5} ± {error:.5} nats  {largest:8.4}"
        )?;
    }
    let (signal, of_noise) = (offset.signal(), offset.noise());
    if signal > 0.0 {
        writeln!(
            out,
            "\nα · (expert − antiexpert) moves logits by {signal:.3} nats, and its rounding by {of_noise:.4}: signal to noise {:.0}",
            ratio(offset)
        )?;
    }
    Ok(())
}

fn ratio(offset: &Offset) -> f64 {
    offset.signal() / offset.noise().max(f64::MIN_POSITIVE)
}

fn print_json(ensemble: &Ensemble, noise: &Noise) -> std::io::Result<()> {
    let Noise { n_tokens, n_texts, rows, offset } = noise;
    let mean = |mean: &GroupedMean| json!({"mean": mean.mean(), "standard_error": mean.standard_error()});
    let row = |row: &Rounded| {
        json!({
            "role": match &row.subject { Subject::Sum(_) => "steered".to_owned(), alone @ Subject::Alone(_) => name(ensemble, alone) },
            "noise": row.noise(), "top_moved": row.changed.mean(), "kl": row.divergence.mean(), "loss": mean(&row.loss),
            "largest": row.largest,
        })
    };
    let object = json!({
        "n_tokens": n_tokens, "n_texts": n_texts, "results": rows.iter().map(row).collect::<Vec<_>>(),
        "offset": {"signal": offset.signal(), "noise": offset.noise(), "ratio": ratio(offset)},
    });
    writeln!(std::io::stdout().lock(), "{object}")
}
