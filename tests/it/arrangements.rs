//! Every arrangement of roles against the sum, computed in f64 from the logits of contexts of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proxytune::generate::Request;
use proxytune::llama::Token;
use proxytune::llama::adapter::Adapter;
use proxytune::llama::context::{Context, Outputs, Sequences};
use proxytune::llama::model::{LoadMode, Model, ModelParams};
use proxytune::prompt::{Conversation, Message, Speaker};
use proxytune::recipe::model_spec::Lora;
use proxytune::recipe::{Recipe, Schedule, View};
use proxytune::sampling::Sampling;
use proxytune::steer::{ModelSource, Models, PairPlan, Plan, SidePlan, WeightsRequest};

use crate::command_line::{run, stderr, stdout};
use crate::gguf;
use crate::trio::{self, PROMPT, answer, backend, demo, file, greedy, load, load_with, model, plan, source};

/// Positions of the answer that are looked at.
const N_POSITIONS: usize = 4;

fn model_of(path: &Path) -> Arc<Model> {
    proxytune::llama::log::capture(false);
    Arc::new(Model::load(&backend(), path, &ModelParams::default(), |_| true).expect("it loads"))
}

/// The logits of a model with an adapter behind a prompt and each of some further tokens, from a context of its own.
fn alone(path: &Path, adapters: &[(PathBuf, f32)], prompt: &[Token], further: &[Token]) -> Vec<Vec<f64>> {
    let model = model_of(path);
    let load = |(path, scale): &(PathBuf, f32)| (Arc::new(Adapter::load(&model, path).expect("an adapter")), *scale);
    let adapters: Vec<_> = adapters.iter().map(load).collect();
    let params = source(path).context;
    let mut context = Context::with(model, &adapters, &params, Sequences::ONE).expect("a context");
    let mut rows = Vec::new();
    context.decode(prompt, Outputs::Last).expect("it decodes");
    for i in 0..=further.len() {
        rows.push(context.row(0, 0).expect("a row").iter().map(|&logit| f64::from(logit)).collect());
        if let Some(&token) = further.get(i) {
            context.decode(&[token], Outputs::All).expect("it decodes");
        }
    }
    rows
}

fn tokens(path: &Path, text: &str) -> Vec<Token> {
    model_of(path).tokenize(text).expect("tokens")
}

/// What a plan makes of a conversation and some further tokens, row by row, as the stage composes it.
fn composed(plan: &Plan, conversation: &Conversation, further: &[Token], plausibility: f32) -> Vec<Vec<f32>> {
    let mut steered = load(plan).expect("the plan loads");
    let prompts = steered.prompts(conversation).expect("prompts");
    steered.read(&prompts).expect("it decodes");
    let mut rows = Vec::new();
    for i in 0..=further.len() {
        rows.push(steered.composed(i, plausibility).expect("a row"));
        if let Some(token) = further.get(i) {
            steered.decode(&[*token]).expect("it decodes");
        }
    }
    rows
}

/// Tokens that might follow the prompt: the base's own.
fn further() -> Vec<Token> {
    tokens(&file("base"), "The little dog was happy")[1..N_POSITIONS].to_vec()
}

fn assert_close(rows: &[Vec<f32>], expected: impl Fn(usize, usize) -> f64) {
    assert_eq!(rows.len(), N_POSITIONS);
    for (position, row) in rows.iter().enumerate() {
        for (id, &got) in row.iter().enumerate() {
            let expected = expected(position, id);
            let same = if expected.is_finite() {
                (f64::from(got) - expected).abs() < 2e-3
            } else {
                f64::from(got) == expected
            };
            assert!(same, "position {position}, token {id}: {got} against {expected}");
        }
    }
}

fn prompt() -> Conversation {
    Conversation::prompt(PROMPT)
}

