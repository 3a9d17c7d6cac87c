//! The runs themselves: prompts read, tokens generated, in turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::Timestamp;

use super::batches::Batches;
use super::costs::{self, StepCosts};
use super::row::How;
use super::{Error, Progress, Settings, Subjects};
use crate::generate::draft::{Draft, Stats};
use crate::generate::{Finish, Generation, Request};
use crate::llama::Token;
use crate::llama::invariance::Invariance;
use crate::prompt::Conversation;
use crate::steer::{self, Prompts, Steered};

/// Tokens of a run that only warms up.
const N_WARM_UP: usize = 16;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Timed {
    pub reading: Test,
    pub generating: Test,
    /// Of every speculative run, taken together.
    pub stats: Stats,
    /// Steered texts with guesses, and those of them that are what lockstep wrote.
    pub n_texts: usize,
    pub n_same: usize,
    /// Tokens of a prompt, on average.
    pub n_prompt: f64,
    pub costs: Vec<StepCosts>,
    pub batches: Vec<Batches>,
}

/// Rounds of one kind of run; in each every subject has its turn.
#[derive(Debug, Default)]
pub(super) struct Test {
    pub subjects: Vec<How>,
    pub began: Timestamp,
    /// Nanoseconds by round and subject. A round that was broken off is not among them.
    pub rounds: Vec<Vec<u64>>,
}

impl Test {
    /// All runs of a subject.
    pub fn samples(&self, subject: How) -> Option<Vec<u64>> {
        let at = self.subjects.iter().position(|of| *of == subject)?;
        Some(self.rounds.iter().map(|round| round[at]).collect())
    }
}

/// A generated text.
struct Text {
    ns: u64,
    tokens: Vec<Token>,
    stats: Stats,
}

pub(super) struct Runner<'a> {
    subjects: &'a mut Subjects,
    settings: &'a Settings,
    /// By conversation and subject, those alone first.
    prompts: Vec<Vec<Prompts>>,
    cancel: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress<'_>),
    n_done: usize,
    n_all: usize,
}

