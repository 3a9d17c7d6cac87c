//! The recipe file and where bundled ones are found.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Sampling};

/// Beyond this the sum leaves what logits mean; a larger α is a typing error.
pub const MAX_ALPHA: f32 = 10.0;

/// A longer file is no recipe.
const MAX_BYTES: u64 = 1 << 20;

/// A base and any number of pairs. Paths in a file are relative to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub description: Option<String>,
    pub base: PathBuf,
    #[serde(default, rename = "pair")]
    pub pairs: Vec<Pair>,
    #[serde(default)]
    pub sampling: Sampling,
    /// A prompt that shows what the pairs do.
    pub example_prompt: Option<String>,
}

/// `alpha · (expert − antiexpert)`; a side that is left out counts as zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    #[serde(default = "default_alpha")]
    pub alpha: f32,
    pub expert: Option<Side>,
    pub antiexpert: Option<Side>,
}

fn default_alpha() -> f32 {
    1.0
}

/// One side of a pair: a file, or the word `base` for the base itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum Side {
    Base,
    File(PathBuf),
}

impl From<PathBuf> for Side {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "base" { Self::Base } else { Self::File(path) }
    }
}

impl From<Side> for PathBuf {
    fn from(side: Side) -> Self {
        match side {
            Side::Base => "base".into(),
            Side::File(path) => path,
        }
    }
}

impl Recipe {
    /// The recipe at a path, or the bundled one of that name.
    pub fn open(name: &str) -> Result<Self, Error> {
        let is_path = Path::new(name).extension().is_some() || name.contains(std::path::is_separator);
        if is_path {
            return Self::read(Path::new(name));
        }
        let looked_in = folders();
        let places = |folder: &PathBuf| {
            [folder.join(name).join("recipe.toml"), folder.join("trios").join(format!("{name}.toml"))]
        };
        match looked_in.iter().flat_map(places).find(|path| path.is_file()) {
            Some(path) => Self::read(&path),
            None if Path::new(name).is_file() => Self::read(Path::new(name)),
            None => Err(Error::Unknown { name: name.to_owned(), looked_in }),
        }
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        read.map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        let mut recipe: Self = toml::from_str(&text)
            .map_err(|source| Error::Toml { path: path.to_path_buf(), source: Box::new(source) })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in recipe.files_mut() {
            *file = folder.join(&*file);
        }
        let invalid = |source| Error::Invalid { path: path.to_path_buf(), source: Box::new(source) };
        recipe.validate().map_err(invalid)?;
        Ok(recipe)
    }

    /// Every file that it names, the base's first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let sides = self.pairs.iter().flat_map(|pair| [&pair.expert, &pair.antiexpert]);
        let files = sides.filter_map(|side| match side {
            Some(Side::File(path)) => Some(path.as_path()),
            _ => None,
        });
        std::iter::once(self.base.as_path()).chain(files)
    }

    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let sides = self.pairs.iter_mut().flat_map(|pair| [&mut pair.expert, &mut pair.antiexpert]);
        let files = sides.filter_map(|side| match side {
            Some(Side::File(path)) => Some(path),
            _ => None,
        });
        std::iter::once(&mut self.base).chain(files)
    }

    /// Refuses values that could not run.
    pub fn validate(&self) -> Result<(), Error> {
        for pair in &self.pairs {
            check_alpha(pair.alpha)?;
            if pair.expert.is_none() && pair.antiexpert.is_none() {
                return Err(Error::parameter("a pair", "empty", "an expert, an antiexpert or both"));
            }
        }
        self.sampling.validate()
    }
}

/// Refuses an α that is not a number of a sensible size.
pub fn check_alpha(alpha: f32) -> Result<(), Error> {
    if alpha.abs() <= MAX_ALPHA {
        return Ok(());
    }
    Err(Error::parameter("alpha", alpha, format!("a number from -{MAX_ALPHA} to {MAX_ALPHA}")))
}

/// Where bundled models lie: `PROXYTUNE_MODELS`, beside the binary, the checkout it was built from.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("PROXYTUNE_MODELS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let binary = std::env::current_exe().ok();
    let beside = binary.as_deref().and_then(Path::parent).map(|folder| folder.join("models"));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    named.into_iter().chain(beside).chain([checkout]).collect()
}

/// The recipes that go by a name, in order, each with its file. Of two that share one the first that is found counts.
#[must_use]
pub fn bundled() -> Vec<(String, PathBuf)> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut found = std::collections::BTreeMap::new();
    for folder in folders() {
        let own = entries(folder.clone()).map(|path| path.join("recipe.toml"));
        let own = own.filter_map(|path| Some((name(path.parent()?)?, path)));
        let trios = entries(folder.join("trios")).filter(|path| path.extension().is_some_and(|end| end == "toml"));
        let trios = trios.filter_map(|path| Some((name(&path)?, path)));
        for (name, path) in own.chain(trios).filter(|(_, path)| path.is_file()) {
            found.entry(name).or_insert(path);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Recipe, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_trio_reads_as_written() {
        let recipe = parse("base = 'b.gguf'\n[[pair]]\nexpert = 'e.gguf'\nantiexpert = 'base'\n").expect("valid");
        let pair = &recipe.pairs[0];
        assert_eq!((pair.alpha, &pair.antiexpert), (1.0, &Some(Side::Base)));
        assert_eq!(pair.expert, Some(Side::File("e.gguf".into())));
        assert_eq!(recipe.sampling, Sampling::default());
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        for text in [
            "base = 'b'\nexprt = 'e'",
            "[[pair]]\nexpert = 'e'",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nbeta = 1.0",
            "base = 'b'\n[sampling]\nsamplers = 'nonsense'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            "base = 'b'\n[[pair]]\nalpha = 1.0",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha = nan",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha = 11.0",
            "base = 'b'\n[sampling]\ntemp = -1.0",
        ] {
            assert!(parse(text).expect("well-formed").validate().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, "base = 'b.gguf'\n[[pair]]\nexpert = '/abs/e.gguf'\n").expect("writable");
        let recipe = Recipe::open(path.to_str().expect("UTF-8")).expect("valid");
        assert_eq!(recipe.base, folder.path().join("b.gguf"));
        assert_eq!(recipe.pairs[0].expert, Some(Side::File("/abs/e.gguf".into())));
    }

    #[test]
    fn an_unknown_name_says_where_it_was_looked_for() {
        let error = Recipe::open("no-such-recipe").expect_err("unknown").to_string();
        assert!(error.contains("no-such-recipe") && error.contains("models"), "{error}");
    }
}