#[test]
fn several_pairs_each_with_its_alpha() {
    let recipe = file("base").with_file_name("several.toml");
    let recipe = Recipe::open(recipe.to_str().expect("UTF-8")).expect("a recipe");
    let steered = load(&Plan::of_recipe(&recipe, &source(""), &backend()).expect("a plan")).expect("it loads");
    assert_eq!(steered.ensemble().topology().pair_names().collect::<Vec<_>>(), ["stories", "plays"]);
    assert_eq!(load(&demo(1.0)).expect("it loads").ensemble().topology().pair_names().collect::<Vec<_>>(), ["1"]);
    let [base, expert, antiexpert] = ["base", "expert", "antiexpert"].map(file);
    let pairs = [
        (0.6, model(&expert), model(&antiexpert)),
        (-0.3, model(&antiexpert), Some(SidePlan::base())),
        (0.1, model(&expert), None),
    ];
    let further = further();
    let rows = composed(&plan("base", &pairs), &prompt(), &further, 0.0);
    let [b, e, a] = [base, expert, antiexpert].map(|path| alone(&path, &[], &tokens(&path, PROMPT), &further));
    let alpha = |x: f32| f64::from(x);
    assert_close(&rows, |i, id| {
        b[i][id] + alpha(0.6) * (e[i][id] - a[i][id]) + alpha(-0.3) * (a[i][id] - b[i][id]) + alpha(0.1) * e[i][id]
    });
}

#[test]
fn an_expert_alone_and_the_base_as_antiexpert() {
    let [base, expert] = ["base", "expert"].map(file);
    let further = further();
    let [b, e] = [&base, &expert].map(|path| alone(path, &[], &tokens(path, PROMPT), &further));
    let only = composed(&plan("base", &[(0.5, model(&expert), None)]), &prompt(), &further, 0.0);
    assert_close(&only, |i, id| b[i][id] + 0.5 * e[i][id]);
    let over_base = plan("base", &[(1.5, model(&expert), Some(SidePlan::base()))]);
    let over_base = composed(&over_base, &prompt(), &further, 0.0);
    assert_close(&over_base, |i, id| b[i][id] + 1.5 * (e[i][id] - b[i][id]));
}

#[test]
fn contrastive_decoding_in_both_forms_with_the_plausibility_cut() {
    const TAU: f32 = 0.1;
    let [base, antiexpert] = ["base", "antiexpert"].map(file);
    let further = further();
    let [b, a] = [&base, &antiexpert].map(|path| alone(path, &[], &tokens(path, PROMPT), &further));
    let highest = |i: usize| b[i].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let cut = |i: usize, id: usize, sum: f64| {
        let lowest = f64::from(highest(i) as f32 + TAU.ln());
        if f64::from(b[i][id] as f32) < lowest { f64::NEG_INFINITY } else { sum }
    };
    // Li et al.: log p_E − log p_A.
    let difference = plan("base", &[(1.0, None, model(&antiexpert))]);
    let rows = composed(&difference, &prompt(), &further, TAU);
    assert_close(&rows, |i, id| cut(i, id, b[i][id] - a[i][id]));
    assert!(rows.iter().all(|row| row.contains(&f32::NEG_INFINITY)), "the cut cuts");
    // O'Brien and Lewis: (1 + β)·s_E − β·s_A.
    let weighted = plan("base", &[(0.5, Some(SidePlan::base()), model(&antiexpert))]);
    let rows = composed(&weighted, &prompt(), &further, TAU);
    assert_close(&rows, |i, id| cut(i, id, 1.5 * b[i][id] - 0.5 * a[i][id]));
    // What the chain chooses is the best of what is composed.
    let sampling = Sampling { plausibility: TAU, ..Sampling::greedy() };
    let request = Request { sampling, ..greedy(N_POSITIONS) };
    let chosen = answer(&difference, &request).tokens;
    let rows = composed(&difference, &prompt(), &chosen[..N_POSITIONS - 1], TAU);
    for (row, &token) in rows.iter().zip(&chosen) {
        assert_eq!(proxytune::arithmetic::softmax::argmax(row), Some(token as usize));
    }
}

/// A side that is the base under another view.
#[allow(clippy::unnecessary_wraps, reason = "a side of a pair")]
fn base_seen_as(view: View) -> Option<SidePlan> {
    Some(SidePlan::base().seen_as(view))
}

