//! The recipe file and where bundled ones are found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::view::TemplateName;
use super::{Error, ModelName, ModelSpec, Schedule};
use crate::parameter::OutOfRange;
use crate::sampling::Sampling;
use crate::text_file;

/// Longest name of a pair, in bytes.
const MAX_NAME: usize = 64;
/// A longer file is no recipe.
const MAX_BYTES: u64 = 1 << 20;

/// A base and any number of pairs. Paths in a file are relative to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub description: Option<String>,
    /// A prompt that shows what the pairs do.
    pub example_prompt: Option<String>,
    /// The system prompt, where none is given.
    pub system_prompt: Option<String>,
    /// The base's weight in the sum, where it is not 1.
    pub base_weight: Option<Schedule>,
    pub base: ModelSpec,
    #[serde(default, rename = "pair")]
    pub pairs: Vec<PairSpec>,
    #[serde(default)]
    pub sampling: Sampling,
}

/// `alpha · (expert − antiexpert)`; a side that is left out counts as zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSpec {
    /// What a request calls the pair; by default its number, from 1 on.
    pub name: Option<String>,
    #[serde(default)]
    pub alpha: Schedule,
    /// The expert's weight where it is not α.
    pub alpha_expert: Option<Schedule>,
    /// The antiexpert's weight where it is not α.
    pub alpha_antiexpert: Option<Schedule>,
    pub expert: Option<ModelSpec>,
    pub antiexpert: Option<ModelSpec>,
}

impl PairSpec {
    /// Steers with both sides by this α, whatever they had.
    pub fn set_alpha(&mut self, alpha: Schedule) {
        (self.alpha, self.alpha_expert, self.alpha_antiexpert) = (alpha, None, None);
    }

    /// Refuses values that could not run.
    fn validate(&self) -> Result<(), OutOfRange> {
        self.alpha.validate()?;
        if self.expert.is_none() && self.antiexpert.is_none() {
            return Err(OutOfRange::new("a pair", "empty", "an expert, an antiexpert or both"));
        }
        for (name, weight, side, role) in [
            ("alpha_expert", &self.alpha_expert, &self.expert, "an expert"),
            ("alpha_antiexpert", &self.alpha_antiexpert, &self.antiexpert, "an antiexpert"),
        ] {
            let Some(weight) = weight else { continue };
            weight.validate_as(name)?;
            if side.is_none() {
                return Err(OutOfRange::new(name, weight, format!("{role} in the pair for it, or no such key")));
            }
        }
        Ok(())
    }
}

impl Recipe {
    /// The recipe at a path, or the bundled one of that name.
    pub fn open(name: &str) -> Result<Self, Error> {
        let unknown = |known| Error::Unknown { name: name.to_owned(), known, looked_in: folders() };
        Self::read(&find(name, bundled).map_err(unknown)?)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let text = text_file::read(path, MAX_BYTES)?;
        let mut recipe: Self = toml::from_str(&text)
            .map_err(|source| Error::Toml { path: path.to_path_buf(), source: Box::new(source) })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in recipe.files_mut() {
            *file = folder.join(&*file);
        }
        let invalid = |source| Error::Invalid { path: path.to_path_buf(), source };
        recipe.validate().map_err(invalid)?;
        Ok(recipe)
    }

    /// A base by itself.
    #[must_use]
    pub fn bare(base: ModelSpec) -> Self {
        let (description, example_prompt, system_prompt) = (None, None, None);
        Self {
            description,
            example_prompt,
            system_prompt,
            base_weight: None,
            base,
            pairs: Vec::new(),
            sampling: Sampling::default(),
        }
    }

    /// Every model that it names, the base first.
    pub fn models(&self) -> impl Iterator<Item = &ModelSpec> {
        let sides = self.pairs.iter().flat_map(|pair| [&pair.expert, &pair.antiexpert]);
        std::iter::once(&self.base).chain(sides.flatten())
    }

    pub fn models_mut(&mut self) -> impl Iterator<Item = &mut ModelSpec> {
        let sides = self.pairs.iter_mut().flat_map(|pair| [&mut pair.expert, &mut pair.antiexpert]);
        std::iter::once(&mut self.base).chain(sides.flatten())
    }

