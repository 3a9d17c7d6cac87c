//! The bundled trio, and short ways to generate with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proxytune::arithmetic::offset::Term;
use proxytune::engine::Engine;
use proxytune::generate::{self, Failure, Finish, Input, Request};
use proxytune::llama::Token;
use proxytune::llama::backend::{self, Backend};
use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::model::Model;
use proxytune::prompt::Conversation;
use proxytune::recipe::Schedule;
use proxytune::sampling::Sampling;
use proxytune::steer::{
    Ensemble, Error, ModelSource, Models, PairPlan, Plan, Prompts, Role, Sampled, Sequence, SidePlan, WeightsRequest,
    Work,
};

use crate::gguf::Spec;

pub const PROMPT: &str = "Once upon a time there was a little girl";

pub fn file(role: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo").join(role).with_extension("gguf")
}

/// One thread: the models are tiny, and tests run beside one another.
pub fn source(path: impl Into<PathBuf>) -> ModelSource {
    let context = ContextParams { n_ctx: 256, n_threads: 1, ..ContextParams::default() };
    ModelSource { context, ..ModelSource::new(path) }
}

#[allow(clippy::unnecessary_wraps, reason = "a side of a pair, to stand beside None")]
pub fn model(path: impl Into<PathBuf>) -> Option<SidePlan> {
    Some(source(path).into())
}

pub fn plan(base: &str, pairs: &[(f32, Option<SidePlan>, Option<SidePlan>)]) -> Plan {
    let pair = |(alpha, expert, antiexpert): &(f32, Option<SidePlan>, Option<SidePlan>)| PairPlan {
        alpha: Schedule::constant(*alpha),
        expert: expert.clone(),
        antiexpert: antiexpert.clone(),
        ..PairPlan::default()
    };
    Plan { pairs: pairs.iter().map(pair).collect(), ..Plan::alone(source(file(base))) }
}

/// Base, expert and antiexpert as bundled.
pub fn demo(alpha: f32) -> Plan {
    plan("base", &[(alpha, model(file("expert")), model(file("antiexpert")))])
}

/// A tiny base that attends, with a pair that is recurrent: what a lane of that has read cannot be taken back in part.
pub fn with_recurrent_pair(folder: &Path) -> Plan {
    let write = |name: &str, spec: &Spec| {
        let path = folder.join(name).with_extension("gguf");
        spec.write(&path).expect("writable");
        source(path)
    };
    let [expert, antiexpert] = [1, 2].map(|seed| write(&format!("mamba-{seed}"), &Spec { seed, ..Spec::mamba() }));
    let pair = PairPlan {
        alpha: Schedule::constant(1.0),
        expert: Some(expert.into()),
        antiexpert: Some(antiexpert.into()),
        ..PairPlan::default()
    };
    Plan { pairs: vec![pair], ..Plan::alone(write("base", &Spec::tiny())) }
}

pub fn backend() -> Backend {
    backend::shared().expect("nobody else holds it")
}

/// An ensemble with an engine for it, and a sequence that a test runs by hand.
pub struct Steered {
    pub engine: Engine,
    sequence: Option<Sequence>,
}

pub fn load(plan: &Plan) -> Result<Steered, Error> {
    load_with(plan, &mut Models::default())
}

pub fn load_with(plan: &Plan, models: &mut Models) -> Result<Steered, Error> {
    proxytune::llama::log::capture(false);
    let ensemble = Ensemble::load(&backend(), plan, models, &mut |_, _, _| true)?;
    Ok(Steered { engine: Engine::inline(ensemble), sequence: None })
}

impl std::fmt::Debug for Steered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steered").field("ensemble", self.ensemble()).finish_non_exhaustive()
    }
}

impl Steered {
    pub fn ensemble(&self) -> &Ensemble {
        self.engine.ensemble()
    }

    /// The base's model.
    pub fn model(&self) -> &Arc<Model> {
        self.ensemble().model(0)
    }

    pub fn roles(&self) -> Vec<Role> {
        self.ensemble().lanes().iter().map(|lane| lane.role).collect()
    }

    pub fn prompts(&self, conversation: &Conversation) -> Result<Prompts, Error> {
        self.ensemble().prompts(Sampled::Steered, conversation, &[])
    }

    pub fn tokenize(&self, text: &str) -> Result<Prompts, Error> {
        self.prompts(&Conversation::prompt(text))
    }

