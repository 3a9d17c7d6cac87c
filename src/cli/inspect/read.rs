//! Texts are read, and what is to be trained from is written along the way.

use anyhow::Result;

use super::found::Found;
use crate::cli::args::Inspect;
use crate::cli::new_file::NewFile;
use crate::cli::terminal::say;
use crate::cli::{interrupt, progress};
use crate::eval::influence::{self, measure};
use crate::eval::targets::Targets;
use crate::eval::texts::Texts;
use crate::parameter::OutOfRange;
use crate::steer::Ensemble;

/// Reads texts, and writes what is to be trained from. `None` where that was broken off before the first token.
pub fn read(args: &Inspect, ensemble: &mut Ensemble, texts: &Texts, plausibility: f32) -> Result<Option<Found>> {
    let k = args.dump_top_k as usize;
    let n_vocab = ensemble.topology().n_vocab();
    if args.dump_targets.is_some() && k > n_vocab {
        return Err(OutOfRange::new("dump-top-k", k, format!("at most the {n_vocab} tokens of the vocabulary")).into());
    }
    let dump = args.dump_targets.as_ref().map(|path| NewFile::create(path, args.overwrite)).transpose()?;
    let about = [
        ("n_vocab", n_vocab.to_string()),
        ("weights", ensemble.topology().planned().to_string()),
        ("plausibility", plausibility.to_string()),
    ];
    let start = |new: &NewFile| new.file().try_clone().map(|file| Targets::new(file, texts, k, &about));
    let mut targets = match &dump {
        Some(new) => Some(start(new).map_err(|error| new.failed(&error))?),
        None => None,
    };
    let bar = progress::tokens(texts.n_tokens());
    let found = measure(
        ensemble,
        texts,
        plausibility,
        |predicted, row| match &mut targets {
            Some(targets) => targets.add(predicted.text, predicted.position, predicted.token, row),
            None => Ok(()),
        },
        |done| {
            bar.set_position(done as u64);
            !interrupt::stopped()
        },
    );
    bar.finish_and_clear();
    let told = |error: influence::Error| match (error, &dump) {
        (influence::Error::Also(error), Some(new)) => new.failed(&error),
        (influence::Error::Steer(error), _) => error.into(),
        (error, _) => error.into(),
    };
    let found = found.map_err(told)?;
    if found.tokens.is_empty() {
        return Ok(None);
    }
    if let (Some(targets), Some(new)) = (targets, dump) {
        let n_rows = targets.finish().map_err(|error| new.failed(&error))?;
        new.keep()?;
        say!("note: wrote {k} tokens at each of {n_rows} positions");
    }
    Ok(Some(Found::of(found, ensemble, texts)))
}