    /// Every file on disk that it names: models, adapters, templates.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.models().flat_map(ModelSpec::files)
    }

    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.models_mut().flat_map(ModelSpec::files_mut)
    }

    /// Refuses values that could not run.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        if self.base.model == ModelName::Base {
            return Err(OutOfRange::new("base", "\"base\"", "a model's file"));
        }
        if let Some(weight) = &self.base_weight {
            weight.validate_as("base_weight")?;
            if self.pairs.is_empty() {
                return Err(OutOfRange::new("base_weight", weight, "a pair beside it: a base by itself has no weight"));
            }
        }
        self.pairs.iter().try_for_each(PairSpec::validate)?;
        self.check_names()?;
        let is_remote = |spec: &&ModelSpec| matches!(spec.model, ModelName::Remote(_));
        if let Some(side) = self.models().skip(1).find(is_remote) {
            let expected = "a model's file: the base alone may be on a server";
            return Err(OutOfRange::new("a side of a pair", &side.model, expected));
        }
        let is_file = |spec: &ModelSpec| spec.model != ModelName::Base;
        if is_remote(&&self.base) && !self.models().skip(1).any(is_file) {
            let expected = "an expert or an antiexpert with a file of its own beside it: that has the tokenizer";
            return Err(OutOfRange::new("the base", format!("on the server {}", self.base.model), expected));
        }
        let is_adapted = |spec: &ModelSpec| spec.model == ModelName::Base && !spec.lora.is_empty();
        if is_remote(&&self.base) && self.models().skip(1).any(is_adapted) {
            let expected = "no adapter on it: its weights are not here";
            return Err(OutOfRange::new("the base", format!("on the server {}", self.base.model), expected));
        }
        self.models().try_for_each(ModelSpec::validate)?;
        let asks = |spec: &Option<ModelSpec>| {
            spec.as_ref().is_some_and(|spec| spec.view.template == Some(TemplateName::Expert))
        };
        let is_there = |pair: Option<&PairSpec>| pair.is_some_and(|pair| pair.expert.is_some() && !asks(&pair.expert));
        let of_base = self.base.view.template == Some(TemplateName::Expert) && !is_there(self.pairs.first());
        if of_base
            || self.pairs.iter().any(|pair| asks(&pair.expert) || asks(&pair.antiexpert) && !is_there(Some(pair)))
        {
            let expected = "an expert with another template, for others to see the same";
            return Err(OutOfRange::new("a template", "\"expert\"", expected));
        }
        self.sampling.validate()
    }

    /// Refuses names of pairs that cannot be told apart, or hardly typed.
    fn check_names(&self) -> Result<(), OutOfRange> {
        let mut names = BTreeSet::new();
        for (i, pair) in self.pairs.iter().enumerate() {
            let name = pair.name.clone().unwrap_or_else(|| (i + 1).to_string());
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
                let expected = format!("1 to {MAX_NAME} of the characters A-Z, a-z, 0-9, _, . and -");
                return Err(OutOfRange::new("a pair's name", format!("{name:?}"), expected));
            }
            if !names.insert(name.clone()) {
                let expected = "another one for each pair, where one without a name has its number";
                return Err(OutOfRange::new("a pair's name", format!("{name:?} twice"), expected));
            }
        }
        Ok(())
    }
}

/// The checkout that the binary was built from, where its models are found; `make install`, which copies them, sets it
/// to nothing.
const CHECKOUT: &str = match option_env!("PROXYTUNE_CHECKOUT") {
    Some(path) => path,
    None => env!("CARGO_MANIFEST_DIR"),
};

/// The folder of tasks among those of models: what is in it is no recipe.
pub const TASKS: &str = "tasks";

