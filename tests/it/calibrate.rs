//! The weights that are found against a sweep over weights, and what `calibrate` prints and writes.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use proxytune::eval::calibrate::{Calibration, Setting, calibrate};
use proxytune::eval::kept::{Kept, Store};
use proxytune::eval::perplexity::{Predictor, measure_texts};
use proxytune::eval::{Document, Texts};
use proxytune::prompt::Conversation;
use proxytune::recipe::{Recipe, Schedule, View};
use proxytune::steer::{self, Plan, Role, SidePlan};

use crate::command_line::{refused, run, stderr, stdout};
use crate::trio::{Steered, backend, demo, file, load, model, plan, source};

fn heldout() -> String {
    let text = std::fs::read_to_string(file("base").with_file_name("heldout-prose.txt")).expect("a text");
    text.chars().take(1500).collect()
}

fn documents() -> Vec<Document> {
    let document = |(prompt, answer): (&str, &str)| Document {
        conversation: Conversation::prompt(prompt),
        answer: answer.to_owned(),
    };
    [
        ("One morning the boy went to the river and", " saw a big fish. He was very happy."),
        ("The old king sat on his throne", " and looked at the people who stood before him."),
        ("Lily had a red ball.", " She played with it in the garden every day."),
        ("It was late in the evening, and", " the rain fell upon the roof of the house."),
    ]
    .map(document)
    .to_vec()
}

/// Windows of 64 tokens, two at once.
fn small(mut plan: Plan) -> Plan {
    plan.texts = steer::Texts::apart(2);
    plan.contexts_mut().for_each(|context| (context.n_ctx, context.n_outputs_max) = (64, 64));
    plan
}

fn windows(steered: &mut Steered) -> Texts {
    Texts::windows(steered.engine.ensemble_mut(), &heldout(), None).expect("windows")
}

fn found(steered: &mut Steered, texts: &Texts, store: Store) -> Calibration {
    let kept = Kept::read(steered.engine.ensemble_mut(), texts, store, |_, _| true).expect("rows");
    calibrate(&kept, 2).expect("weights")
}

fn loss(found: &Calibration, setting: Setting) -> f64 {
    let rows = found.rows.iter().chain(&found.curve);
    rows.into_iter().find(|row| row.setting == setting).expect("a row").figures.loss.mean()
}

fn best_alpha(found: &Calibration) -> f32 {
    let row = found.rows.iter().find(|row| row.setting == Setting::BestAlpha).expect("a row");
    row.weights.as_ref().and_then(steer::Weights::one_alpha).expect("one α")
}

/// Nats of the planned weights, as `perplexity` measures them.
fn nats(plan: &Plan) -> f64 {
    let mut steered = load(plan).expect("it loads");
    let texts = windows(&mut steered);
    let losses = measure_texts(steered.engine.ensemble_mut(), &texts, &[Predictor::Planned], |_, _| true);
    losses.expect("losses").rows.last().expect("a row").figures.loss.mean()
}

#[test]
fn the_best_alpha_is_that_of_a_sweep() {
    let mut steered = load(&small(demo(0.75))).expect("it loads");
    let texts = windows(&mut steered);
    let found = found(&mut steered, &texts, Store::memory());
    let alphas: Vec<f32> = (0..=200).map(|i| i as f32 / 100.0).collect();
    let sweep: Vec<_> = alphas.iter().map(|&alpha| Predictor::Steered(alpha)).collect();
    let losses = measure_texts(steered.engine.ensemble_mut(), &texts, &sweep, |_, _| true).expect("losses");
    let steered_rows = losses.rows.iter().skip(3).map(|row| row.figures.loss.mean()).zip(&alphas);
    let (least, at) = steered_rows.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a sweep");
    assert!((best_alpha(&found) - at).abs() < 0.011, "{} for {at}", best_alpha(&found));
    assert!((loss(&found, Setting::BestAlpha) - least).abs() < 1e-4);
    // What perplexity says of the lanes and of α is what is said here.
    for (predictor, setting) in [
        (Predictor::Alone(Role::Base), Setting::Alone(Role::Base)),
        (Predictor::Alone(Role::Expert(0)), Setting::Alone(Role::Expert(0))),
        (Predictor::Steered(0.75), Setting::Own),
        (Predictor::Steered(1.5), Setting::Alpha(1.5)),
    ] {
        let row = losses.rows.iter().find(|row| row.predictor == predictor).expect("a row");
        assert!((row.figures.loss.mean() - loss(&found, setting)).abs() < 1e-3, "{predictor:?}");
    }
    let base = &found.rows[0].figures;
    assert_eq!((base.changed.mean(), base.divergence.mean(), base.against(0).mean()), (0.0, 0.0, 0.0));
    let own = &found.rows[4].figures;
    assert!(own.changed.mean() > 0.05 && own.divergence.mean() > 0.05, "{own:?}");
    assert_eq!(found.n_tokens, texts.n_tokens());
}

