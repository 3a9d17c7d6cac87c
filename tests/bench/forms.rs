//! Are answers held to JSON schemas, and what does that cost? `proxytune::constraint` against the converter that llama.cpp
//! has, which makes a grammar of a schema, on two public suites:
//!
//! - JSON-Schema-Test-Suite, drafts 7 and 2020-12: no document that the suite calls invalid may be a whole answer. Left out
//!   are `refRemote` and `vocabulary`, which are about schemas elsewhere, and what stands in `optional`;
//! - `JSONSchemaBench`: schemas that people use.
//!
//! Random walks write answers to each schema, which another program (the crate `jsonschema`) then checks. A schema is `kept`
//! where it is accepted and nothing that it forbids comes out.
//!
//! Everything happens in child processes, one for each side, which are started again where they crash, take more memory than
//! they may or do not come back.
//!
//!     make bench-forms

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use proxytune::arithmetic::statistics::quantile;
use proxytune::constraint::{Constraint, Form, JsonForm, Tokens, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const SUITE: &str = "FORMS_SUITE";
const SCHEMAS: &str = "FORMS_SCHEMAS";
/// A GGUF file whose vocabulary the real schemas are followed with too.
const MODEL: &str = "FORMS_MODEL";
/// Real schemas that both sides get; ours gets all of them, too, where the vocabulary is the demo's.
const N_SAMPLE: usize = 1000;
/// The same with a vocabulary that is given, for which llama.cpp takes long.
const N_SAMPLE_GIVEN: usize = 250;
const N_WALKS: usize = 20;
const N_WALKS_REAL: usize = 5;
const N_TOKENS: usize = 300;
/// For all walks of a schema.
const WALKING: Duration = Duration::from_secs(2);
/// A side that says nothing for so long hangs: until a schema is accepted, and while its answers are written.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_MEMORY: u64 = 4 << 30;
/// Files of the suite that a program without a network and vocabularies of its own has nothing to do with.
const LEFT_OUT: [&str; 2] = ["refRemote.json", "vocabulary.json"];

const OURS: &str = "proxytune";
const THEIRS: &str = "llama.cpp";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [worker, side, model] = &args[..]
        && worker == "worker"
    {
        return work(side, Path::new(model));
    }
    let (suite, schemas) = (folder(SUITE, "tests/draft7"), folder(SCHEMAS, "data"));
    let (Some(suite), Some(schemas)) = (suite, schemas) else {
        eprintln!("This needs two public suites, in folders that the environment names:");
        eprintln!("    git clone --depth 1 https://github.com/json-schema-org/JSON-Schema-Test-Suite");
        eprintln!("    git clone --depth 1 https://github.com/guidance-ai/jsonschemabench");
        eprintln!("    {SUITE}=JSON-Schema-Test-Suite {SCHEMAS}=jsonschemabench make bench-forms");
        std::process::exit(2);
    };
    let mut told = Vec::new();
    for draft in ["draft7", "draft2020-12"] {
        let jobs = jobs_of_suite(&suite.join("tests").join(draft), draft)?;
        println!("\n## JSON-Schema-Test-Suite, {draft}: {} schemas, the demo's vocabulary\n", jobs.len());
        compare(&demo(), &jobs, &mut told)?;
    }
    let all = jobs_of_schemas(&schemas.join("data"))?;
    println!("\n## JSONSchemaBench: all {} schemas, the demo's vocabulary\n", all.len());
    Tally::head();
    measure(OURS, &demo(), &all, &mut told)?;
    println!("\n## JSONSchemaBench: {N_SAMPLE} of them, the demo's vocabulary\n");
    compare(&demo(), &sample(&all, N_SAMPLE), &mut told)?;
    if let Some(model) = std::env::var_os(MODEL).map(PathBuf::from) {
        let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("\n## JSONSchemaBench: {N_SAMPLE_GIVEN} of them, the vocabulary of {name}\n");
        compare(&model, &sample(&all, N_SAMPLE_GIVEN), &mut told)?;
    }
    println!("\n## What to look into\n");
    for told in told {
        println!("- {told}");
    }
    Ok(())
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/base.gguf")
}