/// Where bundled models lie: `PROXYTUNE_MODELS`, beside the binary, under `share` where it is installed, the checkout it
/// was built from.
pub fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("PROXYTUNE_MODELS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let binary = std::env::current_exe().ok();
    let home = binary.as_deref().and_then(Path::parent);
    let beside = home.map(|folder| folder.join("models"));
    let installed = home.and_then(Path::parent).map(|prefix| prefix.join("share/proxytune/models"));
    let checkout = Some(CHECKOUT).filter(|path| !path.is_empty()).map(|path| Path::new(path).join("models"));
    named.into_iter().chain(beside).chain(installed).chain(checkout).collect()
}

/// The file that somebody means: a path, or the bundled file of that name. The error has the names of those.
pub fn find(name: &str, bundled: impl FnOnce() -> Vec<(String, PathBuf)>) -> Result<PathBuf, Vec<String>> {
    let path = Path::new(name);
    if name.contains(std::path::is_separator) {
        return Ok(path.to_path_buf());
    }
    let bundled = bundled();
    match bundled.iter().find(|(known, _)| known == name) {
        Some((_, path)) => Ok(path.clone()),
        None if path.extension().is_some_and(|end| end == "toml") || path.is_file() => Ok(path.to_path_buf()),
        None => Err(bundled.into_iter().map(|(known, _)| known).collect()),
    }
}

