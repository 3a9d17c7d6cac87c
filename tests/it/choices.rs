//! Answers that are given: multiple choice and losses, against sums over rows that are read one by one; the formats of data
//! sets; runs that are killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use proxytune::eval::contender::{Contender, Kind};
use proxytune::eval::items;
use proxytune::eval::questions::Questions;
use proxytune::eval::results::{Answered, Record, Results};
use proxytune::eval::scored::{self, Open};
use proxytune::eval::spec::Spec;
use proxytune::eval::task::Task;
use proxytune::llama::Token;
use proxytune::prompt::Conversation;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, Models, Plan, Role, Sampled, Texts, WeightsRequest};
use serde_json::{Value, json};

use crate::command_line::{json, proxytune, refused, run, stderr, stdout};
use crate::engine::{invariant, with_context};
use crate::trio::{alphas, backend, demo, file, load, with_recurrent_pair};

/// Choices of one token and of many, some of which begin alike, behind prompts that begin alike.
const ITEMS: [(&str, &[&str], usize); 7] = [
    ("Once upon a time there was a little", &["girl", "boy who lived by the sea", "stone", "boy"], 1),
    ("Once upon a time there was a big", &["dog", "house in the middle of the wood, and nobody lived in it"], 0),
    ("The dog was very", &["happy", "sad because he had lost his ball", "philosophical"], 1),
    ("The old man", &["said", "sat down", "was", "ran away from the king's men"], 3),
    ("One morning the boy went to the river and", &["saw a big fish", "said"], 0),
    ("The king", &["was dead", "slept"], 1),
    ("", &["He said", "Said he", "Yes"], 0),
];

const TASK: &str = "metric = 'multiple_choice'\nprompt = '{{text}}'\nchoices = 'choices'\nanswer = 'gold'\n";

fn data() -> String {
    let line = |(text, choices, gold): &(&str, &[&str], usize)| json!({"text": text, "choices": choices, "gold": gold});
    ITEMS.iter().map(|item| line(item).to_string() + "\n").collect()
}

fn task(spec: &str) -> Task {
    Task::new("task".to_owned(), toml::from_str::<Spec>(spec).expect("a task")).expect("valid")
}

fn contenders() -> Vec<Contender> {
    let alone = |kind, role| (kind, Sampled::Alone(role), WeightsRequest::default());
    [
        alone(Kind::Base, Role::Base),
        alone(Kind::Expert, Role::Expert(0)),
        alone(Kind::Antiexpert, Role::Antiexpert(0)),
        (Kind::Steered, Sampled::Steered, alphas(&[0.75])),
        (Kind::Steered, Sampled::Steered, alphas(&[-0.5])),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (kind, sampled, weights))| Contender { name: i.to_string(), kind, sampled, weights })
    .collect()
}

/// So many texts at once, in batches of so many tokens and rows.
fn ensemble(plan: &Plan, n_texts: usize, n_batch: usize, n_rows: usize) -> Ensemble {
    let mut plan = Plan { texts: Texts::apart(n_texts), ..with_context(plan.clone(), &invariant()) };
    plan.contexts_mut().for_each(|context| {
        (context.n_ctx, context.n_batch, context.n_outputs_max) = (128, n_batch, n_rows);
    });
    Ensemble::load(&backend(), &plan, &mut Models::default(), &mut |_, _, _| true).expect("it loads")
}

/// Every record by contender and item.
fn scored(ensemble: &mut Ensemble, spec: &str, data: &str) -> BTreeMap<(usize, usize), Record> {
    let (task, sampling, contenders) = (task(spec), Sampling::greedy(), contenders());
    let items = items::read(&task, data, "data", None).expect("items");
    let questions = Questions { task: &task, items: &items, system: None, sampling: &sampling };
    let mut results = Results::default();
    let open = Open::new(ensemble.loaded(), &questions, &contenders, &results).expect("texts");
    assert_eq!(open.len(), items.len());
    let cancel = AtomicBool::new(false);
    let mut n_answers = 0;
    scored::run(ensemble, &open, &contenders, &questions, &mut results, &cancel, &mut |pace| n_answers = pace.n_items)
        .expect("it reads");
    assert_eq!(n_answers, items.len() * contenders.len());
    let record = |(i, contender): (usize, &Contender)| {
        let of = results.of(&contender.name, items.len()).map(move |record| ((i, record.item), record.clone()));
        of.collect::<Vec<_>>()
    };
    contenders.iter().enumerate().flat_map(record).collect()
}