#[test]
fn no_weights_near_the_best_are_better() {
    let planned = small(demo(1.0));
    let mut steered = load(&planned).expect("it loads");
    let texts = windows(&mut steered);
    let found = found(&mut steered, &texts, Store::memory());
    let best = found.rows.iter().find(|row| row.setting == Setting::BestWeights).expect("a row");
    let weights = best.weights.clone().expect("weights");
    let (w, (a, b)) = (weights.base_at(0), weights.at(0, 0));
    let at = |w: f32, a: f32, b: f32| {
        let mut plan = planned.clone();
        plan.base_weight = Some(Schedule::constant(w));
        plan.pairs[0].alpha_expert = Some(Schedule::constant(a));
        plan.pairs[0].alpha_antiexpert = Some(Schedule::constant(b));
        nats(&plan)
    };
    let least = at(w, a, b);
    assert!((best.figures.loss.mean() - least).abs() < 1e-3, "{} for {least}", best.figures.loss.mean());
    for by in [-0.05, 0.05] {
        for other in [at(w + by, a, b), at(w, a + by, b), at(w, a, b + by), at(w + by, a + by, b + by)] {
            assert!(other > least - 1e-5, "{other} is below {least}");
        }
    }
    assert!(least <= loss(&found, Setting::BestAlpha) + 1e-5);
    // A temperature alone is among what the weights can be.
    let (best_base, base) = (loss(&found, Setting::BestBase), loss(&found, Setting::Alone(Role::Base)));
    assert!(least <= best_base + 1e-5 && best_base <= base + 1e-6, "{least} {best_base} {base}");
}

#[test]
fn rows_in_a_file_are_those_in_memory() {
    let mut steered = load(&small(demo(0.5))).expect("it loads");
    let texts = windows(&mut steered);
    let memory = found(&mut steered, &texts, Store::memory());
    let file = found(&mut steered, &texts, Store::file(tempfile::tempfile().expect("a file")));
    assert_eq!(memory.rows.len(), 7);
    assert_eq!(memory, file);
}

/// Several pairs, missing sides, the base as a side, one model under two prompts, an adapter: all on documents.
#[test]
fn every_bundled_recipe_is_calibrated() {
    let folder = file("base");
    let recipes = std::fs::read_dir(folder.parent().expect("a folder")).expect("the demo");
    let recipes = recipes.map(|entry| entry.expect("an entry").path());
    for path in recipes.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
        let recipe = Recipe::open(path.to_str().expect("UTF-8")).expect("a recipe");
        let mut steered = load(&small(Plan::of_recipe(&recipe, &source(""), &backend()).expect("a plan"))).expect("it");
        let system = recipe.system_prompt.as_deref();
        let texts = Texts::documents(steered.engine.ensemble_mut(), &documents(), system).expect("documents");
        let found = found(&mut steered, &texts, Store::memory());
        let name = path.display();
        let (alpha, parts) = (loss(&found, Setting::BestAlpha), loss(&found, Setting::BestWeights));
        assert!(parts <= alpha + 1e-4, "{name}: {parts}, and {alpha} with plain α");
        for row in &found.curve {
            assert!(alpha <= row.figures.loss.mean() + 1e-4, "{name}: {alpha}, and less at {:?}", row.setting);
        }
        assert_eq!(found.n_texts, 4, "{name}");
    }
}