/// The recipes that go by a name, in order, each with its file. A folder of models has one of its own name,
/// `recipe.toml`, and any others by theirs. Of two that share a name the first that is found counts.
#[must_use]
pub fn bundled() -> Vec<(String, PathBuf)> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: &Path| {
        let named = if path.file_name()? == "recipe.toml" { path.parent()?.file_name()? } else { path.file_stem()? };
        Some(named.to_string_lossy().into_owned())
    };
    let mut found = std::collections::BTreeMap::new();
    let holds_recipes = |folder: &PathBuf| folder.file_name().is_none_or(|name| name != TASKS);
    for path in folders().into_iter().flat_map(entries).filter(holds_recipes).flat_map(entries) {
        if path.extension().is_some_and(|end| end == "toml") && path.is_file() {
            let Some(name) = name(&path) else { continue };
            found.entry(name).or_insert(path);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::placement::GpuLayers;
    use super::*;

    fn parse(text: &str) -> Result<Recipe, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_trio_reads_as_written() {
        let recipe = parse("base = 'b.gguf'\n[[pair]]\nexpert = 'e.gguf'\nantiexpert = 'base'\n").expect("valid");
        let pair = &recipe.pairs[0];
        assert_eq!((&pair.alpha, &pair.antiexpert), (&Schedule::constant(1.0), &Some(ModelSpec::base())));
        assert_eq!(pair.expert, Some(ModelSpec::file("e.gguf")));
        assert_eq!(recipe.sampling, Sampling::default());
    }

    const FULL: &str = r#"
        system_prompt = "Be brief."
        base_weight = 0.7
        [base]
        hf = "user/big-GGUF:Q4_K_M"
        gpu_layers = "all"
        cache_type_k = "q8_0"
        [[pair]]
        name = "style_1.0-b"
        alpha = "1@0..0.5@64"
        alpha_antiexpert = 0.25
        expert = { model = "small.gguf", lora = ["tuned.gguf", { path = "more.gguf", scale = 0.5 }], template = "chat.jinja" }
        antiexpert = { model = "small.gguf", template = "expert", system = "", device = ["none"] }
        [[pair]]
        antiexpert = { model = "base", prompt = "" }
        [sampling]
        plausibility = 0.1
    "#;

    #[test]
    fn every_key_reads_and_writes_back() {
        let recipe = parse(FULL).expect("valid");
        recipe.validate().expect("sensible");
        let hub = ModelName::Hub { repo: "user/big-GGUF:Q4_K_M".to_owned(), file: None };
        assert_eq!(recipe.base.model, hub);
        assert_eq!(recipe.base.placement.gpu_layers, Some(GpuLayers(Some(GpuLayers::ALL))));
        let expert = recipe.pairs[0].expert.as_ref().expect("an expert");
        assert_eq!(expert.lora.iter().map(|lora| lora.scale).collect::<Vec<_>>(), [1.0, 0.5]);
        assert_eq!(recipe.pairs[0].alpha.at(32), 0.75);
        let files: Vec<_> = recipe.files().map(|path| path.display().to_string()).collect();
        assert_eq!(files, ["small.gguf", "tuned.gguf", "more.gguf", "chat.jinja", "small.gguf"]);
        assert_eq!(recipe.base_weight, Some(Schedule::constant(0.7)));
        assert_eq!((&recipe.pairs[0].alpha_expert, &recipe.pairs[1].alpha_antiexpert), (&None, &None));
        let written = toml::to_string_pretty(&recipe).expect("it can be written");
        assert_eq!(parse(&written).expect(&written), recipe);
        assert!(!written.contains("alpha_expert") && written.contains("alpha_antiexpert = 0.25"), "{written}");
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        for text in [
            "base = 'b'\nexprt = 'e'",
            "[[pair]]\nexpert = 'e'",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nbeta = 1.0",
            "base = 'b'\n[sampling]\nsamplers = 'nonsense'",
            "base = { model = 'b', hf = 'u/r' }",
            "base = { lora = ['l'] }",
            "base = { model = 'b', hf_file = 'f' }",
            "base = { model = 'b', cache_type_k = 'q9_9' }",
            "base = 'b'\n[[pair]]\nexpert = { model = 'e', gpu_layers = -3 }",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha = '1@3'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            "base = 'base'",
            "base = 'b'\n[[pair]]\nalpha = 1.0",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha = nan",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha = 11.0",
            "base = 'b'\nbase_weight = 11\n[[pair]]\nexpert = 'e'",
            "base = 'b'\nbase_weight = nan\n[[pair]]\nexpert = 'e'",
            "base = 'b'\nbase_weight = 0.5",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha_expert = -11",
            "base = 'b'\n[[pair]]\nexpert = 'e'\nalpha_antiexpert = 0.5",
            "base = 'b'\n[[pair]]\nantiexpert = 'a'\nalpha_expert = 0.5",
            "base = 'b'\n[[pair]]\nexpert = { model = 'e', lora = [{ path = 'l', scale = nan }] }",
            "base = 'b'\n[sampling]\ntemp = -1.0",
            "base = { model = 'b', template = 'expert' }",
            "base = 'b'\n[[pair]]\nexpert = { model = 'e', template = 'expert' }",
            "base = 'b'\n[[pair]]\nantiexpert = { model = 'a', template = 'expert' }",
            "base = { model = 'b', lora = ['l', 'l'] }",
            "base = 'b'\n[[pair]]\nname = ''\nexpert = 'e'",
            "base = 'b'\n[[pair]]\nname = 'a b'\nexpert = 'e'",
            "base = 'b'\n[[pair]]\nname = 'a'\nexpert = 'e'\n[[pair]]\nname = 'a'\nexpert = 'f'",
            "base = 'b'\n[[pair]]\nname = '2'\nexpert = 'e'\n[[pair]]\nexpert = 'f'",
        ] {
            assert!(parse(text).expect("well-formed").validate().is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_of_a_table_is_named_with_its_neighbour() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, "base = { model = 'b', templat = 'plain' }\n").expect("writable");
        let error = Recipe::open(path.to_str().expect("UTF-8")).expect_err("a key that is not known");
        assert!(error.to_string().contains("templat"), "{error}");
        assert_eq!(error.hint().as_deref(), Some("did you mean `template`?"));
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mine.toml");
        let text = "base = 'b.gguf'\n[[pair]]\nexpert = { model = '/abs/e.gguf', lora = ['l.gguf'] }\n";
        std::fs::write(&path, text).expect("writable");
        let recipe = Recipe::open(path.to_str().expect("UTF-8")).expect("valid");
        let inside = |name: &str| folder.path().join(name);
        assert_eq!(
            recipe.files().collect::<Vec<_>>(),
            [&inside("b.gguf"), Path::new("/abs/e.gguf"), &inside("l.gguf")]
        );
    }

    #[test]
    fn an_unknown_name_says_where_it_was_looked_for() {
        let error = Recipe::open("no-such-recipe").expect_err("unknown").to_string();
        assert!(error.contains("no-such-recipe") && error.contains("models"), "{error}");
    }
}
