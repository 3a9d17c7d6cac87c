//! Which files play which roles, and what they say before the first one is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Role};
use crate::gguf::{self, Header};
use crate::llama::context::ContextParams;
use crate::llama::model::ModelParams;
use crate::prompt::{self, Template};
use crate::recipe::player::Lora;
use crate::recipe::view::TemplateName;
use crate::recipe::{Schedule, View};
use crate::vocab::{self, IdMap, Verdict, Vocabulary};

/// A longer template is none.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

/// Which files play which roles, and how each is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub base: ModelSource,
    /// How the base sees a conversation.
    pub view: View,
    pub pairs: Vec<PairPlan>,
    /// Take small models whose special tokens are not all the base's.
    pub allow_drift: bool,
    /// Keep a second sequence of the base, for [`super::Steered::base_alone`].
    pub compares: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PairPlan {
    pub alpha: Schedule,
    pub expert: Option<SidePlan>,
    pub antiexpert: Option<SidePlan>,
}

/// One side of a pair: a model of its own, or the base with what may be another view.
#[derive(Debug, Clone, PartialEq)]
pub struct SidePlan {
    /// `None` for the base.
    pub source: Option<ModelSource>,
    pub view: View,
}

/// A file, what is added to it, how it is loaded and how it computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSource {
    pub path: PathBuf,
    pub adapters: Vec<Lora>,
    pub model: ModelParams,
    pub context: ContextParams,
}

impl ModelSource {
    /// A file as it is, run by default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (adapters, model, context) = (Vec::new(), ModelParams::default(), ContextParams::default());
        Self { path: path.into(), adapters, model, context }
    }
}

impl From<ModelSource> for SidePlan {
    fn from(source: ModelSource) -> Self {
        Self { source: Some(source), view: View::default() }
    }
}

impl SidePlan {
    /// The base itself: its logits are reused.
    #[must_use]
    pub fn base() -> Self {
        Self { source: None, view: View::default() }
    }

    /// The same side under another view.
    #[must_use]
    pub fn seen_as(self, view: View) -> Self {
        Self { view, ..self }
    }
}

impl Plan {
    /// A model by itself, steered by nothing.
    #[must_use]
    pub fn alone(base: ModelSource) -> Self {
        Self { base, view: View::default(), pairs: Vec::new(), allow_drift: false, compares: false }
    }

    /// The base of this plan by itself, seeing what it sees in the plan.
    pub fn base_alone(&self) -> Result<Self, Error> {
        let mut view = self.view.clone();
        if view.template == Some(TemplateName::Expert) {
            let expert = self.sides().find(|(role, _)| *role == Role::Expert(0)).map(|(_, side)| side);
            let asked = expert.and_then(|side| side.view.template.clone());
            let has_one = self.check()?.view(Role::Expert(0)).is_some_and(|view| view.template.is_some());
            view.template = match (asked, expert.and_then(|side| side.source.as_ref())) {
                (Some(TemplateName::File(path)), _) => Some(TemplateName::File(path)),
                (_, Some(source)) if has_one => Some(TemplateName::File(source.path.clone())),
                _ => Some(TemplateName::Plain),
            };
        }
        Ok(Self { view, ..Self::alone(self.base.clone()) })
    }

    /// The first expert of this plan by itself, seeing what it sees in the plan; `None` where there is none but the
    /// base.
    #[must_use]
    pub fn expert_alone(&self) -> Option<Self> {
        let SidePlan { source, view } = self.pairs.iter().find_map(|pair| pair.expert.as_ref())?;
        let template = view.template.clone().or(Some(TemplateName::Auto));
        Some(Self { view: View { template, ..view.clone() }, ..Self::alone(source.clone()?) })
    }