/// The answer's tokens alone count, each lane behind the prompt that it is given.
#[test]
fn documents_are_scored_behind_each_roles_own_prompt() {
    let view = View { prefix: Some("Once upon a time. ".to_owned()), ..View::default() };
    let expert = model(file("expert")).map(|side| side.seen_as(view));
    let plan = small(plan("base", &[(0.7, expert, model(file("antiexpert")))]));
    let mut steered = load(&plan).expect("it loads");
    let documents = documents();
    let texts = Texts::documents(steered.engine.ensemble_mut(), &documents, None).expect("documents");
    let losses = measure_texts(steered.engine.ensemble_mut(), &texts, &[Predictor::Planned], |_, _| true);
    let losses = losses.expect("losses");
    let (mut sum, mut n) = (0.0, 0);
    for document in &documents {
        let prompts = steered.prompts(&document.conversation).expect("prompts");
        let Conversation { messages, .. } = &document.conversation;
        let whole = steered.model().tokenize(&format!("{}{}", messages[0].text, document.answer)).expect("tokens");
        let prompt = steered.role(Role::Base, &prompts).to_vec();
        assert!(steered.role(Role::Expert(0), &prompts).len() > prompt.len(), "its own prefix");
        let answer = whole.strip_prefix(prompt.as_slice()).expect("it goes on").to_vec();
        steered.read(&prompts).expect("it reads");
        for (i, &token) in answer.iter().enumerate() {
            let row = steered.composed(i, 0.0).expect("a row");
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mass: f64 = row.iter().map(|logit| f64::from(logit - max).exp()).sum();
            sum += mass.ln() - f64::from(row[token as usize] - max);
            n += 1;
            steered.decode(&[token]).expect("it decodes");
        }
        let (ensemble, sequence) = steered.by_hand();
        ensemble.clear(sequence);
    }
    assert_eq!((losses.n_tokens, losses.n_texts), (n, 4));
    let got = losses.rows.last().expect("a row").figures.loss.mean();
    assert!((got - sum / n as f64).abs() < 0.02, "{got} for {}", sum / n as f64);
}

#[test]
fn documents_beyond_the_context_are_counted() {
    let mut steered = load(&small(demo(1.0))).expect("it loads");
    let mut documents = documents();
    documents[1].answer = "and then ".repeat(80);
    documents[2].conversation = Conversation::prompt("and then ".repeat(80));
    let texts = Texts::documents(steered.engine.ensemble_mut(), &documents, None).expect("documents");
    assert_eq!((texts.len(), texts.n_too_long), (2, 2));
}

/// Runs `calibrate` on one thread with windows of 64 tokens.
fn command(args: &[&str]) -> std::process::Output {
    run(&[&["calibrate", "-c", "64", "--tokens", "250"], args].concat())
}

fn text(folder: &Path) -> String {
    let path = folder.join("heldout.txt");
    std::fs::write(&path, heldout()).expect("writable");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn what_is_written_predicts_as_it_was_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let heldout = text(folder.path());
    let tuned = folder.path().join("tuned.toml");
    let tuned = tuned.to_str().expect("UTF-8");
    let output = command(&["-f", &heldout, "-R", "several", "-o", tuned, "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("of logits in memory"), "{}", stderr(&output));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let names: Vec<_> =
        object["results"].as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("a name")).collect();
    let expected = ["base", "expert", "antiexpert", "expert 2", "best_base", "own", "best_alpha", "best_weights"];
    assert_eq!(names, expected);
    assert_eq!(object["curve"].as_array().map(Vec::len), Some(8));
    let chosen = object["recommended"]["name"].as_str().expect("a name");
    let row = object["results"].as_array().expect("rows").iter().find(|row| row["name"] == chosen).expect("it");
    for key in ["nats_per_token", "against_base", "against_expert", "intervention_rate", "kl_from_base"] {
        assert!(row[key].is_number(), "{key}: {row}");
    }
    assert_eq!(row["weights"], object["recommended"]["weights"]);
    let n = object["n_windows"].to_string();
    let again = run(&["perplexity", "-R", tuned, "-f", &heldout, "-c", "64", "--chunks", &n, "--json"]);
    assert!(again.status.success(), "{}", stderr(&again));
    let again: Value = serde_json::from_slice(&again.stdout).expect("one object");
    assert_eq!(again["n_tokens"], object["n_tokens"]);
    let last = again["results"].as_array().and_then(|rows| rows.last()).expect("the planned weights");
    assert_eq!(last["alpha"], json!(null));
    let [told, got] = [row, last].map(|row| row["nats_per_token"].as_f64().expect("nats"));
    assert!((told - got).abs() < 1e-3, "{told} was told, {got} is measured");

    let again = command(&["-f", &heldout, "-o", tuned]);
    assert!(!again.status.success() && stderr(&again).contains("is there already"), "{}", stderr(&again));
    let again = command(&["-f", &heldout, "-o", tuned, "--overwrite"]);
    assert!(again.status.success() && stdout(&again).contains("written: "), "{}", stderr(&again));
    assert!(Recipe::open(tuned).expect("a recipe").pairs.len() == 1, "it is the demo's now");
}

#[test]
fn it_says_what_it_recommends_and_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = command(&["-f", &text(folder.path())]);
    let said = stdout(&output);
    for words in [
        "own α = 0.75",
        "best α",
        "Best weights: α = ",
        "against the best α",
        "Plausibility cut:",
        "Verdict: steering",
        "In the recipe:\n\n",
        "[[pair]]\nalpha = ",
    ] {
        assert!(said.contains(words), "{words}: {said}{}", stderr(&output));
    }
}