fn logprobs(record: &Record) -> &[f64] {
    match &record.answer {
        Answered::Scored { logprobs, .. } => logprobs,
        written @ Answered::Written { .. } => panic!("{written:?}"),
    }
}

/// The log-probabilities of tokens behind a prompt for every contender, from rows that are read one by one and summed up in
/// f64 without anything of ours.
fn by_hand(plan: &Plan, prompt: &str, answer: &str) -> Vec<f64> {
    let mut steered = load(&with_context(plan.clone(), &invariant())).expect("it loads");
    let prompts = steered.prompts(&Conversation::prompt(prompt.to_owned())).expect("prompts");
    let whole = steered.prompts(&Conversation::prompt(format!("{prompt}{answer}"))).expect("prompts");
    let tokens: Vec<Token> = whole.lane(0)[prompts.lane(0).len()..].to_vec();
    assert_eq!(whole.lane(0)[..prompts.lane(0).len()], *prompts.lane(0), "the answer begins with a token of its own");
    steered.read(&prompts).expect("it decodes");
    let mut sums = vec![0.0; contenders().len()];
    for (position, token) in tokens.iter().enumerate() {
        let rows: Vec<Vec<f64>> = {
            let (ensemble, sequence) = steered.by_hand();
            let row = |lane| ensemble.logits(sequence, lane, position).expect("a row").iter().map(|&x| f64::from(x));
            (0..ensemble.lanes().len()).map(|lane| row(lane).collect()).collect()
        };
        let [base, expert, antiexpert] = &rows[..] else { panic!("three lanes") };
        let steered_at = |alpha: f64| -> Vec<f64> {
            (0..base.len()).map(|id| base[id] + alpha * (expert[id] - antiexpert[id])).collect()
        };
        let all = [base.clone(), expert.clone(), antiexpert.clone(), steered_at(0.75), steered_at(-0.5)];
        for (sum, row) in sums.iter_mut().zip(all) {
            *sum += row[*token as usize] - row.iter().map(|x| x.exp()).sum::<f64>().ln();
        }
        steered.decode(&[*token]).expect("it decodes");
    }
    sums
}

#[test]
fn choices_have_the_sums_of_rows_that_are_read_one_by_one() {
    let plan = demo(1.0);
    let records = scored(&mut ensemble(&plan, 3, 64, 16), TASK, &data());
    for (item, (text, choices, gold)) in ITEMS.iter().enumerate() {
        for (choice, of) in choices.iter().enumerate() {
            for (contender, expected) in by_hand(&plan, text, &format!(" {of}")).into_iter().enumerate() {
                let got = logprobs(&records[&(contender, item)])[choice];
                assert!((got - expected).abs() < 1e-5, "{contender}, {text:?} {of:?}: {got} against {expected}");
            }
        }
        for contender in 0..contenders().len() {
            let record = &records[&(contender, item)];
            let logprobs = logprobs(record);
            let best = |divide: &dyn Fn(usize) -> f64| {
                let by = |i: &usize| logprobs[*i] / divide(*i);
                (0..choices.len()).max_by(|a, b| by(a).total_cmp(&by(b))).expect("choices")
            };
            let share = logprobs[*gold].exp() / logprobs.iter().map(|logprob| logprob.exp()).sum::<f64>();
            let is = |best: usize| f64::from(u8::from(best == *gold));
            assert_eq!(record.scores["acc"], is(best(&|_| 1.0)), "{text}");
            assert_eq!(record.scores["acc_norm"], is(best(&|i| choices[i].len() as f64)), "{text}");
            assert!((record.scores["mc2"] - share).abs() < 1e-9, "{text}");
        }
    }
}