/// So many of all jobs, evenly.
fn sample(all: &[Job], n: usize) -> Vec<Job> {
    let n = n.min(all.len());
    (0..n).map(|i| all[i * all.len() / n].clone()).collect()
}

/// The folder that a variable of the environment names, where it is what it should be.
fn folder(variable: &str, holds: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    if !path.join(holds).is_dir() {
        eprintln!("{variable}: there is no {holds} in {}", path.display());
        return None;
    }
    Some(path)
}

/// A schema that a side is given.
#[derive(Clone, Serialize, Deserialize)]
struct Job {
    name: String,
    schema: String,
    /// Documents that must not be whole answers, and such that may be.
    invalid: Vec<String>,
    valid: Vec<String>,
    n_walks: usize,
    seed: u64,
}

/// What a side says first.
#[derive(Serialize, Deserialize)]
struct Compiled {
    /// Why not, where it is refused.
    refused: Option<String>,
    seconds: f64,
}

/// What came of the walks.
#[derive(Default, Serialize, Deserialize)]
struct Walked {
    violations: Vec<String>,
    n_valid_taken: usize,
    n_ended: usize,
    n_walks: usize,
    /// Why walks were given up: a step took more than it may.
    cut: Vec<String>,
    /// `jsonschema` cannot say what the schema means.
    is_unchecked: bool,
    /// Of a mask and a token that is accepted, each, and without looking each token up in the mask.
    micros: Vec<f64>,
    micros_alone: Vec<f64>,
}

/// A group of the suite.
#[derive(Deserialize)]
struct Group {
    description: String,
    schema: Value,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    data: Value,
    valid: bool,
}

fn jobs_of_suite(folder: &Path, draft: &str) -> Result<Vec<Job>> {
    let meta = match draft {
        "draft7" => "http://json-schema.org/draft-07/schema#",
        _ => "https://json-schema.org/draft/2020-12/schema",
    };
    let mut jobs = Vec::new();
    for path in json_files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let groups: Vec<Group> = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        for mut group in groups {
            // Which draft a schema is of stands in it, or else in the name of the folder.
            if let Value::Object(fields) = &mut group.schema {
                fields.entry("$schema").or_insert_with(|| meta.into());
            }
            let of = |valid| {
                let cases = group.tests.iter().filter(move |case| case.valid == valid);
                cases.map(|case| written(&case.data)).collect::<std::result::Result<Vec<_>, _>>()
            };
            jobs.push(Job {
                name: format!("{draft}/{name}: {}", group.description),
                schema: group.schema.to_string(),
                invalid: of(false)?,
                valid: of(true)?,
                n_walks: N_WALKS,
                seed: jobs.len() as u64,
            });
        }
    }
    Ok(jobs)
}

fn jobs_of_schemas(folder: &Path) -> Result<Vec<Job>> {
    let mut folders: Vec<_> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    folders.sort();
    let mut jobs = Vec::new();
    for folder in folders {
        for path in json_files(&folder)? {
            let part = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            jobs.push(Job {
                name: format!("{}/{}", part(&folder), part(&path)),
                schema: std::fs::read_to_string(&path)?,
                invalid: Vec::new(),
                valid: Vec::new(),
                n_walks: N_WALKS_REAL,
                seed: jobs.len() as u64,
            });
        }
    }
    Ok(jobs)
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    Ok(paths)
}

/// A document as answers are written: on one line, with a space behind commas and colons.
fn written(value: &Value) -> Result<String> {
    let mut text = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, OneLine))?;
    Ok(String::from_utf8(text)?)
}

struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

/// Gives all jobs to both sides.
fn compare(model: &Path, jobs: &[Job], told: &mut Vec<String>) -> Result<()> {
    Tally::head();
    measure(OURS, model, jobs, told)?;
    measure(THEIRS, model, jobs, told)
}

/// Gives all jobs to one side and prints its row. What somebody has to look into is told.
fn measure(side: &str, model: &Path, jobs: &[Job], told: &mut Vec<String>) -> Result<()> {
    let mut tally = Tally::default();
    let mut helper = Helper::start(side, model)?;
    for job in jobs {
        if !tally.take(job, &mut helper)? {
            std::mem::replace(&mut helper, Helper::start(side, model)?).stop();
        }
    }
    helper.stop();
    tally.print(side);
    told.extend(tally.into_told().map(|words| format!("{side}: {words}")));
    Ok(())
}

