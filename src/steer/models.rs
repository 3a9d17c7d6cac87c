//! Files as llama.cpp has them, each loaded once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Role;
use super::error::{Error, in_lane};
use super::facts::same_file;
use super::plan::ModelSource;
use crate::llama::adapter::{Adapter, Scaled};
use crate::llama::backend::Backend;
use crate::llama::context::ContextParams;
use crate::llama::model::{Model, ModelParams};

/// Models by file, so that each file is loaded once however many roles it plays; adapters with the model they are for.
#[derive(Debug, Default)]
pub struct Models {
    models: Vec<(PathBuf, ModelParams, Arc<Model>)>,
    adapters: Vec<(PathBuf, Arc<Model>, Arc<Adapter>)>,
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
        if let Some((_, _, model)) = self.models.iter().find(same) {
            return Ok(model.clone());
        }
        let report = |share| progress(role, path, share);
        let model = Model::load(backend, path, params, report).map_err(in_lane(role))?;
        let model = Arc::new(model);
        self.models.push((path.clone(), params.clone(), model.clone()));
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
        Ok(Source { model, adapters, params: source.context.clone() })
    }

    /// How many models are loaded.
    #[must_use]
    pub fn n_loaded(&self) -> usize {
        self.models.len()
    }
}

/// What computes the logits of a lane.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub model: Arc<Model>,
    pub adapters: Vec<Scaled>,
    pub params: ContextParams,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        let same = |((a, x), (b, y)): (&Scaled, &Scaled)| Arc::ptr_eq(a, b) && x == y;
        Arc::ptr_eq(&self.model, &other.model)
            && self.params == other.params
            && self.adapters.len() == other.adapters.len()
            && self.adapters.iter().zip(&other.adapters).all(same)
    }
}