#[test]
fn one_model_under_two_prompts_is_two_sequences_of_one_context() {
    const NEGATIVE: &str = "The meeting of the committee was";
    let base = file("base");
    let further = further();
    let with = alone(&base, &[], &tokens(&base, PROMPT), &further);
    for (prompt_of_antiexpert, alpha) in [("", 0.5_f32), (NEGATIVE, 1.25)] {
        let view = View { prompt: Some(prompt_of_antiexpert.to_owned()), ..View::default() };
        let guided = plan("base", &[(alpha, Some(SidePlan::base()), base_seen_as(view))]);
        let without = alone(&base, &[], &tokens(&base, prompt_of_antiexpert), &further);
        let rows = composed(&guided, &prompt(), &further, 0.0);
        assert_close(&rows, |i, id| with[i][id] + f64::from(alpha) * (with[i][id] - without[i][id]));
        let mut models = Models::default();
        let steered = load_with(&guided, &mut models).expect("it loads");
        assert_eq!((models.n_loaded(), steered.ensemble().n_contexts(), steered.roles().len()), (1, 1, 2));
    }
}

#[test]
fn context_aware_decoding_leaves_the_context_out_for_the_antiexpert() {
    const CONTEXT: &str = "Tom is a small grey cat.";
    let base = file("base");
    let further = further();
    let view = View { system: Some(String::new()), ..View::default() };
    let aware = plan("base", &[(0.5, Some(SidePlan::base()), base_seen_as(view))]);
    let mut conversation = prompt();
    conversation.messages.insert(0, Message::new(Speaker::System, CONTEXT));
    let rows = composed(&aware, &conversation, &further, 0.0);
    let with = alone(&base, &[], &tokens(&base, &format!("{CONTEXT}\n\n{PROMPT}")), &further);
    let without = alone(&base, &[], &tokens(&base, PROMPT), &further);
    assert_close(&rows, |i, id| 1.5 * with[i][id] - 0.5 * without[i][id]);
}

/// Random adapters for the bundled small models.
fn adapter(seed: u64) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let targets = ["blk.0.attn_q.weight", "blk.3.attn_output.weight"].map(|name| (name.to_owned(), 128, 128));
    let adapter = gguf::Adapter {
        architecture: "llama".to_owned(),
        rank: 4,
        targets: targets.to_vec(),
        alpha: 8.0,
        seed,
        metadata: Vec::new(),
    };
    adapter.write(file.path()).expect("writable");
    file.into_temp_path()
}

#[allow(clippy::unnecessary_wraps, reason = "a side of a pair")]
fn with_adapters(path: &Path, adapters: &[(PathBuf, f32)]) -> Option<SidePlan> {
    let adapters = adapters.iter().map(|(path, scale)| Lora { path: path.clone(), scale: *scale }).collect();
    Some(ModelSource { adapters, ..source(path) }.into())
}