/// A child process in which a side works.
struct Helper {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

/// Why a side does not answer.
enum Silence {
    Crashed,
    Hangs,
}

impl Helper {
    fn start(side: &str, model: &Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .args([side.as_ref(), model.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("a child without stdin")?;
        let stdout = child.stdout.take().ok_or("a child without stdout")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let told = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
            told.map_while(|line| sender.send(line).ok()).for_each(drop);
        });
        let mut helper = Self { child, stdin, lines };
        // Until the vocabulary is loaded.
        helper.hear::<bool>(Duration::from_secs(60)).map_err(|_| "the child did not start")?;
        Ok(helper)
    }

    fn hear<T: for<'de> Deserialize<'de>>(&mut self, patience: Duration) -> std::result::Result<T, Silence> {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        let line = self.lines.recv_timeout(patience);
        let line = line.map_err(|error| if error == Timeout { Silence::Hangs } else { Silence::Crashed })?;
        serde_json::from_str(&line).map_err(|_| Silence::Crashed)
    }

    fn tell(&mut self, job: &Job) -> Result<()> {
        let line = serde_json::to_string(job)?;
        // A child that is gone is noticed when it does not answer.
        let _ = writeln!(self.stdin, "{line}");
        Ok(())
    }

    fn stop(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is counted of one side on one suite.
#[derive(Default)]
struct Tally {
    n: usize,
    n_kept: usize,
    n_violated: usize,
    n_unchecked: usize,
    n_refused_at: usize,
    n_refused: usize,
    n_crashed: usize,
    n_hung: usize,
    n_valid: usize,
    n_valid_taken: usize,
    n_walks: usize,
    n_ended: usize,
    n_cut: usize,
    compiling: Vec<f64>,
    micros: Vec<f64>,
    micros_alone: Vec<f64>,
    told: Vec<String>,
    /// Why without a place, and the schemas of each reason.
    reasons: BTreeMap<String, Vec<String>>,
}

impl Tally {
    /// Gives a job to a helper; whether that one can go on.
    fn take(&mut self, job: &Job, helper: &mut Helper) -> Result<bool> {
        self.n += 1;
        helper.tell(job)?;
        let compiled: Compiled = match helper.hear(PATIENCE) {
            Ok(compiled) => compiled,
            Err(silence) => return Ok(self.silent(job, &silence, "while it is read")),
        };
        self.compiling.push(compiled.seconds * 1e3);
        if let Some(reason) = compiled.refused {
            self.refused(job, &reason);
            return Ok(true);
        }
        match helper.hear(PATIENCE + WALKING) {
            Ok(walked) => self.walked(job, walked),
            Err(silence) => return Ok(self.silent(job, &silence, "while an answer is written")),
        }
        Ok(true)
    }

    fn silent(&mut self, job: &Job, silence: &Silence, when: &str) -> bool {
        let (n, what) = match silence {
            Silence::Crashed => (&mut self.n_crashed, "crashed"),
            Silence::Hangs => (&mut self.n_hung, "hangs"),
        };
        *n += 1;
        self.told.push(format!("{what} {when}: {}", job.name));
        false
    }

    fn refused(&mut self, job: &Job, reason: &str) {
        if reason.starts_with('#') {
            self.n_refused_at += 1;
            return;
        }
        self.n_refused += 1;
        self.reasons.entry(without_numbers(reason)).or_default().push(job.name.clone());
    }

    fn walked(&mut self, job: &Job, walked: Walked) {
        self.n_unchecked += usize::from(walked.is_unchecked);
        *(if walked.violations.is_empty() { &mut self.n_kept } else { &mut self.n_violated }) += 1;
        if let [first, more @ ..] = &walked.violations[..] {
            let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
            self.told.push(format!("{}: {first}{more}", job.name));
        }
        self.n_valid += job.valid.len();
        self.n_valid_taken += walked.n_valid_taken;
        self.n_walks += walked.n_walks;
        self.n_ended += walked.n_ended;
        self.n_cut += walked.cut.len();
        self.told.extend(walked.cut.first().map(|words| format!("{}: gives up: {words}", job.name)));
        self.micros.extend(walked.micros);
        self.micros_alone.extend(walked.micros_alone);
    }

    fn head() {
        println!(
            "| | kept | violated | refused with the place | refused without | crashed | hung | valid documents taken | \
             walks ended | given up | to compile, ms: median, 99 %, max | a token, µs: mean, median, 99 %, max | the same without looking \
             each token up |"
        );
        println!("|{}", "---|".repeat(13));
    }

    fn print(&mut self, name: &str) {
        let share = |n: usize| format!("{n} ({:.1} %)", 100.0 * n as f64 / self.n.max(1) as f64);
        let cells = [
            share(self.n_kept),
            share(self.n_violated),
            share(self.n_refused_at),
            share(self.n_refused),
            share(self.n_crashed),
            share(self.n_hung),
            format!("{} of {}", self.n_valid_taken, self.n_valid),
            format!("{} of {}", self.n_ended, self.n_walks),
            self.n_cut.to_string(),
            quantiles(&mut self.compiling),
            with_mean(&mut self.micros),
            with_mean(&mut self.micros_alone),
        ];
        println!("| {name} | {} |", cells.join(" | "));
    }

    /// What somebody has to look into.
    fn into_told(self) -> impl Iterator<Item = String> {
        let refused = |(reason, names): (String, Vec<String>)| {
            format!("refuses without a place {} schemas, such as {}: {reason}", names.len(), names[0])
        };
        let unchecked =
            (self.n_unchecked > 0).then(|| format!("{} schemas that `jsonschema` does not read", self.n_unchecked));
        self.told.into_iter().chain(self.reasons.into_iter().map(refused)).chain(unchecked)
    }
}

/// A reason with an N in the place of each number.
fn without_numbers(reason: &str) -> String {
    let mut last = ' ';
    let is_new = |c: &char| !(std::mem::replace(&mut last, *c).is_ascii_digit() && c.is_ascii_digit());
    reason.chars().filter(is_new).map(|c| if c.is_ascii_digit() { 'N' } else { c }).take(120).collect()
}

fn with_mean(numbers: &mut [f64]) -> String {
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    format!("{mean:.3}, {}", quantiles(numbers))
}

fn quantiles(numbers: &mut [f64]) -> String {
    if numbers.is_empty() {
        return String::new();
    }
    numbers.sort_by(f64::total_cmp);
    let number = |q| format!("{:.3}", quantile(numbers, q));
    [number(0.5), number(0.99), number(1.0)].join(", ")
}

/// What a helper does: a line of what came of each job.
fn work(side: &str, model: &Path) -> Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::As, Rlimit { current: Some(MAX_MEMORY), maximum: Some(MAX_MEMORY) })?;
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    let model = LlamaModel::load_from_file(&backend, model, &LlamaModelParams::default().with_vocab_only(true))?;
    let vocabulary = Vocabulary::new(&model)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "true")?;
    for line in std::io::stdin().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let began = Instant::now();
        let follower = Follower::new(side, &vocabulary, &job.schema);
        let seconds = began.elapsed().as_secs_f64();
        let (follower, refused) = match follower {
            Ok(follower) => (Some(follower), None),
            Err(reason) => (None, Some(reason)),
        };
        writeln!(stdout, "{}", serde_json::to_string(&Compiled { refused, seconds })?)?;
        if let Some(follower) = follower {
            let walked = Walker { vocabulary: &vocabulary, follower, random: job.seed }.walk(&job);
            writeln!(stdout, "{}", serde_json::to_string(&walked)?)?;
        }
    }
    Ok(())
}

