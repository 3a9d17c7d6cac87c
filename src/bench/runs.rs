//! The runs themselves: prompts read, tokens generated, in turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::batches::Batches;
use super::costs::{self, StepCosts};
use super::rounds::Rounds;
use super::row::How;
use super::settings::{Progress, Settings};
use super::timed::{Test, Timed};
use super::{Error, Subjects};
use crate::generate::draft::{Draft, Stats};
use crate::generate::event::Event;
use crate::generate::{Answer, Finish, Request};
use crate::llama::Token;
use crate::llama::invariance::Invariance;
use crate::llama::kernels::Isa;
use crate::prompt::Conversation;
use crate::sampling::Sampling;
use crate::steer::{Prompts, Sampled};

/// Tokens of a run that only warms up.
const N_WARM_UP: usize = 16;

/// A generated text.
struct GeneratedText {
    ns: u64,
    tokens: Vec<Token>,
    stats: Stats,
}

pub(super) struct Runner<'a> {
    subjects: &'a mut Subjects,
    settings: &'a Settings,
    conversations: &'a [Conversation],
    /// Tokens of a prompt for the base, on average.
    n_prompt: f64,
    cancel: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress<'_>),
    expected: Option<Duration>,
}

impl<'a> Runner<'a> {
    /// Refuses prompts that leave no room for what is to be generated.
    pub fn new(
        subjects: &'a mut Subjects,
        settings: &'a Settings,
        conversations: &'a [Conversation],
        cancel: &'a AtomicBool,
        progress: &'a mut dyn FnMut(&Progress<'_>),
    ) -> Result<Self, Error> {
        let mut n_tokens = 0;
        for conversation in conversations {
            for how in subjects.all() {
                let prompts = subjects.ensemble().prompts(subjects.sampled(how), conversation, &[])?;
                check_room(subjects, how, &prompts, settings.n_gen)?;
                if how == How::Alone(0) {
                    n_tokens += prompts.sampled().len();
                }
            }
        }
        let n_prompt = n_tokens as f64 / conversations.len().max(1) as f64;
        Ok(Self { subjects, settings, conversations, n_prompt, cancel, progress, expected: None })
    }

    pub fn run(&mut self) -> Result<Timed, Error> {
        let Settings { draft, warms_up, .. } = self.settings;
        let alone = (0..self.subjects.alone.len()).map(How::Alone);
        let together = self.subjects.is_steered;
        let speculates = together && draft.n_step() > 1;
        let reading: Vec<_> = alone.clone().chain(together.then_some(How::Lockstep)).collect();
        let generating: Vec<_> = reading.iter().copied().chain(speculates.then_some(How::Speculative)).collect();
        let reading = if self.settings.n_prompt > 0 { reading } else { Vec::new() };
        let generating = if self.settings.n_gen > 0 { generating } else { Vec::new() };
        let mut timed = Timed { n_prompt: self.n_prompt, ..Timed::default() };
        if *warms_up && !self.warm_up(&reading, &generating)? {
            return Ok(timed);
        }
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
        (self.progress)(&Progress { what, expected: self.expected });
    }

    /// Prompts to read, texts to generate, and steps of several tokens.
    fn rounds(&self) -> [Rounds; 3] {
        /// Steps are measured for each model by itself and for all together.
        const SHARE_OF_STEPS: u32 = 12;
        let Settings { n_repetitions: most, time, .. } = *self.settings;
        let texts = Rounds { most: most * self.conversations.len(), within: time };
        [Rounds { most, within: time }, texts, Rounds { most, within: time.map(|time| time / SHARE_OF_STEPS) }]
    }

    /// Runs everything once, in short, and settles how long all of it is going to take; whether it was not broken off.
    fn warm_up(&mut self, reading: &[How], generating: &[How]) -> Result<bool, Error> {
        /// What the steps of a round cost, in steps of one token: there are four of every width, and wide ones cost more.
        const STEPS_OF_A_ROUND: u32 = 80;
        let n_gen = self.settings.n_gen;
        let (mut round_of_prompts, mut round_of_texts, mut steps) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let [prompts, texts, of_steps] = self.rounds();
        for &how in reading {
            self.tell(&format!("warming up, prompt of the {}", self.name(how)));
            let Some(ns) = self.read(how)? else { return Ok(false) };
            round_of_prompts += Duration::from_nanos(ns);
        }
        for &how in generating {
            self.tell(&format!("warming up, text of the {}", self.name(how)));
            let n = n_gen.min(N_WARM_UP);
            let Some(text) = self.generate(how, 0, n)? else { return Ok(false) };
            let token = Duration::from_nanos(text.ns) / n.max(1) as u32;
            round_of_texts += token.saturating_mul(n_gen as u32);
            if how != How::Speculative {
                // Before the first round there is one more that warms up.
                steps += token * STEPS_OF_A_ROUND + of_steps.expected(token * STEPS_OF_A_ROUND);
            }
        }
        self.expected = Some(prompts.expected(round_of_prompts) + texts.expected(round_of_texts) + steps);
        Ok(true)
    }

    fn read_prompts(&mut self, subjects: &[How], test: &mut Test) -> Result<(), Error> {
        let Settings { n_prompt, n_repetitions, .. } = *self.settings;
        test.subjects = subjects.to_vec();
        test.began = Timestamp::now();
        if test.subjects.is_empty() {
            return Ok(());
        }
        let ([rounds, ..], began) = (self.rounds(), Instant::now());
        while rounds.goes_on(test.rounds.len(), began.elapsed()) {
            let repetition = test.rounds.len() + 1;
            let mut round = vec![0; test.subjects.len()];
            for at in turns(test.subjects.len(), repetition) {
                let how = test.subjects[at];
                self.tell(&format!("pp{n_prompt} {}, {repetition} of {n_repetitions}", self.name(how)));
                let Some(ns) = self.read(how)? else { return Ok(()) };
                round[at] = ns;
            }
            test.rounds.push(round);
        }
        Ok(())
    }

    /// Nanoseconds to read the test's prompt; `None` where it was broken off.
    fn read(&mut self, how: How) -> Result<Option<u64>, Error> {
        let n_prompt = self.settings.n_prompt;
        let cancel = self.cancel;
        let sampled = self.subjects.sampled(how);
        let tokens = scattered(self.subjects, how, n_prompt)?;
        self.subjects.engine.forget();
        let ensemble = self.subjects.engine.ensemble_mut();
        let prompts = ensemble.same(sampled, &tokens)?;
        let mut sequence = ensemble.open()?;
        let begun = ensemble.begin(&mut sequence, sampled, &prompts);
        let began = Instant::now();
        let done = begun.and_then(|()| ensemble.read(&mut sequence, || !cancel.load(Ordering::Relaxed)));
        let ns = began.elapsed().as_nanos() as u64;
        ensemble.close(sequence);
        Ok(done?.then_some(ns))
    }

    fn generate_texts(&mut self, subjects: &[How], timed: &mut Timed) -> Result<(), Error> {
        let Settings { n_gen, n_repetitions, .. } = *self.settings;
        timed.generating.subjects = subjects.to_vec();
        timed.generating.began = Timestamp::now();
        if subjects.is_empty() {
            return Ok(());
        }
        let n_prompts = self.conversations.len();
        let ([_, rounds, _], began) = (self.rounds(), Instant::now());
        while rounds.goes_on(timed.generating.rounds.len(), began.elapsed()) {
            let n_done = timed.generating.rounds.len();
            let (repetition, prompt) = (n_done / n_prompts + 1, n_done % n_prompts);
            let mut texts: Vec<Option<GeneratedText>> = subjects.iter().map(|_| None).collect();
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
        Ok(())
    }

    /// Continues a prompt by `n` tokens, timed from the first one on; `None` where it was broken off.
    fn generate(&mut self, how: How, prompt: usize, n: usize) -> Result<Option<GeneratedText>, Error> {
        let Settings { sampling, weights, draft, .. } = self.settings;
        let draft = if how == How::Speculative { draft.clone() } else { Draft::off() };
        // The first token comes out of the prompt, without a decode of its own.
        let mut request = Request { n_predict: Some(n + 1), draft, ..Request::of(self.conversations[prompt].clone()) };
        request.sampled = self.subjects.sampled(how);
        request.sampling = Sampling { ignore_eos: true, ..sampling.clone() };
        if request.sampled == Sampled::Steered {
            request.weights = weights.clone();
        }
        let engine = &mut self.subjects.engine;
        engine.forget();
        let mut answer = Answer::default();
        let (mut began, mut ns) = (None, 0);
        let run = engine.run(&request, self.cancel, &mut answer, |event, _| {
            match event {
                Event::Token(_) if began.is_none() => began = Some(Instant::now()),
                Event::Done(_) => ns = began.map_or(0, |began| began.elapsed().as_nanos() as u64),
                _ => {}
            }
            Ok(())
        });
        // Nothing is written there.
        run.unwrap_or_default();
        if let Some(failure) = answer.failure {
            return Err(failure.into());
        }
        if answer.finish == Some(Finish::Cancelled) {
            return Ok(None);
        }
        if answer.tokens.len() <= n {
            return Err(Error::Ended { n: answer.tokens.len(), n_gen: n + 1 });
        }
        Ok(Some(GeneratedText { ns, tokens: answer.tokens, stats: answer.stats }))
    }

    fn measure_steps(&mut self, measured: &mut Vec<StepCosts>) -> Result<(), Error> {
        let [_, _, rounds] = self.rounds();
        let Some(conversation) = self.conversations.first() else { return Ok(()) };
        for how in self.subjects.all() {
            let role = self.subjects.role(how);
            self.tell(&format!("steps of several tokens, {role}"));
            let cancel = self.cancel;
            let sampled = self.subjects.sampled(how);
            self.subjects.engine.forget();
            let ensemble = self.subjects.engine.ensemble_mut();
            let prompts = ensemble.prompts(sampled, conversation, &[])?;
            let mut sequence = ensemble.open()?;
            let goes_on = || !cancel.load(Ordering::Relaxed);
            let costs = ensemble
                .begin(&mut sequence, sampled, &prompts)
                .and_then(|()| costs::measure(ensemble, &mut sequence, &prompts, (role, how), rounds, goes_on));
            ensemble.close(sequence);
            measured.extend(costs?);
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
            let lane = self.subjects.alone[i].lane;
            let found_out = self.subjects.engine.invariance(lane)?;
            let batch_invariant = found_out.holds();
            let Invariance { n_kv, widths, .. } = found_out;
            let model = self.subjects.ensemble().model(lane);
            let on_cpu = model.kernels().map_or("llama.cpp's", Isa::name);
            let kernels = match (model.uses_devices(), model.is_on_devices()) {
                (false, _) => on_cpu.to_owned(),
                (true, true) => "the device's".to_owned(),
                (true, false) => format!("{on_cpu}, the device's"),
            };
            found.push(Batches { role, kernels, batch_invariant, n_kv, widths });
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
    fn take_in(&mut self, texts: Vec<GeneratedText>) {
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
fn check_room(subjects: &Subjects, how: How, prompts: &Prompts, n_gen: usize) -> Result<(), Error> {
    let ensemble = subjects.ensemble();
    for lane in subjects.lanes_of(how) {
        let (role, n_ctx, n_prompt) = (ensemble.lanes()[lane].role, ensemble.n_ctx_of(lane), prompts.lane(lane).len());
        if n_prompt + n_gen >= n_ctx {
            return Err(Error::NoRoom { role, n_prompt, n_gen, n_ctx });
        }
    }
    Ok(())
}

/// Tokens from all over the vocabulary, as llama-bench takes them, behind what texts begin with.
fn scattered(subjects: &Subjects, how: How, n: usize) -> Result<Vec<Token>, Error> {
    let ensemble = subjects.ensemble();
    let model = ensemble.model(subjects.lanes_of(how).start);
    let ends = ensemble.ends(subjects.sampled(how))?;
    let n_vocab = model.n_vocab() as u64;
    let token = |i: u64| (i.wrapping_mul(2_654_435_761) % n_vocab.max(1)) as Token;
    let can_be_told = |token: &Token| ends.can_be_told(*token);
    Ok(model.leading_bos().into_iter().chain((1..).map(token).filter(can_be_told)).take(n).collect())
}
