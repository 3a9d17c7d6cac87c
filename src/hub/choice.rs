//! Which file of a repository is meant: the rules of llama.cpp's `-hf` (common/download.cpp).

use super::{Error, Wanted};

/// Tried in turn where no quantisation is asked for.
const DEFAULTS: [&str; 2] = ["Q4_K_M", "Q8_0"];
/// GGUF files that are no models of their own: projectors, measurements, adapters, draft heads.
const NO_MODELS: [&str; 7] = ["mmproj", "imatrix", "adapter", "mtp-", "eagle3-", "dflash-", "dspark-"];
/// As `gguf::split` has it.
const MAX_PARTS: usize = 4096;

/// The places of the wanted file in `paths`, of all its files where it is split.
pub(super) fn choose(wanted: &Wanted, paths: &[&str]) -> Result<Vec<usize>, Error> {
    let is_first = |path: &str| split(path).is_none_or(|(_, number, _)| number == 1);
    let models: Vec<&str> = paths.iter().copied().filter(|path| is_model(path) && is_first(path)).collect();
    let there = || models.iter().map(|&path| path.to_owned()).collect();
    let chosen = if let Some(file) = &wanted.file {
        let found = paths.iter().copied().find(|path| path == file);
        found.ok_or_else(|| Error::NoFile { repo: wanted.repo.clone(), file: file.clone(), there: there() })?
    } else {
        let of = |quant: &str| models.iter().copied().find(|path| has_quant(path, quant));
        let found = match &wanted.quant {
            Some(quant) => of(quant),
            None => DEFAULTS.into_iter().find_map(of).or_else(|| models.first().copied()),
        };
        let (repo, quant) = (wanted.repo.clone(), wanted.quant.clone());
        found.ok_or_else(|| Error::NoQuant { repo, quant, there: there() })?
    };
    parts(chosen, paths)
}

fn parts(chosen: &str, paths: &[&str]) -> Result<Vec<usize>, Error> {
    let names: Vec<String> = match split(chosen) {
        None => vec![chosen.to_owned()],
        Some((stem, _, n)) => (1..=n).map(|number| format!("{stem}-{number:05}-of-{n:05}.gguf")).collect(),
    };
    let places: Vec<Option<usize>> = names.iter().map(|name| paths.iter().position(|path| path == name)).collect();
    if places.contains(&None) {
        let missing = names.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(name, _)| name.clone());
        return Err(Error::MissingParts { first: names[0].clone(), missing: missing.collect() });
    }
    Ok(places.into_iter().flatten().collect())
}

/// `name-00002-of-00003.gguf` as (`name`, 2, 3).
fn split(path: &str) -> Option<(&str, usize, usize)> {
    let (rest, n) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let parse = |digits: &str| {
        let is_number = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { digits.parse::<usize>().ok() } else { None }
    };
    let (number, n) = (parse(number)?, parse(n)?);
    ((1..=n).contains(&number) && n <= MAX_PARTS).then_some((stem, number, n))
}

fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    !NO_MODELS.iter().any(|word| name.contains(word))
}

/// Whether the path has the quantisation as a whole word: `-Q4_K_M.`, `.q4_k_m-00001-of-`, `Q4_K_M/`. In front of it
/// an underscore counts only where it begins like a type, so that `K_M` is not found in `Q4_K_M`.
fn has_quant(path: &str, quant: &str) -> bool {
    let (path, quant) = (path.to_ascii_lowercase(), quant.to_ascii_lowercase());
    let n_letters = quant.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(quant.len());
    let is_type = n_letters > 0 && quant[n_letters..].starts_with(|c: char| c.is_ascii_digit());
    path.match_indices(&quant).any(|(start, _)| {
        let before = path[..start].chars().next_back();
        let after = path[start + quant.len()..].chars().next();
        before.is_none_or(|c| "-./".contains(c) || (c == '_' && is_type)) && after.is_some_and(|c| "-./".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPO: [&str; 10] = [
        "BF16/m-BF16-00001-of-00002.gguf",
        "BF16/m-BF16-00002-of-00002.gguf",
        "adapter-Q4_K_M.gguf",
        "m-IQ4_XS.gguf",
        "m-Q4_K_M.gguf",
        "m-Q8_0.gguf",
        "m-UD-Q4_K_XL.gguf",
        "m_q5_k_m.gguf",
        "mmproj-Q8_0.gguf",
        "x-F32-00001-of-00003.gguf",
    ];

    fn choose(spec: &str, paths: &[&str]) -> Result<Vec<usize>, Error> {
        super::choose(&spec.parse().expect("valid"), paths)
    }

    #[test]
    fn no_quantisation_asked_for() {
        assert_eq!(choose("a/b", &REPO).expect("there"), [4]);
        assert_eq!(choose("a/b", &["adapter-Q4_K_M.gguf", "m-Q2_K.gguf", "m-Q8_0.gguf"]).expect("there"), [2]);
        assert_eq!(choose("a/b", &["mmproj-m.gguf", "m-Q2_K.gguf", "n.gguf"]).expect("there"), [1]);
        assert!(matches!(choose("a/b", &["mmproj-m.gguf"]), Err(Error::NoQuant { .. })));
    }

    #[test]
    fn a_quantisation_asked_for() {
        for (quant, expected) in
            [("q8_0", 5), ("Q4_K_M", 4), ("Q5_K_M", 7), ("Q4_K_XL", 6), ("UD-Q4_K_XL", 6), ("IQ4_XS", 3), ("IQ4_xs", 3)]
        {
            assert_eq!(choose(&format!("a/b:{quant}"), &REPO).expect(quant), [expected], "{quant}");
        }
        for quant in ["Q4_K", "K_M", "Q4", "XS", "8_0", "0", "gguf", "Q6_K"] {
            let Err(Error::NoQuant { there, .. }) = choose(&format!("a/b:{quant}"), &REPO) else { panic!("{quant}") };
            assert!(there.contains(&"m-Q8_0.gguf".to_owned()) && !there.iter().any(|name| name.contains("-00002-of")));
        }
    }

    #[test]
    fn split_files_come_whole() {
        assert_eq!(choose("a/b:bf16", &REPO).expect("there"), [0, 1]);
        let second = Wanted { file: Some(REPO[1].to_owned()), ..("a/b".parse().expect("valid")) };
        assert_eq!(super::choose(&second, &REPO).expect("there"), [0, 1]);
        let Err(Error::MissingParts { missing, .. }) = choose("a/b:F32", &REPO) else { panic!("incomplete") };
        assert_eq!(missing, ["x-F32-00002-of-00003.gguf", "x-F32-00003-of-00003.gguf"]);
        for path in ["a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-1-of-2.gguf", "a-00001-of-99999.gguf"] {
            assert_eq!(split(path), None, "{path}");
        }
    }

    #[test]
    fn a_file_by_its_name() {
        let file = |name: &str| Wanted { file: Some(name.to_owned()), ..("a/b:Q8_0".parse().expect("valid")) };
        assert_eq!(super::choose(&file("mmproj-Q8_0.gguf"), &REPO).expect("there"), [8]);
        assert!(matches!(super::choose(&file("m.gguf"), &REPO), Err(Error::NoFile { .. })));
    }
}