struct Vocabulary<'a> {
    model: &'a LlamaModel,
    tokens: Tokens,
    bytes: Vec<Vec<u8>>,
    eog: Vec<u32>,
    by_bytes: HashMap<Vec<u8>, u32>,
    longest: usize,
    /// Tokens that begin with what ends a part of a document, for walks that come to an end.
    closing: Vec<bool>,
}

impl<'a> Vocabulary<'a> {
    fn new(model: &'a LlamaModel) -> Result<Self> {
        let bytes: Vec<_> = model.tokens(false).map(|(_, bytes)| bytes).collect();
        let eog = model.tokens(false).map(|(token, _)| token).filter(|token| model.vocab().is_eog(*token));
        let eog: Vec<_> = eog.map(|token| token.0.cast_unsigned()).collect();
        let mut by_bytes = HashMap::new();
        for (bytes, id) in bytes.iter().zip(0..).filter(|(bytes, id)| !bytes.is_empty() && !eog.contains(id)) {
            by_bytes.entry(bytes.clone()).or_insert(id);
        }
        let longest = bytes.iter().map(Vec::len).max().unwrap_or_default();
        let closing = bytes.iter().map(|bytes| bytes.first().is_some_and(|byte| b"\"]},".contains(byte))).collect();
        let tokens = Tokens::new(&bytes)?;
        Ok(Self { model, tokens, bytes, eog, by_bytes, longest, closing })
    }