#[test]
fn documents_from_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("answers.jsonl");
    let mut lines = std::fs::File::create(&path).expect("writable");
    for document in documents() {
        let line = json!({"prompt": document.conversation.messages[0].text, "answer": document.answer});
        writeln!(lines, "{line}").expect("writable");
    }
    writeln!(lines, "{}", json!({"prompt": "x", "answer": "and then ".repeat(80)})).expect("writable");
    let path = path.to_str().expect("UTF-8");
    let output = run(&["perplexity", "-f", path, "-c", "64", "--json"]);
    assert!(stderr(&output).contains("1 document is longer than the context of 64 tokens"), "{}", stderr(&output));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!((&object["n_documents"], &object["n_too_long"]), (&json!(4), &json!(1)));
    let table = stdout(&run(&["perplexity", "-f", path, "-c", "64", "--chunks", "2"]));
    assert!(table.contains("in 2 documents") && table.contains("against expert"), "{table}");
    let output = command(&["-f", path, "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(object["n_documents"], json!(4), "{}", stderr(&output));
    // Where α changes along the answer, an answer has it and a text does not.
    let heldout = text(folder.path());
    assert!(run(&["perplexity", "-R", "schedule", "-f", path, "-c", "64"]).status.success());
    assert!(refused(&["calibrate", "-R", "schedule", "-f", &heldout], 2).contains("changes α along the answer"));
}

#[test]
fn what_cannot_be_calibrated_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let base = file("base");
    let base = base.to_str().expect("UTF-8");
    let good = write("good.txt", "The old man walked slowly down the road.");
    assert!(refused(&["calibrate", "-m", base, "-f", &good], 2).contains("there is no pair"));
    let bad = write("bad.jsonl", "{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"text\": \"a\"}\n");
    let said = refused(&["calibrate", "-f", &bad], 1);
    assert!(said.contains("bad.jsonl, line 2: it has `text`, expected") && said.contains("hint: "), "{said}");
    let long = write("long.jsonl", &json!({"prompt": "a", "answer": "and then ".repeat(80)}).to_string());
    assert!(refused(&["calibrate", "-f", &long, "-c", "64"], 1).contains("every document of"));
    assert!(refused(&["perplexity", "-f", &write("empty.jsonl", "\n")], 1).contains("holds no token"));
    assert!(refused(&["calibrate", "-f", &good, "--overwrite"], 2).contains("--output"));
    // One text has no spread: it is measured, and no more is said than that.
    let said = stdout(&run(&["calibrate", "-f", &good]));
    assert!(said.contains("too few texts") && said.contains("one text alone does not tell"), "{said}");
}

/// The base as a side has the base's lane; its weights are found as any others.
#[test]
fn the_base_as_antiexpert() {
    let planned = small(plan("base", &[(0.5, model(file("expert")), Some(SidePlan::base()))]));
    let mut steered = load(&planned).expect("it loads");
    let texts = windows(&mut steered);
    let found = found(&mut steered, &texts, Store::memory());
    assert!((0.0..=4.0).contains(&best_alpha(&found)), "{}", best_alpha(&found));
    assert!(loss(&found, Setting::BestWeights) <= loss(&found, Setting::BestAlpha) + 1e-4);
    assert!(loss(&found, Setting::BestAlpha) <= loss(&found, Setting::Own) + 1e-6);
}
