//! A task of our own on the bundled trio: many items at once, interrupted and gone on with, and what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use proxytune::engine::{Engine, Settings};
use proxytune::eval::contender::{Contender, Kind};
use proxytune::eval::questions::Questions;
use proxytune::eval::results::{Answered, FORMAT, Record, Results};
use proxytune::eval::task::Task;
use proxytune::eval::{items, runner, standing};
use proxytune::llama::context::FlashAttention;
use proxytune::recipe::placement::CacheType;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, Models, Plan, Role, Sampled, Texts, WeightsRequest};
use serde_json::{Value, json};

use crate::command_line::{json, proxytune, refused, run, stderr, stdout};
use crate::trio::{alphas, backend, demo, file};

const TASK: &str = r#"
description = "Which word begins the next sentence?"
prompt = "{{ opening }}"
answer = "word"
stop = ["\n"]
max_tokens = 24
metric = "exact_match"
compare = "flexible"
[normalise]
ignore_case = true
[[filter]]
name = "strict"
pattern = '[.?!] ([A-Z][a-z]+)'
take = "first"
[[filter]]
name = "flexible"
pattern = '[A-Z][a-z]+'
take = "last"
"#;

/// Openings of stories, with the words that the bundled models like to go on with.
const DATA: [(&str, &str); 9] = [
    ("One day a little girl went to the park with her mom", "she"),
    ("The old man sat by the sea", "he"),
    ("Tom had a red ball", "he"),
    ("Lily and Ben were best friends", "they"),
    ("It was a dark night, and the king slept", "the"),
    ("The dog looked at the cat", "the"),
    ("Once upon a time there was a little bird who lived in a tree", "the"),
    ("In the garden there was a small house", "it"),
    ("The boy went to the river", "he"),
];

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a temporary folder"));
        desk.write("words.toml", TASK);
        desk.write("data.jsonl", &data());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("writable");
        self.typed(name)
    }

    fn typed(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}

fn data() -> String {
    DATA.iter().map(|(opening, word)| json!({"opening": opening, "word": word}).to_string() + "\n").collect()
}

/// Three texts at once, whose logits do not depend on one another.
fn engine() -> Engine {
    let mut plan = Plan { texts: Texts::apart(3), ..demo(0.75) };
    plan.contexts_mut().for_each(|context| {
        (context.cache_type_k, context.cache_type_v) = (CacheType::Q8_0, CacheType::Q8_0);
        (context.n_ctx, context.flash_attention) = (128, FlashAttention::On);
    });
    proxytune::llama::log::capture(false);
    let ensemble = Ensemble::load(&backend(), &plan, &mut Models::default(), &mut |_, _, _| true).expect("it loads");
    Engine::new(ensemble, Settings { n_slots: 3, n_queue: 0, ..Settings::default() })
}

fn contenders() -> Vec<Contender> {
    let contender = |name: &str, kind, sampled, weights| Contender { name: name.to_owned(), kind, sampled, weights };
    vec![
        contender("base", Kind::Base, Sampled::Alone(Role::Base), WeightsRequest::default()),
        contender("expert", Kind::Expert, Sampled::Alone(Role::Expert(0)), WeightsRequest::default()),
        contender("steered α = 0.75", Kind::Steered, Sampled::Steered, WeightsRequest::default()),
        contender("steered α = 1.5", Kind::Steered, Sampled::Steered, alphas(&[1.5])),
    ]
}

