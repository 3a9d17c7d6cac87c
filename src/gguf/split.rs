//! Models split into several files: `name-00001-of-00003.gguf` and the rest, as llama.cpp's `gguf-split` writes them.
//!
//! llama.cpp is given the first file and opens the others by their names, so that is what is checked here.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Error;
use super::header::Header;
use super::reader::U16;

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const N_TENSORS: &str = "split.tensors.count";
/// Tensors are not split, and no model has this many.
const MAX_FILES: i64 = 4096;

/// Reads the files behind the first one of a split model, and adds their tensors to it.
pub(super) fn follow(header: &mut Header) -> Result<(), Error> {
    let n_files = match header.get(COUNT) {
        None => return Ok(()),
        Some(_) => header.integer(COUNT).filter(|n| (0..=MAX_FILES).contains(n)),
    };
    let n_files = n_files.ok_or_else(|| header.unusable(COUNT, "the number of files"))?;
    if n_files <= 1 {
        return Ok(());
    }
    let number = header.integer(NUMBER).ok_or_else(|| header.unusable(NUMBER, "the place of this file, from 0"))?;
    let refused = |header: &Header, what: String| Error::Split { path: header.path().to_path_buf(), what };
    if number != 0 {
        let first = name(header, number, 0, n_files).map(|first| format!("; that is {}", first.display()));
        let what =
            format!("it is file {} of {n_files}, the first one is expected{}", number + 1, first.unwrap_or_default());
        return Err(refused(header, what));
    }
    let mut names: HashSet<String> = header.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    for place in 1..n_files {
        let Some(path) = name(header, 0, place, n_files) else {
            let what = format!("its name does not end in -00001-of-{n_files:05}.gguf, so the others cannot be found");
            return Err(refused(header, what));
        };
        let part = Header::file(&path)?;
        // llama.cpp reads this one without looking at its type, and aborts on another.
        if part.metadata.get(NUMBER).is_none_or(|entry| entry.kind != U16) || part.integer(NUMBER) != Some(place) {
            return Err(part.unusable(NUMBER, "its place among the files as a u16"));
        }
        if let Some(tensor) = part.tensors.iter().find(|tensor| !names.insert(tensor.name.clone())) {
            let what = format!("it has the tensor `{}`, which an earlier file has too", tensor.name);
            return Err(refused(&part, what));
        }
        header.n_bytes = header.n_bytes.saturating_add(part.n_bytes);
        header.check_n_tensors((header.tensors.len() + part.tensors.len()) as u64)?;
        header.tensors.extend(part.tensors);
        header.n_files += 1;
    }
    let n_tensors = header.tensors.len();
    if header.integer(N_TENSORS).is_none_or(|n| usize::try_from(n) != Ok(n_tensors)) {
        let found = header.integer(N_TENSORS).map_or("no number".to_owned(), |n| n.to_string());
        return Err(refused(
            header,
            format!("its files hold {n_tensors} tensors together, `{N_TENSORS}` says {found}"),
        ));
    }
    Ok(())
}

/// The name of file `place` beside file `number` of `n`, both from 0.
fn name(header: &Header, number: i64, place: i64, n: i64) -> Option<PathBuf> {
    let path = header.path();
    let ending = |place| format!("-{:05}-of-{n:05}.gguf", place + 1);
    let stem = path.file_name()?.to_str()?.strip_suffix(&ending(number))?;
    Some(path.with_file_name(format!("{stem}{}", ending(place))))
}
