//! Models split into several files: `name-00001-of-00003.gguf` and the rest, as llama.cpp's `gguf-split` writes them.
//!
//! llama.cpp is given the first file and opens the others by their names, so that is what is checked here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

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
        let first = name(header.path(), number, 0, n_files).map(|first| format!("; that is {}", first.display()));
        let what =
            format!("it is file {} of {n_files}, the first one is expected{}", number + 1, first.unwrap_or_default());
        return Err(refused(header, what));
    }
    let mut names: HashSet<String> = header.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    for place in 1..n_files {
        let Some(path) = name(header.path(), 0, place, n_files) else {
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

/// The files of a model by the name of its first one: it alone, unless it is called `name-00001-of-00003.gguf`.
#[must_use]
pub fn files(first: &Path) -> Vec<PathBuf> {
    let n_files = first.file_name().and_then(|name| {
        let (_, number) = name.to_str()?.strip_suffix(".gguf")?.rsplit_once("-00001-of-")?;
        number.parse().ok().filter(|n| (2..=MAX_FILES).contains(n) && number.len() == 5)
    });
    let others = n_files.into_iter().flat_map(|n| (1..n).filter_map(move |place| name(first, 0, place, n)));
    std::iter::once(first.to_path_buf()).chain(others).collect()
}

/// The name of file `place` beside file `number` of `n`, which is `path`; both from 0.
fn name(path: &Path, number: i64, place: i64, n: i64) -> Option<PathBuf> {
    let ending = |place| format!("-{:05}-of-{n:05}.gguf", place + 1);
    let stem = path.file_name()?.to_str()?.strip_suffix(&ending(number))?;
    Some(path.with_file_name(format!("{stem}{}", ending(place))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_by_the_name_of_the_first() {
        let names =
            |first: &str| files(Path::new(first)).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let all = ["a/m-00001-of-00003.gguf", "a/m-00002-of-00003.gguf", "a/m-00003-of-00003.gguf"];
        assert_eq!(names(all[0]), all);
        for alone in [all[1], "m.gguf", "m-00001-of-00001.gguf", "m-00001-of-3.gguf", "m-00001-of-99999.gguf"] {
            assert_eq!(names(alone), [alone]);
        }
    }
}
