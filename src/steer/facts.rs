//! What the files of a plan say before the first one is loaded.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plan::{Base, HostVocabulary, ModelSource, Plan};
use super::{Error, Role};
use crate::gguf::{self, Header};
use crate::llama::context::Sequences;
use crate::prompt::{self, Template};
use crate::recipe::View;
use crate::recipe::model_spec::Lora;
use crate::recipe::view::TemplateName;
use crate::text_file;
use crate::vocab::{self, IdMap, Verdict, Vocabulary};

/// A longer template is none.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

/// What the files of a plan say before they are loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The longest text that every model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Size of the base's vocabulary.
    pub n_vocab: usize,
    /// The vocabulary of a base that a host or a server decodes, where it is known by a file.
    pub(super) host: Option<Vocabulary>,
    /// Every file, with its ids for the base's tokens where they are not the same.
    ids: Vec<(PathBuf, Option<IdMap>)>,
    /// How every role that there is sees a conversation.
    views: Vec<(Role, prompt::View)>,
    /// The base's file has a chat template of its own.
    pub base_has_template: bool,
    /// Tensors of a role's adapters that llama.cpp does not apply.
    pub left_out: Vec<LeftOut>,
}

/// Tensors of an adapter that llama.cpp does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub role: Role,
    pub adapter: PathBuf,
    pub tensors: Vec<String>,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const N_SHOWN: usize = 3;
        let Self { adapter, tensors, .. } = self;
        let shown: Vec<_> = tensors.iter().take(N_SHOWN).map(|name| format!("`{name}`")).collect();
        write!(f, "llama.cpp does not apply what {} has for {}", adapter.display(), shown.join(", "))?;
        match tensors.len().saturating_sub(N_SHOWN) {
            0 => Ok(()),
            n => write!(f, " and {n} more tensors"),
        }
    }
}

impl Facts {
    /// The ids of a file's model.
    pub(super) fn ids(&self, path: &Path) -> Option<&IdMap> {
        self.ids.iter().find(|(file, _)| file == path).and_then(|(_, ids)| ids.as_ref())
    }

    /// How a role sees a conversation.
    #[must_use]
    pub fn view(&self, role: Role) -> Option<&prompt::View> {
        self.views.iter().find(|(of, _)| *of == role).map(|(_, view)| view)
    }
}

impl Plan {
    /// Reads every file's header: that it is a model that llama.cpp survives, that its tokens are the base's, that
    /// adapters fit it; and compiles the templates that the views ask for.
    pub fn check(&self) -> Result<Facts, Error> {
        let mut facts = Facts {
            n_ctx_train: usize::MAX,
            host: None,
            n_vocab: 0,
            ids: Vec::new(),
            views: Vec::new(),
            base_has_template: false,
            left_out: Vec::new(),
        };
        let mut files: Vec<File> = Vec::new();
        if let Base::Host(host) = &self.base {
            self.check_beside(host)?;
            facts.host = host.read()?;
        }
        for (role, ModelSource { path, adapters, .. }) in self.sources() {
            let in_file = |source| Error::File { role, source };
            if files.iter().all(|file| file.header.path() != path) {
                let file = File::read(path).map_err(in_file)?;
                if file.header.tensors().is_empty() {
                    return Err(Error::NoWeights { role, path: path.clone() });
                }
                facts.n_ctx_train = facts.n_ctx_train.min(file.header.n_ctx_train().map_err(in_file)?);
                let base = match (&self.base, files.first()) {
                    (Base::Host(_), _) => facts.host.as_ref(),
                    (Base::Model(_) | Base::Remote(_), None) => Some(&file.vocabulary),
                    (Base::Model(_) | Base::Remote(_), Some(base)) => Some(&base.vocabulary),
                };
                if let Some(base) = base {
                    facts.ids.push((path.clone(), ids_of(role, path, base, &file.vocabulary, self.allow_drift)?));
                }
                files.push(file);
            }
            if let Some(file) = files.iter().find(|file| file.header.path() == path) {
                for Lora { path: adapter, .. } in adapters {
                    let tensors = gguf::adapter::check(adapter, &file.header);
                    let tensors = tensors.map_err(|source| Error::Adapter { role, source })?;
                    if !tensors.is_empty() {
                        facts.left_out.push(LeftOut { role, adapter: adapter.clone(), tensors });
                    }
                }
            }
        }
        let find = |path: &Path| files.iter().find(|file| file.header.path() == path);
        if let Base::Host(_) = self.base {
            facts.n_vocab = facts.host.as_ref().map_or(0, Vocabulary::len);
            facts.views.extend(self.sides().map(|(role, _)| (role, prompt::View::default())));
            return Ok(facts);
        }
        facts.n_vocab = files.first().map_or(0, |base| base.vocabulary.len());
        if let Base::Remote(_) = self.base {
            facts.host = files.first().map(|speller| speller.vocabulary.clone());
        }
        let has_file = matches!(self.base, Base::Model(_));
        facts.base_has_template = has_file && files.first().is_some_and(|base| base.own_template().is_some());
        facts.views.push((Role::Base, self.view(Role::Base, &find)?));
        for (role, _) in self.sides() {
            facts.views.push((role, self.view(role, &find)?));
        }
        Ok(facts)
    }

    /// A host's base has no second view here, and no second copy.
    fn check_beside(&self, host: &HostVocabulary) -> Result<(), Error> {
        for (role, side) in self.sides() {
            let source = side.source.as_ref().ok_or(Error::OfBase { role })?;
            if matches!(host, HostVocabulary::File(base) if same_file(base, &source.path)) {
                return Err(Error::OfBase { role });
            }
            if side.view != View::default() {
                return Err(Error::OwnPrompt { role });
            }
        }
        Ok(())
    }