    /// What a role is given.
    pub fn role<'a>(&self, role: Role, prompts: &'a Prompts) -> &'a [Token] {
        prompts.lane(self.ensemble().lane(role).expect("a lane"))
    }

    /// Runs a request to its end.
    pub fn run(&mut self, request: &Request) -> generate::Answer {
        let (stop, mut answer) = (AtomicBool::new(false), generate::Answer::default());
        self.engine.run(request, &stop, &mut answer, |_, _| Ok(())).expect("nothing is written");
        answer
    }

    /// The sequence that is run by hand, with what runs it.
    pub fn by_hand(&mut self) -> (&mut Ensemble, &mut Sequence) {
        if self.sequence.is_none() {
            self.engine.forget();
            self.sequence = Some(self.engine.ensemble_mut().open().expect("nobody else has it"));
        }
        (self.engine.ensemble_mut(), self.sequence.as_mut().expect("it is there"))
    }

    /// Reads prompts to their ends.
    pub fn read(&mut self, prompts: &Prompts) -> Result<(), Error> {
        let (ensemble, sequence) = self.by_hand();
        ensemble.begin(sequence, Sampled::Steered, prompts)?;
        ensemble.read(sequence, || true).map(drop)
    }

    /// Decodes tokens behind what is there, on every lane, a row for each.
    pub fn decode(&mut self, tokens: &[Token]) -> Result<(), Error> {
        let (ensemble, sequence) = self.by_hand();
        tokens.iter().try_for_each(|&token| ensemble.push(sequence, token))?;
        step(ensemble, Work { sequence, n_tokens: usize::MAX, outputs: Outputs::All, ahead: None })
    }

    /// Decodes a token on one lane ahead of the others.
    pub fn ahead(&mut self, lane: usize, token: Token) -> Result<(), Error> {
        let (ensemble, sequence) = self.by_hand();
        ensemble.push(sequence, token)?;
        step(ensemble, Work { sequence, n_tokens: 1, outputs: Outputs::All, ahead: Some(lane) })
    }

    /// The row that predicts what follows so many tokens of the answer.
    pub fn composed(&self, position: usize, plausibility: f32) -> Result<Vec<f32>, Error> {
        let mut row = Vec::new();
        let sequence = self.sequence.as_ref().expect("a sequence");
        self.ensemble().composed(sequence, position, plausibility, &mut row)?;
        Ok(row)
    }

    /// The base's logits behind so many tokens of the answer, and the terms to add to them.
    pub fn row(&self, position: usize) -> Result<(&[f32], Vec<Term<'_>>), Error> {
        self.ensemble().row(self.sequence.as_ref().expect("a sequence"), position)
    }

    pub fn n_held(&self) -> Vec<usize> {
        let sequence = self.sequence.as_ref().expect("a sequence");
        sequence.lanes().map(|lane| sequence.n_held(lane)).collect()
    }
}

fn step(ensemble: &mut Ensemble, work: Work<'_>) -> Result<(), Error> {
    ensemble.step(&mut [work]).into_iter().collect()
}

/// α of each pair, or one for all.
pub fn alphas(alphas: &[f32]) -> WeightsRequest {
    WeightsRequest {
        alpha: alphas.iter().map(|&alpha| Schedule::constant(alpha)).collect(),
        ..WeightsRequest::default()
    }
}

pub fn greedy(n_predict: usize) -> Request {
    Request { sampling: Sampling::greedy(), n_predict: Some(n_predict), ..Request::default() }
}

/// llama.cpp's default chain with a fixed seed.
pub fn sampled(n_predict: usize, seed: u32) -> Request {
    let sampling = Sampling { seed: Some(seed), ..Sampling::default() };
    Request { sampling, n_predict: Some(n_predict), ..Request::default() }
}

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub tokens: Vec<Token>,
    pub text: String,
    pub finish: Finish,
}

pub fn generate(steered: &mut Steered, prompt: &str, request: &Request) -> Result<Answer, Failure> {
    let input = Input::Conversation(Conversation::prompt(prompt));
    // As if nobody had asked before.
    steered.engine.forget();
    let answer = steered.run(&Request { input, ..request.clone() });
    match answer.failure {
        Some(failure) => Err(failure),
        None => Ok(Answer { tokens: answer.tokens, text: answer.text, finish: answer.finish.expect("it has ended") }),
    }
}

/// Loads a plan and answers [`PROMPT`].
pub fn answer(plan: &Plan, request: &Request) -> Answer {
    generate(&mut load(plan).expect("the trio loads"), PROMPT, request).expect("it generates")
}