impl<'a> Runner<'a> {
    /// Tokenizes the prompts, and refuses those that leave no room for what is to be generated.
    pub fn new(
        subjects: &'a mut Subjects,
        settings: &'a Settings,
        conversations: &[Conversation],
        cancel: &'a AtomicBool,
        progress: &'a mut dyn FnMut(&Progress<'_>),
    ) -> Result<Self, Error> {
        let of =
            |conversation| subjects.all().map(|steered| steered.prompts(conversation)).collect::<Result<Vec<_>, _>>();
        let prompts = conversations.iter().map(of).collect::<Result<Vec<_>, steer::Error>>()?;
        for of in &prompts {
            subjects.all().zip(of).try_for_each(|(steered, prompts)| check_room(steered, prompts, settings.n_gen))?;
        }
        Ok(Self { subjects, settings, prompts, cancel, progress, n_done: 0, n_all: 0 })
    }

    pub fn run(&mut self) -> Result<Timed, Error> {
        let Settings { n_repetitions, draft, .. } = self.settings;
        let alone = (0..self.subjects.alone.len()).map(How::Alone);
        let together = self.subjects.steered.is_some();
        let speculates = together && draft.n_step() > 1;
        let reading: Vec<_> = alone.clone().chain(together.then_some(How::Lockstep)).collect();
        let generating: Vec<_> = reading.iter().copied().chain(speculates.then_some(How::Speculative)).collect();
        let reading = if self.settings.n_prompt > 0 { reading } else { Vec::new() };
        let generating = if self.settings.n_gen > 0 { generating } else { Vec::new() };
        let n_generating = n_repetitions * self.prompts.len();
        let n_of_steps = self.subjects.all().count();
        let n_probes = self.subjects.alone.len();
        self.n_all = reading.len() * n_repetitions + generating.len() * n_generating + n_of_steps + n_probes;

        let n_tokens: usize = self.prompts.iter().map(|of| of[0].base().len()).sum();
        let n_prompt = n_tokens as f64 / self.prompts.len().max(1) as f64;
        let mut timed = Timed { n_prompt, ..Timed::default() };
        self.read_prompts(&reading, &mut timed.reading)?;
        self.generate_texts(&generating, &mut timed)?;
        self.measure_steps(&mut timed.costs)?;
        self.compare_batches(&mut timed.batches)?;
        Ok(timed)
    }

    fn goes_on(&self) -> bool {
        !self.cancel.load(Ordering::Relaxed)
    }

    fn tell(&mut self, what: &str) {
        (self.progress)(&Progress { what, n_done: self.n_done, n_all: self.n_all });
        self.n_done += 1;
    }

    fn subject(&mut self, how: How) -> Option<&mut Steered> {
        match how {
            How::Alone(i) => Some(&mut self.subjects.alone[i].steered),
            How::Lockstep | How::Speculative => self.subjects.steered.as_mut(),
        }
    }

    fn read_prompts(&mut self, subjects: &[How], test: &mut Test) -> Result<(), Error> {
        let Settings { n_prompt, n_repetitions, warms_up, .. } = *self.settings;
        test.subjects = subjects.to_vec();
        test.began = Timestamp::now();
        if test.subjects.is_empty() {
            return Ok(());
        }
        for repetition in usize::from(!warms_up)..=n_repetitions {
            let mut round = vec![0; test.subjects.len()];
            for at in turns(test.subjects.len(), repetition) {
                let how = test.subjects[at];
                if repetition > 0 {
                    let what = format!("pp{n_prompt} {}, {repetition} of {n_repetitions}", self.name(how));
                    self.tell(&what);
                }
                let Some(ns) = self.read(how)? else { return Ok(()) };
                round[at] = ns;
            }
            if repetition > 0 {
                test.rounds.push(round);
            }
        }
        Ok(())
    }

    /// Nanoseconds to read the test's prompt; `None` where it was broken off.
    fn read(&mut self, how: How) -> Result<Option<u64>, Error> {
        let n_prompt = self.settings.n_prompt;
        let cancel = self.cancel;
        let Some(steered) = self.subject(how) else { return Ok(None) };
        let prompts = steered.same(&scattered(steered, n_prompt))?;
        steered.clear();
        let began = Instant::now();
        let done = steered.prefill(&prompts, || !cancel.load(Ordering::Relaxed))?;
        let ns = began.elapsed().as_nanos() as u64;
        Ok(done.then_some(ns))
    }

    fn generate_texts(&mut self, subjects: &[How], timed: &mut Timed) -> Result<(), Error> {
        let Settings { n_gen, n_repetitions, warms_up, .. } = *self.settings;
        timed.generating.subjects = subjects.to_vec();
        timed.generating.began = Timestamp::now();
        if subjects.is_empty() {
            return Ok(());
        }
        if warms_up {
            for &how in subjects {
                if self.generate(how, 0, n_gen.min(N_WARM_UP))?.is_none() {
                    return Ok(());
                }
            }
        }
        let n_prompts = self.prompts.len();
        for repetition in 1..=n_repetitions {
            for prompt in 0..n_prompts {
                let mut texts: Vec<Option<Text>> = subjects.iter().map(|_| None).collect();
                for at in turns(subjects.len(), repetition + prompt) {
                    let how = subjects[at];
                    let name = self.name(how);
                    self.tell(&format!(
                        "tg{n_gen} {name}, {repetition} of {n_repetitions}, prompt {} of {n_prompts}",
                        prompt + 1
                    ));
                    texts[at] = self.generate(how, prompt, n_gen)?;
                    if texts[at].is_none() {
                        return Ok(());
                    }
                }
                timed.take_in(texts.into_iter().flatten().collect());
            }
        }
        Ok(())
    }

    /// Continues a prompt by `n` tokens, timed from the first one on; `None` where it was broken off.
    fn generate(&mut self, how: How, prompt: usize, n: usize) -> Result<Option<Text>, Error> {
        let cancel = self.cancel;
        let Settings { sampling, alphas, draft, .. } = self.settings;
        let (draft, alphas) = match how {
            How::Alone(_) => (Draft::off(), Vec::new()),
            How::Lockstep => (Draft::off(), alphas.clone()),
            How::Speculative => (draft.clone(), alphas.clone()),
        };
        let mut sampling = sampling.clone();
        sampling.ignore_eos = true;
        // The first token comes out of the prompt, without a decode of its own.
        let request = Request { sampling, alphas, n_predict: Some(n + 1), draft, ..Request::default() };
        let subject = match how {
            How::Alone(i) => i,
            How::Lockstep | How::Speculative => self.subjects.alone.len(),
        };
        let prompts = self.prompts[prompt][subject].clone();
        let Some(steered) = self.subject(how) else { return Ok(None) };
        steered.clear();
        let mut generation = Generation::start(steered, &prompts, &request, cancel)?;
        let mut tokens: Vec<Token> = generation.step()?.into_iter().map(|step| step.token).collect();
        let began = Instant::now();
        while let Some(step) = generation.step()? {
            tokens.push(step.token);
        }
        let ns = began.elapsed().as_nanos() as u64;
        let stats = generation.stats().clone();
        if generation.finish() == Some(Finish::Cancelled) {
            return Ok(None);
        }
        if tokens.len() <= n {
            return Err(Error::Ended { n: tokens.len(), n_gen: n + 1 });
        }
        Ok(Some(Text { ns, tokens, stats }))
    }

    fn measure_steps(&mut self, measured: &mut Vec<StepCosts>) -> Result<(), Error> {
        let n_rounds = self.settings.n_repetitions;
        let n_alone = self.subjects.alone.len();
        let together = self.subjects.steered.is_some().then_some(How::Lockstep);
        for how in (0..n_alone).map(How::Alone).chain(together) {
            let role = self.subjects.role(how);
            self.tell(&format!("steps of several tokens, {role}"));
            let cancel = self.cancel;
            let at = if let How::Alone(i) = how { i } else { n_alone };
            let Some(prompts) = self.prompts.first().map(|of| of[at].clone()) else { return Ok(()) };
            let Some(steered) = self.subject(how) else { return Ok(()) };
            let goes_on = || !cancel.load(Ordering::Relaxed);
            measured.extend(costs::measure(steered, &prompts, (role, how), n_rounds, goes_on)?);
            if !self.goes_on() {
                break;
            }
        }
        Ok(())
    }

    /// Looks whether each model's logits depend on how tokens are batched.
    fn compare_batches(&mut self, found: &mut Vec<Batches>) -> Result<(), Error> {
        for i in 0..self.subjects.alone.len() {
            if !self.goes_on() {
                break;
            }
            let role = self.subjects.role(How::Alone(i));
            self.tell(&format!("batches against single tokens, {role}"));
            let found_out = self.subjects.alone[i].steered.invariance()?;
            let batch_invariant = found_out.holds();
            let Invariance { n_kv, widths, .. } = found_out;
            found.push(Batches { role, batch_invariant, n_kv, widths });
        }
        Ok(())
    }

    fn name(&self, how: How) -> String {
        let role = self.subjects.role(how);
        if matches!(how, How::Alone(_)) { role } else { format!("{role}, {}", how.name()) }
    }
}