/// Nor does it matter where a model cannot take back what it has read, nor that all prompts begin alike.
#[test]
fn how_many_are_read_at_once_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let long = format!("prompt = '{}{{{{text}}}}'", "He said that the king had a dog and a cat. ".repeat(4));
    let spec = TASK.replace("prompt = '{{text}}'", &long);
    for (plan, is_recurrent) in [(demo(1.0), false), (with_recurrent_pair(folder.path()), true)] {
        let data = if is_recurrent {
            String::from("{\"text\": \"abc\", \"choices\": [\"d\", \"e dab\", \"cab\"], \"gold\": 0}\n").repeat(3)
        } else {
            data()
        };
        let spec = if is_recurrent { TASK } else { &spec };
        let expected = scored(&mut ensemble(&plan, 1, 128, 128), spec, &data);
        for (n_texts, n_batch, n_rows) in [(4, 128, 128), (16, 48, 5), (2, 32, 1)] {
            let records = scored(&mut ensemble(&plan, n_texts, n_batch, n_rows), spec, &data);
            for (key, record) in &records {
                assert_eq!(logprobs(record), logprobs(&expected[key]), "{key:?} at {n_texts}, {n_batch}, {n_rows}");
            }
        }
    }
}

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.path().join(name), text).expect("writable");
        self.typed(name)
    }

    fn typed(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }
}

/// The rows of a result, by contender.
fn rows(object: &Value) -> BTreeMap<String, Value> {
    let rows = object["results"].as_array().expect("rows");
    rows.iter().map(|row| (row["contender"].as_str().expect("a name").to_owned(), row.clone())).collect()
}

fn without_speed(object: &Value) -> Vec<Value> {
    let mut rows = object["results"].as_array().expect("rows").clone();
    for row in &mut rows {
        row["tokens_per_second"].take();
        row["cost"].take();
    }
    rows
}

#[test]
fn losses_are_those_of_perplexity() {
    let desk = Desk::new();
    let documents: String = ITEMS
        .iter()
        .filter(|(text, ..)| !text.is_empty())
        .map(|(text, choices, _)| json!({"prompt": text, "answer": format!(" {}", choices[0])}).to_string() + "\n")
        .collect();
    let documents = desk.write("documents.jsonl", &documents);
    let eval = json(&["eval", "answers", "--data", &documents, "--alpha", "0.5", "--deterministic", "--json"]);
    let losses = json(&["perplexity", "-f", &documents, "--alpha", "0.5", "--deterministic", "--json"]);
    let of = rows(&eval);
    for row in losses["results"].as_array().expect("rows") {
        let role = row["role"].as_str().expect("a role");
        let name = if role == "steered" { "steered α = 0.5" } else { role };
        let mean = of[name]["scores"]["nats_per_token"]["mean"].as_f64().expect("a number");
        let expected = row["nats_per_token"].as_f64().expect("a number");
        assert!((mean - expected).abs() < 1e-6, "{name}: {mean} against {expected}");
    }
    assert_eq!(eval["compared_by"], "bits_per_byte");

    // A text as it is: bits a byte are nats a token in other units.
    let text = desk.write("text.txt", &ITEMS[..6].iter().map(|(text, ..)| *text).collect::<Vec<_>>().join(". "));
    let object = json(&["eval", "text", "--data", &text, "--contenders", "base", "--deterministic", "--json"]);
    let base = &object["results"][0];
    let score = |name: &str| base["scores"][name]["mean"].as_f64().expect("a number");
    let n_bytes = std::fs::metadata(&text).expect("it is there").len() as f64;
    let n_tokens = base["tokens_per_item"].as_f64().expect("a number");
    let bits = score("nats_per_token") * n_tokens / std::f64::consts::LN_2 / n_bytes;
    assert!((score("bits_per_byte") - bits).abs() < 1e-9, "{bits}");
    // perplexity without documents reads it in one window behind BOS.
    let losses = json(&["perplexity", "-f", &text, "--deterministic", "--json"]);
    let expected = losses["results"][0]["nats_per_token"].as_f64().expect("a number");
    assert!((score("nats_per_token") - expected).abs() < 1e-6);
}