#[test]
fn an_expert_that_is_the_antiexpert_with_adapters() {
    let [base, antiexpert] = ["base", "antiexpert"].map(file);
    let (first, second) = (adapter(1), adapter(2));
    let further = further();
    let b = alone(&base, &[], &tokens(&base, PROMPT), &further);
    let a = alone(&antiexpert, &[], &tokens(&antiexpert, PROMPT), &further);
    for adapters in [vec![(first.to_path_buf(), 1.0)], vec![(first.to_path_buf(), 0.5), (second.to_path_buf(), -0.75)]]
    {
        let e = alone(&antiexpert, &adapters, &tokens(&antiexpert, PROMPT), &further);
        assert!(e[0].iter().zip(&a[0]).any(|(e, a)| (e - a).abs() > 0.05), "the adapter does something");
        let plan = plan("base", &[(1.0, with_adapters(&antiexpert, &adapters), model(&antiexpert))]);
        assert_close(&composed(&plan, &prompt(), &further, 0.0), |i, id| b[i][id] + e[i][id] - a[i][id]);
        let mut models = Models::default();
        let steered = load_with(&plan, &mut models).expect("it loads");
        assert_eq!((models.n_loaded(), steered.ensemble().n_contexts(), steered.roles().len()), (2, 3, 3));
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused_before_anything_is_loaded() {
    use gguf::Value;
    let antiexpert = file("antiexpert");
    let fitting = gguf::Adapter {
        architecture: "llama".to_owned(),
        rank: 4,
        targets: vec![("blk.0.attn_q.weight".to_owned(), 128, 128)],
        alpha: 4.0,
        seed: 1,
        metadata: Vec::new(),
    };
    let target = |name: &str, columns, rows| gguf::Adapter {
        targets: vec![(name.to_owned(), columns, rows)],
        ..fitting.clone()
    };
    let with = |key: &str, value| gguf::Adapter { metadata: vec![(key.to_owned(), value)], ..fitting.clone() };
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    for (adapter, words) in [
        (target("blk.9.attn_q.weight", 128, 128), "a tensor that the model does not have"),
        (target("blk.0.attn_q.weight", 64, 128), "has the shape [64, 4, 1, 1]"),
        (target("blk.0.attn_q.weight", 128, 96), "is to change one of [128, 128, 1, 1]"),
        (gguf::Adapter { targets: Vec::new(), ..fitting.clone() }, "it holds no matrices"),
        (gguf::Adapter { architecture: "gemma2".to_owned(), ..fitting.clone() }, "`general.architecture`"),
        (with("general.type", None), "`general.type`"),
        (with("general.type", Some(Value::U32(3))), "`general.type`"),
        (with("adapter.type", text("loha")), "`adapter.type`"),
        (with("adapter.type", Some(Value::Bool(true))), "`adapter.type`"),
        (with("general.architecture", Some(Value::F32(1.0))), "`general.architecture`"),
        (with("adapter.alora.invocation_tokens", Some(Value::I32s(vec![1, 2]))), "an activated LoRA"),
        (with("adapter.lora.alpha", text("four")), "`adapter.lora.alpha`"),
        (with("adapter.lora.alpha", Some(Value::U32(4))), "`adapter.lora.alpha`"),
        (with("adapter.lora.alpha", Some(Value::F32(f32::NAN))), "`adapter.lora.alpha`"),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        adapter.write(file.path()).expect("writable");
        let adapters = [(file.path().to_path_buf(), 1.0)];
        let plan = plan("base", &[(1.0, with_adapters(&antiexpert, &adapters), model(&antiexpert))]);
        let error = plan.check().expect_err(words).to_string();
        assert!(error.starts_with("expert, its adapter: ") && error.contains(words), "{words}: {error}");
    }
    // A model is no adapter, and an adapter no model.
    let as_adapter = [(file("expert"), 1.0)];
    let plan_of = |side: Option<SidePlan>| plan("base", &[(1.0, side, model(&antiexpert))]);
    assert!(plan_of(with_adapters(&antiexpert, &as_adapter)).check().is_err());
    assert!(plan_of(model(adapter(1).to_path_buf())).check().is_err());
}

#[test]
fn alpha_follows_its_schedule() {
    let [base, expert, antiexpert] = ["base", "expert", "antiexpert"].map(file);
    let schedule: Schedule = "1@0..0@2,-0.5@3".parse().expect("a schedule");
    let mut plan = demo(0.0);
    plan.pairs[0].alpha = schedule.clone();
    let further = further();
    let [b, e, a] = [base, expert, antiexpert].map(|path| alone(&path, &[], &tokens(&path, PROMPT), &further));
    assert_close(&composed(&plan, &prompt(), &further, 0.0), |i, id| {
        b[i][id] + [1.0, 0.5, 0.0, -0.5][i] * (e[i][id] - a[i][id])
    });
    // A request may bring its own; the next one has the plan's again.
    let asked = |alpha: Vec<Schedule>| {
        let weights = WeightsRequest { alpha, ..WeightsRequest::default() };
        Request { weights, ..greedy(24) }
    };
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let mut generate = |request| trio::generate(&mut steered, PROMPT, &request);
    let planned = generate(asked(Vec::new())).expect("it generates");
    let scheduled = generate(asked(vec![schedule])).expect("it generates");
    assert_eq!(
        generate(asked(vec![Schedule::constant(0.0)])).expect("it generates"),
        answer(&trio::plan("base", &[]), &greedy(24))
    );
    assert_ne!(planned, scheduled);
    assert_eq!(generate(asked(Vec::new())).expect("it generates"), planned);
    let error = generate(asked(vec![Schedule::constant(1.0); 3])).expect_err("three for one pair").to_string();
    assert!(error.contains("3 values of α are given for 1 pair"), "{error}");
}

/// `w · base + a · expert − b · antiexpert` as a recipe says it; a request's α replaces both sides' and leaves the base's.
#[test]
fn weights_of_a_recipe_are_those_of_the_sum() {
    let [base, expert, antiexpert] = ["base", "expert", "antiexpert"].map(file);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weighted.toml");
    let text = format!(
        "base = {base:?}\nbase_weight = 0.5\n[[pair]]\nexpert = {expert:?}\nantiexpert = {antiexpert:?}\n\
         alpha = 0.8\nalpha_expert = '1@0..0.5@2'\n"
    );
    std::fs::write(&path, text).expect("writable");
    let recipe = Recipe::open(path.to_str().expect("UTF-8")).expect("valid");
    let plan = Plan::of_recipe(&recipe, &source(""), &backend()).expect("a plan");
    let further = further();
    let [b, e, a] = [base, expert, antiexpert].map(|path| alone(&path, &[], &tokens(&path, PROMPT), &further));
    assert_close(&composed(&plan, &prompt(), &further, 0.0), |i, id| {
        0.5 * b[i][id] + [1.0, 0.75, 0.5, 0.5][i] * e[i][id] - 0.8 * a[i][id]
    });
    let steered = load(&plan).expect("it loads");
    let topology = steered.ensemble().topology();
    assert_eq!(topology.planned().to_string(), "α = 1@0..0.5@2 expert / 0.8 antiexpert, base × 0.5");
    let asked = topology.weights(&trio::alphas(&[0.3])).expect("one for all");
    assert_eq!(asked.to_string(), "α = 0.3, base × 0.5");
    // Where a host decodes the base, nobody here could weigh it.
    let vocabulary = proxytune::steer::HostVocabulary::File(file("base"));
    let error = Plan::of_recipe_beside(&recipe, vocabulary, &source(""), &backend()).expect_err("a base's weight");
    assert!(error.to_string().contains("base_weight"), "{error}");
}

#[test]
fn several_pairs_of_one_plan_take_one_alpha_or_one_each() {
    let pair = |alpha: f32| PairPlan { alpha: Schedule::constant(alpha), ..demo(0.0).pairs.remove(0) };
    let steered = load(&Plan { pairs: vec![pair(0.5), pair(0.25)], ..demo(0.0) }).expect("it loads");
    let topology = steered.ensemble().topology();
    let alphas = |asked: &WeightsRequest| -> Vec<f32> {
        topology.weights(asked).expect("one for all or one for each").alphas().map(|alpha| alpha.at(0)).collect()
    };
    assert_eq!(alphas(&WeightsRequest::default()), [0.5, 0.25], "the plan's");
    assert_eq!(alphas(&trio::alphas(&[2.0])), [2.0, 2.0], "one for all");
    assert_eq!(alphas(&trio::alphas(&[1.0, -1.0])), [1.0, -1.0], "one for each");
}

/// `base` as a side is the base as it is; flags and recipes say the same.
#[test]
fn adapters_of_the_base_are_the_bases() {
    let recipe = |text: &str| -> Recipe {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writable");
        Recipe::open(file.path().to_str().expect("UTF-8")).expect("valid")
    };
    let recipe = recipe(
        "base = { model = '/b', lora = ['/l'] }\n[[pair]]\nexpert = { model = 'base', cache_type_k = 'f16' }\n\
         antiexpert = { model = 'base', lora = [{ path = '/m', scale = 0.5 }] }\n",
    );
    let plan = Plan::of_recipe(&recipe, &source(""), &backend()).expect("a plan");
    let adapters = |side: &Option<SidePlan>| -> Vec<_> {
        let source = side.as_ref().and_then(|side| side.source.clone()).expect("a model of its own");
        source.adapters.iter().map(|lora| (lora.path.display().to_string(), lora.scale)).collect()
    };
    assert_eq!(adapters(&plan.pairs[0].expert), [("/l".to_owned(), 1.0)]);
    assert_eq!(adapters(&plan.pairs[0].antiexpert), [("/l".to_owned(), 1.0), ("/m".to_owned(), 0.5)]);
}

/// Every bundled recipe but the community's runs: each of its files is loaded once, and mapped once.
#[test]
fn bundled_recipes_run_with_one_copy_of_each_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let is_recipe = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml");
    let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let recipes: Vec<_> = entries.filter(is_recipe).collect();
    assert!(recipes.len() > 5, "{recipes:?}");
    // Other tests map the bundled files too.
    let copies = tempfile::tempdir().expect("a temporary folder");
    for path in recipes {
        let mut recipe = Recipe::open(path.to_str().expect("UTF-8")).unwrap_or_else(|error| panic!("{error}"));
        let mut files = Vec::new();
        for file in recipe.files_mut() {
            let copy = copies.path().join(file.file_name().expect("a name"));
            std::fs::copy(&*file, &copy).expect("it copies");
            *file = copy;
            if file.extension().is_some_and(|end| end == "gguf") && !files.contains(file) {
                files.push(file.clone());
            }
        }
        let mut defaults = source("");
        defaults.model.load_mode = LoadMode::Mmap;
        let plan = Plan::of_recipe(&recipe, &defaults, &backend()).expect("a plan");
        let mut models = Models::default();
        let mut steered = load_with(&plan, &mut models).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let is_model = |file: &&PathBuf| proxytune::gguf::Header::read(file).is_ok();
        assert_eq!(models.n_loaded(), files.iter().filter(is_model).count(), "{}", path.display());
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        for file in files.iter().filter(is_model) {
            let n = maps.lines().filter(|line| line.ends_with(file.to_str().expect("UTF-8"))).count();
            assert_eq!(n, 1, "{} is mapped {n} times for {}", file.display(), path.display());
        }
        let mut conversation = Conversation::prompt(recipe.example_prompt.expect("an example"));
        if let Some(system) = recipe.system_prompt {
            conversation.messages.insert(0, Message::new(Speaker::System, system));
        }
        let mut request = Request::of(conversation);
        (request.sampling, request.n_predict) = (recipe.sampling, Some(8));
        let answer = steered.run(&request);
        assert!(!answer.tokens.is_empty(), "{}: {:?}", path.display(), answer.failure);
    }
}

/// A recipe with files of a hub, run with the same files from a disk: its adapter stays. With another file it does not,
/// and the program says so.
#[test]
fn adapters_stay_with_the_file_they_were_made_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("hub.toml");
    let adapter = file("expert-lora");
    let text = format!(
        "base = {{ hf = 'u/r', hf_file = 'base.gguf' }}\n[[pair]]\n\
         expert = {{ hf = 'u/r', hf_file = 'q8/antiexpert.gguf', lora = [{:?}] }}\n\
         antiexpert = {{ hf = 'u/r', hf_file = 'q8/antiexpert.gguf' }}\n",
        adapter.display().to_string()
    );
    std::fs::write(&recipe, text).expect("writable");
    let path = |role: &str| file(role).to_str().expect("UTF-8").to_owned();
    let (base, small, other) = (path("base"), path("antiexpert"), path("expert"));
    let recipe = recipe.to_str().expect("UTF-8");
    let with = |expert: &str| {
        let args = ["generate", "-p", PROMPT, "-n", "8", "--temp", "0", "-c", "128", "-R", recipe];
        let output = run(&[&args[..], &["-m", &base, "-me", expert, "-ma", &small]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let args = ["generate", "-p", PROMPT, "-n", "8", "--temp", "0", "-c", "128"];
    let by_flags = [&args[..], &["-m", &base, "-me", &small, "--expert-lora", &path("expert-lora"), "-ma", &small]];
    let expected = stdout(&run(&by_flags.concat()));
    let (text, said) = with(&small);
    assert_eq!(text, expected);
    assert!(!said.contains("left out") && !said.contains("changes nothing"), "{said}");
    let (_, said) = with(&other);
    assert!(said.contains("-me names another model than the recipe, whose adapter") && said.contains("is left out"));
    let idle = run(&[&args[..], &["-m", &base, "-me", &small, "-ma", &small]].concat());
    assert!(stderr(&idle).contains("this pair changes nothing"), "{}", stderr(&idle));
}