    /// Every side that there is, in order, with its role.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Role, &SidePlan)> {
        let each = self.pairs.iter().enumerate().flat_map(|(i, PairPlan { expert, antiexpert, .. })| {
            [(Role::Expert(i), expert.as_ref()), (Role::Antiexpert(i), antiexpert.as_ref())]
        });
        each.filter_map(|(role, side)| Some((role, side?)))
    }

    /// Every file with the role it plays, the base first.
    pub fn sources(&self) -> impl Iterator<Item = (Role, &ModelSource)> {
        let own = self.sides().filter_map(|(role, side)| Some((role, side.source.as_ref()?)));
        std::iter::once((Role::Base, &self.base)).chain(own)
    }

    /// How every model computes.
    pub fn contexts_mut(&mut self) -> impl Iterator<Item = &mut ContextParams> {
        let sides = self.pairs.iter_mut().flat_map(|pair| [&mut pair.expert, &mut pair.antiexpert]);
        let own = sides.flatten().filter_map(|side| side.source.as_mut());
        std::iter::once(&mut self.base).chain(own).map(|source| &mut source.context)
    }

    /// Reads every file's header: that it is a model that llama.cpp survives, that its tokens are the base's, that
    /// adapters fit it; and compiles the templates that the views ask for.
    pub fn check(&self) -> Result<Facts, Error> {
        let mut facts = Facts { n_ctx_train: usize::MAX, n_vocab: 0, ids: Vec::new(), views: Vec::new() };
        let mut files: Vec<File> = Vec::new();
        for (role, ModelSource { path, adapters, .. }) in self.sources() {
            let in_file = |source| Error::File { role, source };
            if files.iter().all(|file| file.header.path() != path) {
                let file = File::read(path).map_err(in_file)?;
                if file.header.tensors().is_empty() {
                    return Err(Error::NoWeights { role, path: path.clone() });
                }
                facts.n_ctx_train = facts.n_ctx_train.min(file.header.n_ctx_train().map_err(in_file)?);
                let base = files.first().map_or(&file.vocabulary, |base| &base.vocabulary);
                facts.ids.push((path.clone(), ids_of(role, path, base, &file.vocabulary, self.allow_drift)?));
                files.push(file);
            }
            if let Some(file) = files.iter().find(|file| file.header.path() == path) {
                let fits = |lora: &Lora| gguf::adapter::check(&lora.path, &file.header);
                adapters.iter().try_for_each(fits).map_err(|source| Error::Adapter { role, source })?;
            }
        }
        facts.n_vocab = files.first().map_or(0, |base| base.vocabulary.len());
        let find = |path: &Path| files.iter().find(|file| file.header.path() == path);
        facts.views.push((Role::Base, self.view(Role::Base, &find)?));
        for (role, _) in self.sides() {
            facts.views.push((role, self.view(role, &find)?));
        }
        Ok(facts)
    }

    /// What a role asks to see, and its file. What a side that is the base leaves open is as for the base.
    fn asked(&self, role: Role) -> Option<(View, &ModelSource)> {
        let side = match role {
            Role::Base => return Some((self.view.clone(), &self.base)),
            Role::Expert(pair) => self.pairs.get(pair)?.expert.as_ref()?,
            Role::Antiexpert(pair) => self.pairs.get(pair)?.antiexpert.as_ref()?,
        };
        if let Some(source) = &side.source {
            return Some((side.view.clone(), source));
        }
        let mut view = side.view.or(&self.view);
        // Not an expert's own default: it would be another view than the base's.
        view.template.get_or_insert(TemplateName::Plain);
        Some((view, &self.base))
    }

    fn view<'a>(&self, role: Role, find: &impl Fn(&Path) -> Option<&'a File>) -> Result<prompt::View, Error> {
        let (View { template, system, prefix, prompt }, source) = self.asked(role).ok_or(Error::NoExpert { role })?;
        let file = find(&source.path).ok_or_else(|| Error::NoWeights { role, path: source.path.clone() })?;
        let template = match template {
            // The paper's arrangement: the expert is asked as it was tuned, the others continue text.
            None if matches!(role, Role::Expert(_)) => file.template().transpose(),
            Some(TemplateName::Auto) => file.template().transpose(),
            None | Some(TemplateName::Plain) => Ok(None),
            Some(TemplateName::Model) => match file.template() {
                None => return Err(Error::NoTemplate { role, path: source.path.clone() }),
                template => template.transpose(),
            },
            Some(TemplateName::File(path)) if path.extension().is_some_and(|end| end == "gguf") => {
                let file = File::read(&path).map_err(|source| Error::File { role, source })?;
                let template = file.template().ok_or(Error::NoTemplate { role, path })?;
                template.map(Some)
            }
            Some(TemplateName::File(path)) => Some(file.template_in(role, &path)?).transpose(),
            Some(TemplateName::Expert) => {
                let expert = match role {
                    Role::Base => Role::Expert(0),
                    Role::Antiexpert(pair) => Role::Expert(pair),
                    Role::Expert(_) => return Err(Error::NoExpert { role }),
                };
                let (asked, _) = self.asked(expert).ok_or(Error::NoExpert { role })?;
                if asked.template == Some(TemplateName::Expert) {
                    return Err(Error::NoExpert { role });
                }
                Ok(self.view(expert, find)?.template)
            }
        };
        let template = template.map_err(|source| Error::Prompt { role, source })?;
        Ok(prompt::View { template, system, prefix, prompt })
    }
}