impl Timed {
    /// Takes in a round's texts, in the order of the subjects.
    fn take_in(&mut self, texts: Vec<Text>) {
        let of = |how| self.generating.subjects.iter().position(|of| *of == how).and_then(|at| texts.get(at));
        if let (Some(lockstep), Some(speculative)) = (of(How::Lockstep), of(How::Speculative)) {
            self.n_texts += 1;
            self.n_same += usize::from(lockstep.tokens == speculative.tokens);
            self.stats.add(&speculative.stats);
        }
        self.generating.rounds.push(texts.into_iter().map(|text| text.ns).collect());
    }
}

/// The order in which subjects have their turns: there and back, so that none always follows the same.
fn turns(n: usize, round: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..n).rev().collect() } else { (0..n).collect() }
}

/// Refuses a prompt behind which `n_gen` tokens and one more have no room on some lane.
fn check_room(steered: &Steered, prompts: &Prompts, n_gen: usize) -> Result<(), Error> {
    for lane in steered.iter() {
        let (role, n_ctx) = (lane.role(), lane.n_ctx());
        let n_prompt = steered.role(role, prompts).map_or(0, |(tokens, _)| tokens.len());
        if n_prompt + n_gen >= n_ctx {
            return Err(Error::NoRoom { role, n_prompt, n_gen, n_ctx });
        }
    }
    Ok(())
}

/// Tokens from all over the vocabulary, as llama-bench takes them, behind what texts begin with.
fn scattered(steered: &Steered, n: usize) -> Vec<Token> {
    let base = steered.base();
    let n_vocab = base.model().n_vocab() as u64;
    let bos = base.model().leading_bos();
    let token = |i: u64| (i.wrapping_mul(2_654_435_761) % n_vocab.max(1)) as Token;
    let can_be_told = |token: &Token| steered.never().binary_search(token).is_err();
    bos.into_iter().chain((1..).map(token).filter(can_be_told)).take(n).collect()
}