#[test]
fn the_formats_of_data_sets_are_read() {
    let desk = Desk::new();
    let trivia =
        "#Q What did the king have?\n^ A dog\nA A cat\nB A dog\n\n#Q Is the sea blue?\n^ True\nA True\nB False\n";
    let arc = [
        json!({"id": "1", "question": {"stem": "What burns?", "choices": [{"text": "Fire", "label": "A"},
               {"text": "Water and ice", "label": "B"}]}, "answerKey": "A"}),
        json!({"id": "2", "question": "What is cold?", "choices": {"text": ["Fire", "Ice"], "label": ["1", "2"]},
               "answerKey": "2"}),
    ];
    let truthful = json!([
        {"question": "Is the moon a cheese?", "mc1_targets": {"No.": 1, "Yes.": 0}, "mc2_targets": {"No.": 1, "It is not.": 1, "Yes.": 0}},
        {"question": "Who was king?", "mc1_targets": {"choices": ["He", "She"], "labels": [1, 0]},
         "mc2_targets": {"choices": ["He", "She"], "labels": [1, 1]}},
    ]);
    let trivia = desk.write("trivia.txt", trivia);
    let arc = desk.write("arc.jsonl", &arc.map(|line| line.to_string()).join("\n"));
    let truthful = desk.write("mc_task.json", &truthful.to_string());
    let args = ["eval", "opentriviaqa", "arc", "truthfulqa-mc1", "truthfulqa-mc2", "--contenders", "base,steered"];
    let data = ["--data", &trivia, "--data", &arc, "--data", &truthful, "--data", &truthful];
    let object = json(&[&args[..], &data, &["--json"]].concat());
    let tasks = object["tasks"].as_array().expect("tasks");
    let names: Vec<_> = tasks.iter().map(|task| (task["task"].as_str(), task["compared_by"].as_str())).collect();
    assert_eq!(
        names,
        [
            (Some("opentriviaqa"), Some("acc")),
            (Some("arc"), Some("acc_norm")),
            (Some("truthfulqa-mc1"), Some("acc")),
            (Some("truthfulqa-mc2"), Some("mc2")),
        ]
    );
    for task in tasks {
        assert_eq!((&task["n_items"], &task["metric"]), (&json!(2), &json!("multiple_choice")), "{task}");
        let base = &rows(task)["base"]["scores"];
        assert!(base["mc2"]["mean"].as_f64().is_some_and(|share| share > 0.0 && share <= 1.0), "{base}");
    }
    // Where all choices are right, they have all of the probability.
    let rows = rows(&tasks[3]);
    assert!(rows["base"]["scores"]["mc2"]["mean"].as_f64().is_some_and(|share| share > 0.5), "{rows:?}");

    let table = stdout(&run(&[&args[..], &data].concat()));
    for words in
        ["opentriviaqa, 2 items, by log-likelihood\n", "truthfulqa-mc2, 2 items", "against base (mc2)", "acc_norm"]
    {
        assert!(table.contains(words), "{words:?} in {table}");
    }
}

