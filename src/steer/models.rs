//! Files as llama.cpp has them, each loaded once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Role;
use super::error::{Error, in_lane, on_server};
use super::facts::same_file;
use super::plan::{Base, ModelSource, Plan};
use crate::llama::Token;
use crate::llama::adapter::{Adapter, Scaled};
use crate::llama::backend::Backend;
use crate::llama::context::ContextParams;
use crate::llama::model::{Model, ModelParams};
use crate::remote::{self, Server, Words};
use crate::vocab::Vocabulary;

/// Models by file, so that each file is loaded once however many roles it plays; adapters with the model they are for.
#[derive(Debug, Default)]
pub struct Models {
    loaded: Vec<(PathBuf, ModelParams, Arc<Model>)>,
    adapters: Vec<(PathBuf, Arc<Model>, Arc<Adapter>)>,
    servers: Vec<(remote::Source, Arc<Server>)>,
}

impl Models {
    /// The model of a source, loaded unless it already is.
    pub fn get(
        &mut self,
        backend: &Backend,
        role: Role,
        source: &ModelSource,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Arc<Model>, Error> {
        let ModelSource { path, model: params, .. } = source;
        let same = |(loaded, with, _): &&(PathBuf, ModelParams, _)| with == params && same_file(loaded, path);
        if let Some((_, _, model)) = self.loaded.iter().find(same) {
            return Ok(model.clone());
        }
        let report = |share| progress(role, path, share);
        let model = Model::load(backend, path, params, report).map_err(in_lane(role))?;
        let model = Arc::new(model);
        self.loaded.push((path.clone(), params.clone(), model.clone()));
        Ok(model)
    }

    /// A source's adapters with their scales, loaded unless they already are.
    fn adapters(&mut self, model: &Arc<Model>, source: &ModelSource) -> Result<Vec<Scaled>, crate::llama::Error> {
        let mut found = Vec::new();
        for lora in &source.adapters {
            let same = |(path, of, _): &&(PathBuf, _, _)| Arc::ptr_eq(of, model) && same_file(path, &lora.path);
            let adapter = if let Some((_, _, adapter)) = self.adapters.iter().find(same) {
                adapter.clone()
            } else {
                let adapter = Arc::new(Adapter::load(model, &lora.path)?);
                self.adapters.push((lora.path.clone(), model.clone(), adapter.clone()));
                adapter
            };
            found.push((adapter, lora.scale));
        }
        Ok(found)
    }

    /// A source's model and adapters, loaded unless they already are.
    pub(super) fn source(
        &mut self,
        backend: &Backend,
        role: Role,
        source: &ModelSource,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Source, Error> {
        let model = self.get(backend, role, source, progress)?;
        let adapters = self.adapters(&model, source).map_err(in_lane(role))?;
        Ok(Source { model, adapters, params: source.context.clone(), server: None })
    }

    /// A server, asked who it is unless it has been. `speller` is a model with its tokenizer, whose file has `vocabulary`.
    pub(super) fn server(
        &mut self,
        source: &remote::Source,
        speller: &Model,
        vocabulary: &Vocabulary,
    ) -> Result<Arc<Server>, remote::Error> {
        if let Some((_, server)) = self.servers.iter().find(|(known, _)| known == source) {
            return Ok(server.clone());
        }
        let server = Arc::new(Server::connect(source, words(speller), vocabulary)?);
        self.servers.push((source.clone(), server.clone()));
        Ok(server)
    }

    /// The server of a plan's base, asked who it is unless it has been; `None` where the base is on none. Loads the first small
    /// model, which has the tokenizer.
    pub fn meet(&mut self, backend: &Backend, plan: &Plan) -> Result<Option<Arc<Server>>, Error> {
        let Base::Remote(source) = &plan.base else { return Ok(None) };
        let facts = plan.check()?;
        let (role, speller) = plan.sources().next().ok_or(Error::NoSpeller)?;
        let speller = self.get(backend, role, speller, &mut |_, _, _| true)?;
        let vocabulary = facts.host.as_ref().ok_or(Error::NoSpeller)?;
        let met = self.server(source, &speller, vocabulary);
        met.map(Some).map_err(on_server(Role::Base))
    }

    /// How many models are loaded.
    #[must_use]
    pub fn n_loaded(&self) -> usize {
        self.loaded.len()
    }
}

/// What a model's tokens stand for.
fn words(model: &Model) -> Words {
    let all = 0..Token::try_from(model.n_vocab()).unwrap_or(Token::MAX);
    let token = |token: Token| {
        let mut piece = Vec::new();
        // What cannot be spelled has no bytes, and is never asked for.
        let _ = model.append_piece(token, &mut piece);
        let is_special = piece.is_empty();
        if is_special {
            let _ = model.append_named(token, &mut piece);
        }
        (piece.into(), is_special)
    };
    Words::new(all.clone().map(token), all.filter(|&token| model.is_eog(token)).collect())
}

/// What computes the logits of a lane.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub model: Arc<Model>,
    pub adapters: Vec<Scaled>,
    pub params: ContextParams,
    /// What computes in the model's place, which spells for it.
    pub server: Option<Arc<Server>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        let same = |((a, x), (b, y)): (&Scaled, &Scaled)| Arc::ptr_eq(a, b) && x == y;
        Arc::ptr_eq(&self.model, &other.model)
            && self.server.as_ref().map(Arc::as_ptr) == other.server.as_ref().map(Arc::as_ptr)
            && self.params == other.params
            && self.adapters.len() == other.adapters.len()
            && self.adapters.iter().zip(&other.adapters).all(same)
    }
}
