//! Which file of a repository is meant: the rules of llama.cpp's `-hf` (common/download.cpp).

use super::names::{self, ENDING};
use super::{Error, Wanted};

/// Tried in turn where no quantisation is asked for.
const DEFAULTS: [&str; 2] = ["Q4_K_M", "Q8_0"];
/// A quantisation that asks for none.
const LATEST: &str = "latest";
/// A GGUF file with one of these words is no model: a projector for images or sound.
const NO_MODELS: [&str; 1] = ["mmproj"];
/// GGUF files that stand beside a model are called so in front: measurements, adapters, draft heads. Further on in the
/// name the word may be the model's own, `x-Adapter-7B`, or say what a model has inside, `x-MTP-Q6_K`. llama.cpp looks
/// for some of them anywhere and finds no model in a repository of such names.
const BESIDE_MODELS: [&str; 8] = ["imatrix", "adapter", "lora", "mtp", "eagle3", "dflash", "dspark", "draft"];
/// As `gguf::split` has it.
const MAX_PARTS: usize = 4096;

/// The places of the wanted file in `paths`, of all its files where it is split.
pub(super) fn choose(wanted: &Wanted, paths: &[&str]) -> Result<Vec<usize>, Error> {
    let is_first = |path: &str| split(path).is_none_or(|(_, number, _)| number == 1);
    let mut models: Vec<&str> = paths.iter().copied().filter(|path| doubt(path).is_some() && is_first(path)).collect();
    models.sort_by_key(|path| doubt(path));
    // What stands beside models is taken for one only where there is nothing else: the file itself says what it is.
    if models.first().is_some_and(|path| doubt(path) < Some(Doubt::Beside)) {
        models.retain(|path| doubt(path) < Some(Doubt::Beside));
    }
    let there = || models.iter().map(|&path| path.to_owned()).collect();
    let chosen = if let Some(file) = &wanted.file {
        let found = paths.iter().copied().find(|path| path == file);
        found.ok_or_else(|| Error::NoFile { repo: wanted.repo.clone(), file: file.clone(), there: there() })?
    } else {
        let of = |quant: &str| models.iter().copied().find(|path| has_quant(path, quant));
        let found = match &wanted.quant {
            // As Ollama spells it.
            Some(quant) if !quant.eq_ignore_ascii_case(LATEST) || of(quant).is_some() => of(quant),
            _ => DEFAULTS.into_iter().find_map(of).or_else(|| models.first().copied()),
        };
        let (repo, quant) = (wanted.repo.clone(), wanted.quant.clone());
        found.ok_or_else(|| Error::NoQuant { repo, quant, there: there() })?
    };
    parts(chosen, paths)
}

fn parts(chosen: &str, paths: &[&str]) -> Result<Vec<usize>, Error> {
    let names: Vec<String> = match split(chosen) {
        None => vec![chosen.to_owned()],
        Some((stem, _, n)) => {
            let ending = &chosen[chosen.len() - ENDING.len()..];
            (1..=n).map(|number| format!("{stem}-{number:05}-of-{n:05}{ending}")).collect()
        }
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
    if !names::is_gguf(path) {
        return None;
    }
    let (rest, n) = path[..path.len() - ENDING.len()].rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let parse = |digits: &str| {
        let is_number = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { digits.parse::<usize>().ok() } else { None }
    };
    let (number, n) = (parse(number)?, parse(n)?);
    ((1..=n).contains(&number) && n <= MAX_PARTS).then_some((stem, number, n))
}

/// How far a name speaks against a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    None,
    /// It has the word of something that stands beside models.
    Some,
    /// It begins with that word, or ends with it.
    Beside,
}

/// `None` for what is no model for certain.
fn doubt(path: &str) -> Option<Doubt> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let name = name.strip_suffix(".gguf").unwrap_or(&name);
    let mut words = name.split(['-', '_', '.', ' ']).filter(|word| !["ggml", "gguf"].contains(word)).peekable();
    let first = words.peek().copied().unwrap_or_default();
    let is_beside = |word: &str| BESIDE_MODELS.contains(&word);
    let (mut has_word, mut last) = (false, "");
    for word in words {
        if NO_MODELS.contains(&word) {
            return None;
        }
        has_word |= is_beside(word);
        last = word;
    }
    Some(match has_word {
        false => Doubt::None,
        true if is_beside(first) || is_beside(last) => Doubt::Beside,
        true => Doubt::Some,
    })
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
    fn a_word_in_a_models_own_name_is_no_hindrance() {
        for (paths, spec, expected) in [
            (&["Qwen3.5-MTP-Q4_K_M.gguf", "Qwen3.5-MTP-Q6_K.gguf"][..], "a/b", 0),
            (&["Qwen3.5-MTP-Q4_K_M.gguf", "Qwen3.5-MTP-Q6_K.gguf"], "a/b:Q6_K", 1),
            (&["x-Adapter-7B.Q4_K_M.gguf", "x-Adapter-7B.Q8_0.gguf"], "a/b:q8_0", 1),
            (&["x-imatrix-Q8_0.gguf", "x.imatrix.gguf"], "a/b", 0),
            // The plain one first; a draft head, an adapter or a measurement only where there is nothing else.
            (&["x-MTP-Q8_0.gguf", "x-Q8_0.gguf"], "a/b", 1),
            (&["x-MTP-Q8_0.gguf", "x-Q4_K_M.gguf"], "a/b:Q8_0", 0),
            (&["mtp-x-Q4_K_M.gguf", "x-Q8_0.gguf"], "a/b", 1),
            (&["ggml-adapter-Q4_K_M.gguf", "x-Q2_K.gguf"], "a/b", 1),
            (&["x-F16-LoRA.gguf", "x.gguf"], "a/b", 1),
            (&["adapter-7B-Q4_K_M.gguf", "adapter-7B-Q8_0.gguf"], "a/b:Q8_0", 1),
            (&["Adaptermind-Q8_0.gguf", "adapter-Q4_K_M.gguf"], "a/b", 0),
        ] {
            assert_eq!(choose(spec, paths).expect(spec), [expected], "{spec} of {paths:?}");
        }
        let Err(Error::NoQuant { there, .. }) = choose("a/b:Q4_K_M", &["adapter-Q4_K_M.gguf", "x-Q8_0.gguf"]) else {
            panic!("an adapter is no model")
        };
        assert_eq!(there, ["x-Q8_0.gguf"]);
    }

    #[test]
    fn latest_asks_for_no_quantisation() {
        assert_eq!(choose("a/b:latest", &REPO).expect("there"), [4]);
        assert_eq!(choose("a/b:latest", &["m-Q4_K_M.gguf", "m-latest.gguf"]).expect("there"), [1]);
    }

    #[test]
    fn upper_case_endings_are_endings() {
        assert_eq!(choose("a/b", &["M-Q2_K.GGUF", "M-Q8_0.GGUF"]).expect("there"), [1]);
        let parts = ["M-Q8_0-00001-OF-00002.GGUF", "M-Q8_0-00001-of-00002.GGUF", "M-Q8_0-00002-of-00002.GGUF"];
        assert_eq!(choose("a/b:Q8_0", &parts[1..]).expect("there"), [0, 1]);
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