#[test]
fn completions_are_written_for_a_sandbox() {
    let desk = Desk::new();
    let data: String = ["def one():\n", "def two():\n"]
        .iter()
        .enumerate()
        .map(|(i, prompt)| json!({"task_id": format!("Own/{i}"), "prompt": prompt, "test": ""}).to_string() + "\n")
        .collect();
    let (data, folder) = (desk.write("problems.jsonl", &data), desk.typed("out/of/it"));
    let spec = desk.write(
        "few.toml",
        "metric = 'completion'\nprompt = 'prompt'\nid = 'task_id'\nstop = [\"\\ndef\"]\nmax_tokens = 6\n",
    );
    let args = ["eval", &spec, "--data", &data, "--alpha", "1"];
    let kept = [&args[..], &["--completions", &folder]].concat();
    let table = stdout(&run(&kept));
    assert!(table.starts_with("few, 2 items, greedy\n") && !table.contains("against"), "{table}");
    let results = desk.typed("results.jsonl");
    let output = run(&[&args[..], &["--results", &results, "--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["base", "expert", "antiexpert", "steered-alpha-1"] {
        let text = std::fs::read_to_string(Path::new(&folder).join(format!("{name}.jsonl"))).expect(name);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let ids: Vec<_> = lines.iter().map(|line| line["task_id"].as_str().expect("a name")).collect();
        assert_eq!(ids, ["Own/0", "Own/1"], "{name}");
        assert!(lines.iter().all(|line| line["completion"].is_string()), "{text}");
    }
    assert!(refused(&args, 2).contains("hint: name a folder for them with --completions DIR"));
    let other = [&["eval", "gsm8k", "--data", &data, "--completions", &folder][..]].concat();
    assert!(refused(&other, 2).contains("--completions is for one task of completions"));
}

#[test]
fn faults_of_tasks_and_data_are_told() {
    let desk = Desk::new();
    let data = desk.write("data.jsonl", "{\"question\": \"Why?\", \"choices\": [\"a\", \"b\"]}\n");
    let trivia = desk.write("trivia.txt", "#Q Why?\nA a\nB b\n");
    let answers = desk.write("answers-data.jsonl", "{\"prompt\": \"The dog\", \"answer\": \" was happy.\"}\n");
    let folder = desk.0.path().display().to_string();
    for (args, code, words) in [
        (vec!["eval", "arc", "--data", &data], 1, "data.jsonl, line 1: "),
        (vec!["eval", "opentriviaqa", "--data", &trivia], 1, "trivia.txt, line 1: the question has no answer"),
        (vec!["eval", "opentriviaqa", "--data", &trivia], 1, "hint: the data is OpenTriviaQA's: `#Q question`"),
        (vec!["eval", "answers", "--data", &answers, "--html", &folder], 1, "is a folder, expected the name of a file"),
        (vec!["eval", "answers", "--data", &answers, "--tuned", &answers], 1, "answers-data.jsonl is a JSON text"),
        (
            vec!["eval", "arc", "gsm8k", "--data", &data],
            2,
            "expected --data once for each of the tasks, of which there are 2; got 1",
        ),
        (vec!["eval", "arc", "arc", "--data", "-", "--data", "-"], 2, "two tasks read stdin"),
        (vec!["eval", "arc", "--data", &data, "--html", "/nowhere/page.html"], 1, "which is no folder"),
        (vec!["eval", "arc", "--data", &data, "--html", &data], 2, "which is read or written otherwise"),
    ] {
        let error = refused(&args, code);
        assert!(error.contains(words) && error.contains("hint: "), "{args:?}: {error}");
    }
}

/// Killed three times, wherever it is, a run comes to the table of one that was left alone.
#[test]
#[cfg(unix)]
fn a_run_that_is_killed_three_times_comes_to_the_same_table() {
    const WRITTEN: &str = "metric = 'exact_match'\nprompt = '{{text}}'\nanswer = '{{choices[gold]}}'\nmax_tokens = 12\n\
                           [[filter]]\nname = 'word'\npattern = '[a-z]+'\ntake = 'first'\n";
    let desk = Desk::new();
    let data = desk.write("data.jsonl", &data().repeat(12));
    let read_rows = |args: &[&str]| without_speed(&json(args));
    for (name, spec) in [("chosen", TASK), ("written", WRITTEN)] {
        let (spec, results) = (desk.write(&format!("{name}.toml"), spec), desk.typed(&format!("{name}.jsonl")));
        let args = ["eval", &spec, "--data", &data, "--alpha", "0.5,1", "-np", "3", "--deterministic"];
        let kept = [&args[..], &["--results", &results, "--json"]].concat();
        let n_lines = || std::fs::read_to_string(&results).map_or(0, |text| text.lines().count());
        let mut seen = Vec::new();
        // Somewhere in the first, the second and the third part of what is left; a few lines more or less.
        for until in [7, 90, 201] {
            let mut child = proxytune(&kept).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            let began = Instant::now();
            while n_lines() < until && began.elapsed() < Duration::from_secs(60) {
                std::thread::yield_now();
            }
            child.kill().expect("it runs");
            child.wait().expect("it ends");
            seen.push(n_lines());
        }
        assert!(seen.is_sorted() && seen[0] >= 7 && seen[2] < 5 * 84 + 1, "{name}: {seen:?}");
        assert_eq!(read_rows(&kept), read_rows(&[&args[..], &["--json"]].concat()), "{name}: {seen:?}");
        assert_eq!(n_lines(), 1 + 5 * 84, "{name}: no item is there twice");
    }
}

#[test]
fn a_tuned_model_is_read_behind_the_others_and_the_gap_is_told() {
    let desk = Desk::new();
    let data = desk.write("data.jsonl", &data().repeat(3));
    let spec = desk.write("choice.toml", TASK);
    let tuned = file("expert-plays").display().to_string();
    let args = ["eval", &spec, "--data", &data, "--alpha", "0.5,1", "--tuned", &tuned, "--deterministic", "--json"];
    let object = json(&args);
    let of = rows(&object);
    assert_eq!(of.len(), 7, "{:?}", of.keys());
    assert_eq!(of["tuned expert-plays.gguf"]["n_items"], 21);
    let chosen = &of["steered, α of the other half"];
    assert!(chosen["chosen"].as_array().is_some_and(|names| names.len() == 2), "{chosen}");
    assert!(chosen["beats_base_and_expert"].is_string(), "{chosen}");
    assert_eq!(of["base"]["cost"], 1.0);
    assert!(of["steered α = 1"]["cost"].as_f64().is_some_and(|cost| cost > 1.0), "{:?}", of["steered α = 1"]);
}