/// Every record of a file by contender and item, without its times; a second one is refused.
fn records(path: &Path) -> BTreeMap<(String, usize), Record> {
    let text = std::fs::read_to_string(path).expect("UTF-8");
    let mut found = BTreeMap::new();
    for line in text.lines().skip(1) {
        let record: Record = serde_json::from_str(line).expect(line);
        let answer = match record.answer {
            Answered::Written { text, extracted, finish_reason, .. } => {
                Answered::Written { text, extracted, finish_reason, seconds: 0.0 }
            }
            scored @ Answered::Scored { .. } => scored,
        };
        let record = Record { answer, wall_seconds: 0.0, ..record };
        let twice = found.insert((record.contender.clone(), record.item), record);
        assert!(twice.is_none(), "{twice:?} is there twice");
    }
    found
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_table() {
    let desk = Desk::new();
    let task = Task::open(&desk.typed("words.toml")).expect("a task");
    let items = items::read(&task, &data(), "data", None).expect("items");
    let sampling = Sampling::greedy();
    let questions = Questions { task: &task, items: &items, system: None, sampling: &sampling };
    let header = json!({FORMAT: 1, "task": "words"});
    let mut engine = engine();

    // Runs all contenders, until so many items are answered in this run; those of them whose lines were written.
    let mut run = |path: &Path, n_until: usize| {
        let mut results = Results::open(path, &header).expect("a file of ours");
        let (cancel, mut n_before) = (AtomicBool::new(false), 0);
        for contender in contenders() {
            let mut n_here = 0;
            runner::run(&mut engine, &contender, &questions, &mut results, &cancel, &mut |pace| {
                n_here = pace.n_items;
                cancel.store(n_before + n_here >= n_until, Ordering::Relaxed);
            })
            .expect("it runs");
            n_before += n_here;
        }
        let mut rows = standing::of(&task, &contenders(), &results, items.len());
        for row in &mut rows {
            (row.seconds, row.cost) = (0.0, None);
        }
        rows
    };
    let whole = desk.path("whole.jsonl");
    let expected = run(&whole, usize::MAX);
    assert_eq!(records(&whole).len(), contenders().len() * DATA.len());
    let text = |record: Record| match record.answer {
        Answered::Written { text, .. } => text,
        scored @ Answered::Scored { .. } => panic!("{scored:?}"),
    };
    let texts: std::collections::BTreeSet<_> = records(&whole).into_values().map(text).collect();
    assert!(texts.len() > 2 * DATA.len(), "contenders answer each in its own way: {}", texts.len());
    let rights: Vec<_> = expected.iter().map(|row| row.scores[1].mean).collect();
    assert!(rights.iter().any(|share| *share > 0.0 && *share < 1.0), "{rights:?}");

    // In the first contender, between two, and in the last but one.
    for n_until in [2, DATA.len(), 2 * DATA.len() + 4] {
        let path = desk.path("broken-off.jsonl");
        let _ = std::fs::remove_file(&path);
        let rows = run(&path, n_until);
        let n_there = records(&path).len();
        assert!((n_until..n_until + 3).contains(&n_there), "{n_there} for {n_until}");
        assert_eq!(rows.iter().map(|row| row.n_items).sum::<usize>(), n_there);
        // A line that the program had no time for.
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let last = text.lines().last().expect("a record");
        std::fs::write(&path, format!("{text}{}", &last[..last.len() / 2])).expect("writable");
        assert_eq!(run(&path, usize::MAX), expected, "broken off at {n_until}");
        assert_eq!(records(&path), records(&whole), "broken off at {n_until}");
    }
}

#[test]
fn a_role_by_itself_leaves_the_others_alone() {
    let desk = Desk::new();
    let task = Task::open(&desk.typed("words.toml")).expect("a task");
    let items = items::read(&task, &data(), "data", Some(2)).expect("items");
    let sampling = Sampling::greedy();
    let questions = Questions { task: &task, items: &items, system: None, sampling: &sampling };
    let mut engine = engine();
    let (mut results, cancel) = (Results::default(), AtomicBool::new(false));
    engine.ensemble_mut().break_where(|role, _| role != Role::Expert(0));
    let [base, expert, ..] = &contenders()[..] else { panic!("four contenders") };
    runner::run(&mut engine, expert, &questions, &mut results, &cancel, &mut |_| {}).expect("others are not decoded");
    assert_eq!(results.of("expert", 9).count(), 2);
    let error = runner::run(&mut engine, base, &questions, &mut results, &cancel, &mut |_| {}).expect_err("broken");
    assert!(error.to_string().starts_with("base, item "), "{error}");
    assert_eq!(results.of("base", 9).count(), 0);
}

fn without_speed(mut object: Value) -> Value {
    for row in object["results"].as_array_mut().expect("rows") {
        assert!(row["tokens_per_second"].take().as_f64().is_some_and(|speed| speed > 0.0));
        row["cost"].take();
    }
    object
}

#[test]
fn the_program_prints_a_table_or_an_object() {
    let desk = Desk::new();
    let (task, data) = (desk.typed("words.toml"), desk.typed("data.jsonl"));
    let tuned = file("expert-plays").to_str().expect("UTF-8").to_owned();
    let args = ["eval", &task, "--data", &data, "-np", "3", "--limit", "4", "--deterministic", "--alpha", "0,1"];
    let with_tuned = [&args[..], &["--tuned", &tuned]].concat();
    let object = json(&[&with_tuned[..], &["--json"]].concat());
    let rows = object["results"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().map(|row| row["contender"].as_str().expect("a name")).collect();
    let chosen = standing::CHOSEN;
    assert_eq!(
        names,
        ["base", "expert", "antiexpert", "steered α = 0", "steered α = 1", chosen, "tuned expert-plays.gguf"]
    );
    // At α = 0 the steered text is the base's.
    assert_eq!(rows[3]["scores"], rows[0]["scores"]);
    assert_eq!(rows[3]["tokens_per_item"], rows[0]["tokens_per_item"]);
    assert_eq!(rows[3]["against_base"], json!({"mean": 0.0, "low": 0.0, "high": 0.0, "n": 4}));
    assert_eq!(
        (&rows[3]["beats_base_and_expert"].is_string(), &rows[0]["beats_base_and_expert"]),
        (&true, &Value::Null)
    );
    assert_eq!(
        (&object["compared_by"], &object["greedy"], &object["n_items"]),
        (&json!("flexible"), &json!(true), &json!(4))
    );

    let table = stdout(&run(&with_tuned));
    assert!(table.starts_with("words, 4 items, greedy\n"), "{table}");
    for words in ["against base (flexible)", "tuned expert-plays.gguf", "steered α = 1 beats base and expert alone: "]
    {
        assert!(table.contains(words), "{words:?} in {table}");
    }
    // Without the others there is nobody to compare with.
    let base = json(&[&args[..], &["--contenders", "base", "--json"]].concat());
    let (mut base, all) = (without_speed(base), without_speed(object));
    assert_eq!(
        (base["results"].as_array().map(Vec::len), &base["results"][0]["against_expert"]),
        (Some(1), &Value::Null)
    );
    base["results"][0]["against_expert"] = all["results"][0]["against_expert"].clone();
    assert_eq!(base["results"][0], all["results"][0]);
}

#[test]
fn sampling_is_greedy_but_for_the_cut_unless_the_recipes_is_asked_for() {
    let desk = Desk::new();
    let path = |role| file(role).display().to_string();
    let recipe = format!(
        "base = {:?}\n[[pair]]\nexpert = {:?}\nantiexpert = {:?}\n[sampling]\ntemp = 1.5\nplausibility = 0.1\n",
        path("base"),
        path("expert"),
        path("antiexpert")
    );
    let recipe = desk.write("recipe.toml", &recipe);
    let (task, data) = (desk.typed("words.toml"), desk.typed("data.jsonl"));
    let args = ["eval", &task, "--data", &data, "-R", &recipe, "--limit", "2", "--contenders", "steered"];
    let sampling = |more: &[&str]| {
        let object = json(&[&args[..], &["--json"], more].concat());
        let sampling = &object["sampling"];
        [&sampling["temp"], &sampling["plausibility"], &sampling["seed"]].map(Value::to_string)
    };
    assert_eq!(sampling(&[]), ["0.0", "0.1", "null"]);
    assert_eq!(sampling(&["--recipe-sampling"]), ["1.5", "0.1", "1"]);
    assert!(stdout(&run(&args)).starts_with("words, 2 items, greedy, plausibility 0.1\n"));
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_the_table_of_what_is_done_and_the_rest_for_later() {
    let desk = Desk::new();
    // Items enough that it is not done before it is stopped.
    let data: String = (0..12).map(|_| data()).collect();
    let (task, data, results) = (desk.typed("words.toml"), desk.write("many.jsonl", &data), desk.typed("out.jsonl"));
    let args = ["eval", &task, "--data", &data, "-np", "3", "--contenders", "base,expert", "--deterministic"];
    let kept = [&args[..], &["--results", &results]].concat();
    let child = proxytune(&kept).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let n_lines = || std::fs::read_to_string(&results).map_or(0, |text| text.lines().count());
    let began = std::time::Instant::now();
    while n_lines() < 5 && began.elapsed().as_secs() < 60 {
        std::thread::yield_now();
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("note: stopped"), "{}", stderr(&output));
    let n_there = records(Path::new(&results)).len();
    assert!((4..216).contains(&n_there), "{n_there}");
    assert!(stdout(&output).contains(" items)"), "{}", stdout(&output));

    let output = run(&[&kept[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(&format!("note: {n_there} of 216 answers are there already")),
        "{}",
        stderr(&output)
    );
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(without_speed(object), without_speed(json(&[&args[..], &["--json"]].concat())));
    assert_eq!(records(Path::new(&results)).len(), 216);
    // Nothing is left to be loaded for, and more items or contenders are only added.
    let fewer = run(&[&kept[..], &["--limit", "7", "--json"]].concat());
    let fewer: Value = serde_json::from_slice(&fewer.stdout).expect("one object");
    assert_eq!(fewer["results"][1]["n_items"], 7);
}

#[test]
fn results_of_another_run_are_refused_with_what_differs() {
    let desk = Desk::new();
    let (task, data, results) = (desk.typed("words.toml"), desk.typed("data.jsonl"), desk.typed("out.jsonl"));
    let args = |task: &str, data: &str| {
        ["eval", task, "--data", data, "--limit", "1", "--contenders", "base", "--results", &results].map(str::to_owned)
    };
    let typed = |args: &[String], more: &[&str]| {
        let args: Vec<_> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run(&args)
    };
    let first = args(&task, &data);
    assert!(typed(&first, &[]).status.success());
    let other_task = desk.write("words-2.toml", &TASK.replace("max_tokens = 24", "max_tokens = 8"));
    let other_data = desk.write("data-2.jsonl", &self::data().replace("ball", "bell"));
    let expert = file("expert").to_str().expect("UTF-8").to_owned();
    for (args, more, words) in [
        (args(&other_task, &data), &[][..], "task.max_tokens is 24 there and 8 here"),
        (args(&task, &other_data), &[], "data.sha256 is "),
        (first.clone(), &["--recipe-sampling"], "sampling.temp is 0.0 there and 0.6 here"),
        (
            first.clone(),
            &["-R", "demo", "-ma", &expert],
            "models.antiexpert.model is \"antiexpert.gguf\" there and \"expert.gguf\" here",
        ),
        (first.clone(), &["--base-template", "chatml"], "models.base.view.template is null there"),
    ] {
        let output = typed(&args, more);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("holds the results of another run: ") && said.contains(words), "{words}: {said}");
        assert!(said.contains("hint: name another file with --results"), "{said}");
    }
    assert!(typed(&first, &[]).status.success(), "the file is as it was");
    let said = refused(&["eval", &task, "--data", &data, "--results", &data], 2);
    assert!(said.contains("holds no results of `proxytune eval`"), "{said}");
}

#[test]
fn what_is_wrong_with_a_task_or_its_data_is_told_with_its_line() {
    let desk = Desk::new();
    let (task, data) = (desk.typed("words.toml"), desk.typed("data.jsonl"));
    let with_task = |text: String| refused(&["eval", &desk.write("bad.toml", &text), "--data", &data], 1);
    for (from, to, words) in [
        ("{{ opening }}", "{{ opening", "prompt is no template: line 1: "),
        ("{{ opening }}", "{{ openning }}", "line 1: there is no field \"openning\", expected one of opening, word"),
        ("answer = \"word\"", "answer = \"wort\"", "line 1: there is no field \"wort\", expected one of opening, word"),
        (
            "compare = \"flexible\"",
            "reference = \"strict\"",
            "line 1: the filter \"strict\", which finds the reference",
        ),
        ("[A-Z][a-z]+'", "[A-Z][a-z+'", "unclosed character class"),
        ("metric", "metrik", "unknown field `metrik`"),
    ] {
        let said = with_task(TASK.replacen(from, to, 1));
        assert!(said.contains(words), "{to}: {said}");
    }
    let lines: Vec<_> = self::data().lines().map(str::to_owned).collect();
    let with_data = |text: String| refused(&["eval", &task, "--data", &desk.write("bad.jsonl", &text)], 1);
    for (text, words) in [
        (format!("{}\n\n{{\"opening\": \"x\", \n", lines[0]), "bad.jsonl, line 3: expected JSON, at column "),
        (format!("{}\n[1]\n", lines[0]), "line 2: expected an object"),
        (
            format!("{}\n{{\"word\": \"he\", \"text\": \"x\"}}\n", lines[0]),
            "line 2: there is no field \"opening\", expected one of word, text",
        ),
        (
            "{\"opening\": \"x\", \"word\": [\"he\"]}\n".to_owned(),
            "line 1: the field \"word\" is a list, expected a text",
        ),
        ("\n\n".to_owned(), "bad.jsonl holds no item"),
    ] {
        let said = with_data(text);
        assert!(said.contains(words) && said.contains("hint: the data is JSONL"), "{words}: {said}");
    }
    let said = refused(&["eval", "no-such-task", "--data", &data], 2);
    assert!(
        said.contains("no task is called \"no-such-task\"")
            && said.contains("hint: bundled tasks: ")
            && said.contains(" gsm8k, "),
        "{said}"
    );
    let said = refused(&["eval", &task, "--data", &data, "-c", "32"], 2);
    assert!(said.contains("a context of 32 tokens is too small"), "{said}");
    let base = file("base").to_str().expect("UTF-8").to_owned();
    let said = refused(&["eval", &task, "--data", &data, "-m", &base, "--contenders", "expert"], 2);
    assert!(said.contains("there is no expert to answer"), "{said}");
    let recipes = stdout(&run(&["recipe", "list"]));
    assert!(!recipes.lines().any(|line| line.starts_with("gsm8k")), "a task is no recipe: {recipes}");
}