impl Plan {
    /// What is computed, each once: every model with a view that it is seen under.
    #[must_use]
    pub fn computed<'a>(&'a self, facts: &'a Facts) -> Vec<(&'a ModelSource, &'a prompt::View)> {
        let mut computed = Vec::new();
        let own = |role: Role| self.sides().find(|(of, _)| *of == role).and_then(|(_, side)| side.source.as_ref());
        for (role, view) in &facts.views {
            let lane = (own(*role).unwrap_or(&self.base), view);
            if !computed.contains(&lane) {
                computed.push(lane);
            }
        }
        computed
    }
}

/// A small model's ids for the base's tokens, where they are not the same.
pub(super) fn ids_of(
    role: Role,
    path: &Path,
    base: &Vocabulary,
    vocabulary: &Vocabulary,
    allow_drift: bool,
) -> Result<Option<IdMap>, Error> {
    match vocab::compare(base, vocabulary) {
        Verdict::Different(differences) => {
            Err(Error::Vocabulary { role, path: path.to_path_buf(), differences: Box::new(differences) })
        }
        Verdict::Drifted { differences, .. } if !allow_drift => {
            Err(Error::Drift { role, path: path.to_path_buf(), differences: Box::new(differences) })
        }
        verdict => Ok(verdict.ids().cloned()),
    }
}

/// A file's header and what was made of it.
pub(super) struct File {
    pub header: Header,
    pub vocabulary: Vocabulary,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, gguf::Error> {
        let header = Header::read(path)?;
        let vocabulary = Vocabulary::of(&header)?;
        Ok(Self { header, vocabulary })
    }

    /// The file's own chat template, if it has one.
    fn template(&self) -> Option<Result<Arc<Template>, prompt::Error>> {
        let source = self.header.text("tokenizer.chat_template").filter(|text| !text.is_empty())?;
        Some(self.compile(&source))
    }

    fn compile(&self, source: &str) -> Result<Arc<Template>, prompt::Error> {
        let name = |part| self.vocabulary.special(part).and_then(|id| self.vocabulary.shown(id)).unwrap_or_default();
        Template::new(source, &name("bos"), &name("eos")).map(Arc::new)
    }

    fn template_in(&self, role: Role, path: &Path) -> Result<Result<Arc<Template>, prompt::Error>, Error> {
        use std::io::Read;
        let mut source = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_TEMPLATE_BYTES).read_to_string(&mut source));
        read.map_err(|source| Error::TemplateFile { role, path: path.to_path_buf(), source })?;
        Ok(self.compile(&source))
    }
}

/// What the files of a plan say before they are loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The longest text that every model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Size of the base's vocabulary.
    pub n_vocab: usize,
    /// Every file, with its ids for the base's tokens where they are not the same.
    ids: Vec<(PathBuf, Option<IdMap>)>,
    /// How every role that there is sees a conversation.
    views: Vec<(Role, prompt::View)>,
}

impl Facts {
    pub(super) fn ids(&self, path: &Path) -> Option<&IdMap> {
        self.ids.iter().find(|(file, _)| file == path).and_then(|(_, ids)| ids.as_ref())
    }

    /// How a role sees a conversation.
    #[must_use]
    pub fn view(&self, role: Role) -> Option<&prompt::View> {
        self.views.iter().find(|(of, _)| *of == role).map(|(_, view)| view)
    }
}