    /// What a role asks to see, and its file. What a side that is the base leaves open is as for the base.
    fn asked(&self, role: Role) -> Option<(View, &ModelSource)> {
        let base = self.base.source().or_else(|| self.speller())?;
        let side = match role {
            Role::Base => return Some((self.view.clone(), base)),
            Role::Expert(pair) => self.pairs.get(pair)?.expert.as_ref()?,
            Role::Antiexpert(pair) => self.pairs.get(pair)?.antiexpert.as_ref()?,
        };
        if let Some(source) = &side.source {
            return Some((side.view.clone(), source));
        }
        let mut view = side.view.or(&self.view);
        // Not an expert's own default: it would be another view than the base's.
        view.template.get_or_insert(TemplateName::Plain);
        Some((view, base))
    }

    /// The file that has the tokenizer and templates of a base on a server: the first small model's.
    fn speller(&self) -> Option<&ModelSource> {
        let is_remote = matches!(self.base, Base::Remote(_));
        self.sources().next().filter(|_| is_remote).map(|(_, source)| source)
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
            Some(TemplateName::BuiltIn(template)) => file.compile(template.source()).map(Some),
            Some(TemplateName::Source(source)) => file.compile(&source).map(Some),
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
    /// Whether the base has no say, and is computed all the same: its weight and those of the sides that are the base, under
    /// the same prompt, come to 0 all along the answer. `antiexpert = base` at α = 1 is the expert alone.
    #[must_use]
    pub fn cancels_base(&self, facts: &Facts) -> bool {
        let base = self.base.source();
        let is_base = |role: Role| {
            let side = self.sides().find(|(of, _)| *of == role).map(|(_, side)| side.source.as_ref().or(base));
            side.is_some_and(|source| source == base) && facts.view(role) == facts.view(Role::Base)
        };
        base.is_some() && self.weights().cancel_base(is_base)
    }

    /// What is computed, each once: every model with a view that it is seen under.
    #[must_use]
    pub fn computed<'a>(&'a self, facts: &'a Facts) -> Vec<(&'a ModelSource, &'a prompt::View)> {
        let mut computed = Vec::new();
        for (role, view) in &facts.views {
            let Some(source) = self.source_of(*role) else { continue };
            let lane = (source, view);
            if !computed.contains(&lane) {
                computed.push(lane);
            }
        }
        computed
    }

    /// Every context that is opened for the plan, with the first role that it computes for and its sequences.
    #[must_use]
    pub fn contexts(&self, facts: &Facts) -> Vec<(Role, &ModelSource, Sequences)> {
        // A host feeds experts and antiexperts apart, even where they are one model.
        let is_apart = |role: Role| matches!(self.base, Base::Host(_)) && matches!(role, Role::Expert(_));
        let mut lanes: Vec<(Role, &ModelSource, &prompt::View, bool)> = Vec::new();
        for (role, view) in &facts.views {
            let Some(source) = self.source_of(*role) else { continue };
            if !lanes.iter().any(|(_, of, seen, apart)| (*of, *seen, *apart) == (source, view, is_apart(*role))) {
                lanes.push((*role, source, view, is_apart(*role)));
            }
        }
        let mut contexts: Vec<(Role, &ModelSource, Sequences)> = Vec::new();
        for (role, source, ..) in &lanes {
            if contexts.iter().all(|(_, of, _)| of != source) {
                let n_lanes = lanes.iter().filter(|(_, of, ..)| of == source).count();
                contexts.push((*role, source, self.texts.sequences(n_lanes)));
            }
        }
        contexts
    }

    /// What a role computes with: a side that is the base has the base's.
    fn source_of(&self, role: Role) -> Option<&ModelSource> {
        let own = self.sides().find(|(of, _)| *of == role).and_then(|(_, side)| side.source.as_ref());
        own.or(self.base.source())
    }
}

impl HostVocabulary {
    /// The vocabulary in the base's file; `None` where the host tells it token by token.
    fn read(&self) -> Result<Option<Vocabulary>, Error> {
        let Self::File(path) = self else { return Ok(None) };
        let file = File::read(path).map_err(|source| Error::File { role: Role::Base, source })?;
        Ok(Some(file.vocabulary))
    }
}

pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
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
struct File {
    pub header: Header,
    pub vocabulary: Vocabulary,
}

impl File {
    fn read(path: &Path) -> Result<Self, gguf::Error> {
        let header = Header::read(path)?;
        let vocabulary = Vocabulary::of(&header)?;
        Ok(Self { header, vocabulary })
    }

    /// The source of the file's own chat template, if it has one.
    fn own_template(&self) -> Option<String> {
        self.header.text("tokenizer.chat_template").filter(|text| !text.is_empty())
    }

    /// The same, compiled.
    fn template(&self) -> Option<Result<Arc<Template>, prompt::Error>> {
        Some(self.compile(&self.own_template()?))
    }

    fn compile(&self, source: &str) -> Result<Arc<Template>, prompt::Error> {
        let name = |part| self.vocabulary.special(part).and_then(|id| self.vocabulary.shown(id)).unwrap_or_default();
        Template::new(source, &name("bos"), &name("eos")).map(Arc::new)
    }

    fn template_in(&self, role: Role, path: &Path) -> Result<Result<Arc<Template>, prompt::Error>, Error> {
        let source =
            text_file::read(path, MAX_TEMPLATE_BYTES).map_err(|source| Error::TemplateFile { role, source })?;
        Ok(self.compile(&source))
    }
}