    /// Tokens that spell a text, the longest first.
    fn spell(&self, text: &str) -> Option<Vec<u32>> {
        let (mut rest, mut tokens) = (text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let longest =
                (1..=self.longest.min(rest.len())).rev().find_map(|n| Some((n, *self.by_bytes.get(&rest[..n])?)));
            let (n, token) = longest?;
            tokens.push(token);
            rest = &rest[n..];
        }
        Some(tokens)
    }
}

/// An answer that one of the sides follows.
enum Follower {
    Ours(Box<Ours>),
    Theirs { sampler: LlamaSampler, candidates: LlamaTokenDataArray },
}

struct Ours {
    beginning: Constraint,
    now: Constraint,
}

impl Follower {
    fn new(side: &str, vocabulary: &Vocabulary<'_>, schema: &str) -> std::result::Result<Self, String> {
        if side == OURS {
            let form = Form::Json(JsonForm { schema: schema.to_owned(), is_lax: false });
            let made = vocabulary.tokens.constrain(&form, &vocabulary.eog).map_err(|refused| {
                let words = refused.to_string();
                words.strip_prefix("the JSON schema cannot be used: ").unwrap_or(&words).to_owned()
            })?;
            return Ok(Self::Ours(Box::new(Ours { beginning: made.clone(), now: made })));
        }
        let grammar = llama_cpp_2::json_schema_to_grammar(schema).map_err(|error| error.to_string())?;
        let sampler = LlamaSampler::grammar(vocabulary.model, &grammar, "root").map_err(|error| error.to_string())?;
        Ok(Self::Theirs { sampler, candidates: LlamaTokenDataArray::new(Vec::new(), false) })
    }

    fn restart(&mut self) {
        match self {
            Self::Ours(ours) => ours.now = ours.beginning.clone(),
            Self::Theirs { sampler, .. } => sampler.reset(),
        }
    }

    /// Which of all tokens may come next, and the time that takes; of ours until it is made, too.
    fn mask(&mut self, n_vocab: usize, mask: &mut Vec<bool>) -> std::result::Result<[Duration; 2], String> {
        mask.clear();
        match self {
            Self::Ours(ours) => {
                let began = Instant::now();
                let may_come = ours.now.mask().map_err(|refused| refused.to_string())?;
                let alone = began.elapsed();
                mask.extend((0..n_vocab as u32).map(|token| may_come.allows(token)));
                Ok([began.elapsed(), alone])
            }
            Self::Theirs { sampler, candidates } => {
                candidates.data.clear();
                let all = (0..n_vocab as i32).map(|id| LlamaTokenData::new(LlamaToken(id), 0.0, 0.0));
                candidates.data.extend(all);
                let began = Instant::now();
                candidates.apply_sampler(sampler);
                let spent = began.elapsed();
                mask.resize(n_vocab, false);
                for candidate in &candidates.data {
                    mask[candidate.id().0 as usize] = candidate.logit() > f32::NEG_INFINITY;
                }
                Ok([spent, spent])
            }
        }
    }

    /// Whether a token may come next.
    fn allows(&mut self, token: u32) -> bool {
        match self {
            Self::Ours(ours) => ours.now.allows(token).unwrap_or(false),
            Self::Theirs { sampler, .. } => {
                let only = LlamaTokenData::new(LlamaToken(token.cast_signed()), 0.0, 0.0);
                let only = LlamaTokenDataArray::new(vec![only], false).with_sampler(sampler);
                only.data.iter().any(|candidate| candidate.logit() > f32::NEG_INFINITY)
            }
        }
    }

