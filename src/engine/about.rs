//! What an ensemble is: facts that no request changes.

use serde::{Deserialize, Serialize};

use crate::llama::Token;
use crate::llama::fill_in::FillIn;
use crate::llama::model::Model;
use crate::recipe::Schedule;
use crate::steer::{Loaded, Role};

/// Facts of an ensemble. Tokens are by the ids of the base, or of the first lane where a host decodes the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Tokens that a text can hold, prompt and answer together.
    pub n_ctx: usize,
    /// The longest text that every model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Size of the vocabulary.
    pub n_vocab: usize,
    /// Every role, the base first.
    pub roles: Vec<AboutRole>,
    /// Of all models together, each counted once.
    pub n_params: u64,
    pub n_bytes: u64,
    /// α of each pair as planned.
    pub alphas: Vec<Schedule>,
    /// The weights as planned, in words, where they are more than an α for each pair.
    pub weights: Option<String>,
    pub bos: Option<Named>,
    pub eos: Option<Named>,
    pub pad: Option<Named>,
    /// Tokenised text starts with BOS.
    pub starts_with_bos: bool,
    /// The tokens that end a text of the base by itself, in order.
    pub eog: Vec<Token>,
    /// What fills in the middle of a text, as far as the vocabulary has it.
    pub fill_in: FillIn,
}

/// Facts of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutRole {
    pub role: Role,
    /// The name of its model's file, without the folder.
    pub file: String,
    /// Architecture, size and quantisation in llama.cpp's words.
    pub description: String,
    pub n_ctx_train: usize,
    pub n_vocab: usize,
    pub n_params: u64,
    pub n_bytes: u64,
    /// Source of the chat template that it sees conversations through; `None` for plain text.
    pub template: Option<String>,
    /// Source of the chat template in its file.
    pub own_template: Option<String>,
}

/// A token and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub id: Token,
    pub text: String,
}

impl About {
    /// The base's facts, or the first role's where a host decodes the base. `None` for an ensemble of nothing.
    #[must_use]
    pub fn base(&self) -> Option<&AboutRole> {
        self.roles.first()
    }

    #[must_use]
    pub fn role(&self, role: Role) -> Option<&AboutRole> {
        self.roles.iter().find(|about| about.role == role)
    }

    #[must_use]
    pub fn of(loaded: &Loaded) -> Self {
        let topology = loaded.topology();
        let model = loaded.model(0);
        let named = |id: Token| Named { id, text: model.piece(id) };
        let all = 0..Token::try_from(model.n_vocab()).unwrap_or(Token::MAX);
        Self {
            n_ctx: loaded.n_ctx(),
            n_ctx_train: loaded.models().map(|model| model.n_ctx_train()).min().unwrap_or(0),
            n_vocab: topology.n_vocab(),
            roles: topology.roles().filter_map(|role| AboutRole::of(loaded, role)).collect(),
            n_params: loaded.models().map(|model| model.n_params()).sum(),
            n_bytes: loaded.models().map(|model| model.n_bytes()).sum(),
            alphas: topology.alphas().cloned().collect(),
            weights: Some(topology.planned()).filter(|weights| !weights.are_alphas()).map(ToString::to_string),
            bos: model.bos().map(named),
            eos: model.eos().map(named),
            pad: model.pad().map(named),
            starts_with_bos: model.leading_bos().is_some(),
            eog: all.filter(|&token| model.is_eog(token)).collect(),
            fill_in: model.fill_in(),
        }
    }
}

impl AboutRole {
    fn of(loaded: &Loaded, role: Role) -> Option<Self> {
        let lane = loaded.lane(role)?;
        let model: &Model = loaded.model(lane);
        // A server does not say.
        let (n_params, n_bytes) = loaded.size(lane).unwrap_or_default();
        Some(Self {
            role,
            file: loaded.name(lane),
            description: loaded
                .server_of(role)
                .map_or_else(|| model.description(), |server| server.offer().to_string()),
            n_ctx_train: model.n_ctx_train(),
            n_vocab: model.n_vocab(),
            n_params,
            n_bytes,
            template: loaded.lanes()[lane].view.template.as_ref().map(|template| template.source().to_owned()),
            own_template: model.chat_template(),
        })
    }
}