    fn accept(&mut self, token: u32) -> std::result::Result<Duration, String> {
        let began = Instant::now();
        match self {
            Self::Ours(ours) => ours.now.accept(token).map_err(|refused| refused.to_string())?,
            Self::Theirs { sampler, .. } => {
                sampler.try_accept(LlamaToken(token.cast_signed())).map_err(|error| error.to_string())?;
            }
        }
        Ok(began.elapsed())
    }
}

/// Writes answers at random.
struct Walker<'a> {
    vocabulary: &'a Vocabulary<'a>,
    follower: Follower,
    random: u64,
}

impl Walker<'_> {
    fn walk(&mut self, job: &Job) -> Walked {
        let mut walked = Walked::default();
        for text in &job.invalid {
            if self.takes(text) {
                walked.violations.push(format!("takes {}, which is invalid", text.escape_debug()));
            }
        }
        walked.n_valid_taken = job.valid.iter().filter(|text| self.takes(text)).count();
        let validator = Validator::new(&job.schema);
        walked.is_unchecked = validator.is_none();
        let began = Instant::now();
        while walked.n_walks < job.n_walks && began.elapsed() < WALKING {
            walked.n_walks += 1;
            match self.answer(began + WALKING, &mut walked) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    walked.n_ended += 1;
                    let text = String::from_utf8_lossy(&bytes);
                    let told = validator.as_ref().map_or(Ok(()), |validator| validator.check(&text));
                    let written = format!("writes {}", text.escape_debug());
                    walked.violations.extend(told.err().map(|words| format!("{written:.300}: {words:.300}")));
                }
                Err(words) if words.contains("stuck") => walked.violations.push(words),
                Err(words) => walked.cut.push(words),
            }
        }
        walked
    }

    /// Whether a text is a whole answer.
    fn takes(&mut self, text: &str) -> bool {
        self.follower.restart();
        let Some(tokens) = self.vocabulary.spell(text) else { return false };
        let follower = &mut self.follower;
        let is_beginning = tokens.into_iter().all(|token| follower.allows(token) && follower.accept(token).is_ok());
        is_beginning && self.vocabulary.eog.iter().any(|token| follower.allows(*token))
    }

    /// An answer, where it ends in time.
    fn answer(&mut self, until: Instant, walked: &mut Walked) -> std::result::Result<Option<Vec<u8>>, String> {
        self.follower.restart();
        let (mut text, mut mask) = (Vec::new(), Vec::new());
        for _ in 0..N_TOKENS {
            if Instant::now() > until {
                break;
            }
            let [masking, alone] = self.follower.mask(self.vocabulary.bytes.len(), &mut mask)?;
            let token = self.choose(&mask).ok_or_else(|| format!("stuck behind {}", String::from_utf8_lossy(&text)))?;
            let accepting = self.follower.accept(token)?;
            walked.micros.push((masking + accepting).as_secs_f64() * 1e6);
            walked.micros_alone.push((alone + accepting).as_secs_f64() * 1e6);
            if self.vocabulary.eog.contains(&token) {
                return Ok(Some(text));
            }
            text.extend(&self.vocabulary.bytes[token as usize]);
        }
        Ok(None)
    }

    /// The end where it may come, in three of ten cases, and in four of ten what closes a part.
    fn choose(&mut self, mask: &[bool]) -> Option<u32> {
        let eog = self.vocabulary.eog.iter().copied().find(|token| mask[*token as usize]);
        if eog.is_some() && self.chance(3) {
            return eog;
        }
        let closes = self.chance(4);
        let allowed = |all: bool| -> Vec<u32> {
            let may = |id: &u32| mask[*id as usize] && (all || self.vocabulary.closing[*id as usize]);
            (0..mask.len() as u32).filter(|id| may(id) && !self.vocabulary.eog.contains(id)).collect()
        };
        let mut open = if closes { allowed(false) } else { Vec::new() };
        if open.is_empty() {
            open = allowed(true);
        }
        if open.is_empty() {
            return eog;
        }
        let n = open.len() as u64;
        Some(open[(self.next() % n) as usize])
    }

    fn chance(&mut self, of_ten: u64) -> bool {
        self.next() % 10 < of_ten
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}
