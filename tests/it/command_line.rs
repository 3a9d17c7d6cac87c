//! The program as people run it: what it prints, and how it says no.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use proxytune::llama::kernels::Isa;

use crate::gguf::Spec;
use crate::trio::{PROMPT, file, greedy};

pub fn proxytune(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    // One thread, since tests run beside one another; no terminal, so nothing waits for input.
    command.args(args).stdin(Stdio::null()).env_remove("PROXYTUNE_MODELS");
    let runs_models = ["generate", "compare", "eval", "perplexity", "inspect", "calibrate"];
    if args.first().is_some_and(|command| runs_models.contains(command)) {
        command.args(["-t", "1"]);
    }
    command
}

pub fn run(args: &[&str]) -> Output {
    proxytune(args).output().expect("it starts")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

pub fn json(args: &[&str]) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Runs what must fail: the exit code, and stderr with one `error:` line and no panic.
pub fn refused(args: &[&str], code: i32) -> String {
    let output = run(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains("error: ") && !said.contains("panicked"), "{args:?}: {said}");
    said
}

/// The bundled files by name: without the sampling defaults of their recipe.
pub fn files() -> [String; 6] {
    let path = |role| file(role).to_str().expect("UTF-8").to_owned();
    ["-m".to_owned(), path("base"), "-me".to_owned(), path("expert"), "-ma".to_owned(), path("antiexpert")]
}

#[test]
fn generate_streams_the_text_that_the_library_gives() {
    let expected = crate::trio::answer(&crate::trio::demo(1.0), &greedy(24));
    let files = files();
    let mut args = vec!["generate", "-p", PROMPT, "-n", "24", "--temp", "0", "-c", "256"];
    args.extend(files.iter().map(String::as_str));
    let output = run(&[&args[..], &["--no-perf"]].concat());
    assert_eq!(stdout(&output), format!("{}\n", expected.text));
    assert_eq!(stderr(&output), "", "nothing to say beside the text");
    let output = run(&[&args[..], &["-s", "7"]].concat());
    assert_eq!(stdout(&output), format!("{}\n", expected.text), "stdout is the text alone");
    let said = stderr(&output);
    assert!(said.starts_with("perf: prompt ") && said.contains(", answer 24 tokens at "), "{said}");
    assert!(said.ends_with(", seed 7\n") && said.lines().count() == 1, "{said}");
}

#[test]
fn without_models_the_demo_runs_its_own_prompt() {
    let output = run(&["generate", "-n", "8", "--temp", "0", "--display-prompt"]);
    let recipe = proxytune::recipe::Recipe::open("demo").expect("the demo's recipe");
    let prompt = recipe.example_prompt.expect("an example");
    assert!(stdout(&output).starts_with(&prompt), "{}", stderr(&output));
}

#[test]
fn drafts_are_counted_and_change_nothing() {
    let ask = |draft: &[&str]| {
        let args = ["generate", "--deterministic", "-p", PROMPT, "-n", "40", "-s", "5", "--json"];
        json(&[&args[..], draft].concat())
    };
    let lockstep = ask(&["--draft", "off"]);
    assert_eq!((&lockstep["generation"]["n_drafted"], &lockstep["generation"]["n"]), (&0.into(), &40.into()));
    for draft in [&["--draft", "4"][..], &["--draft-max", "7", "--drafter", "base"], &["--drafter", "lookup"], &[]] {
        let object = ask(draft);
        assert_eq!(object["tokens"], lockstep["tokens"], "{draft:?}");
        let count = |key: &str| object["generation"][key].as_u64().expect("a count");
        assert!(count("n_accept") <= count("n_drafted"), "{draft:?}");
        // The first token needs no decode; every other is the last of a step, or a draft that was accepted.
        assert_eq!(count("n_steps") + count("n_accept"), 39, "{draft:?}");
    }
}

#[test]
fn drafts_that_make_no_sense_are_refused() {
    for (args, expected) in [
        (["--draft", "16"], "auto, timed, off, or 0 to 15"),
        (["--draft", "some"], "auto, timed, off, or 0 to 15"),
        (["--draft", "-1"], "auto, timed, off, or 0 to 15"),
        (["--draft-min-p", "1.5"], "from 0 to 1"),
        (["--draft-min-p", "NaN"], "from 0 to 1"),
        (["--drafter", "oracle"], "lookup, expert and base"),
    ] {
        let output = run(&[&["generate", "-p", PROMPT][..], &args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn the_json_object_has_every_part() {
    let object = json(&["generate", "-p", PROMPT, "-n", "6", "-s", "5", "--draft", "off", "--json", "--n-probs", "3"]);
    assert_eq!(object["tokens"].as_array().map(Vec::len), Some(6));
    assert_eq!(object["finish_reason"], "length");
    assert_eq!(object["seed"], 5);
    for role in ["base", "expert", "antiexpert"] {
        let n_prompt = object["prompt_tokens"][role].as_array().map(Vec::len).expect("ids");
        assert_eq!(object["timings"][role]["prompt_n"], n_prompt);
        assert_eq!(object["timings"][role]["decode_n"], 5);
        assert!(object["timings"][role]["decode_per_second"].as_f64().is_some_and(|speed| speed > 0.0));
    }
    for (position, token) in
        object["probs"].as_array().expect("positions").iter().zip(object["tokens"].as_array().expect("ids"))
    {
        assert_eq!(&position["id"], token);
        let top = position["top"].as_array().expect("candidates");
        assert_eq!(top.len(), 3);
        for entry in top.iter().chain([position]) {
            assert!(
                ["logprob", "base", "expert", "antiexpert"]
                    .iter()
                    .all(|key| entry[key].as_f64().is_some_and(|x| x <= 0.0))
            );
            assert!(entry["piece"].is_string());
        }
        let logprob = |i: usize| top[i]["logprob"].as_f64();
        assert!(logprob(0) >= logprob(1) && logprob(1) >= logprob(2));
    }
    let again = json(&["generate", "-p", PROMPT, "-n", "6", "-s", "5", "--json"]);
    assert_eq!(again["tokens"], object["tokens"]);
    assert!(again.get("probs").is_none());
}

#[test]
fn flags_of_the_roles_reach_them() {
    let object = json(&["generate", "-R", "several", "-p", PROMPT, "-n", "2", "--json", "--alpha", "0.5,-1"]);
    for role in ["base", "expert", "antiexpert", "expert 2", "antiexpert 2"] {
        assert!(object["prompt_tokens"][role].is_array(), "{role}: {}", object["prompt_tokens"]);
    }
    let files = files();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let roles =
        ["--antiexpert-prompt", "Never\\n", "--expert-prefix", "Once: ", "-sys", "Be kind.", "--expert-system", ""];
    let rest = ["-p", "Hello", "--response-prefix", "Dear", "-n", "2", "--json", "--temp", "0"];
    let object = json(&[&["generate"], &files[..], &roles, &rest].concat());
    let model = proxytune::llama::model::Model::load(
        &crate::trio::backend(),
        &file("base"),
        &proxytune::llama::model::ModelParams::default(),
        |_| true,
    );
    let model = model.expect("it loads");
    for (role, text) in
        [("base", "Be kind.\n\nHelloDear"), ("expert", "Once: HelloDear"), ("antiexpert", "Be kind.\n\nNever\nDear")]
    {
        let expected = model.tokenize(text).expect("tokens");
        assert_eq!(object["prompt_tokens"][role], serde_json::json!(expected), "{role}");
    }
    assert!(object["text"].as_str().is_some_and(|text| text.starts_with("Dear") && text.len() > 4));
    for (args, words) in [
        (&["--alpha", "1,2"][..], "2 values of α are given for 1 pair"),
        (&["--alpha", "1", "--alpha-schedule", "1@0"], "cannot be used with"),
        (&["--alpha-schedule", "1@1"], "position 0 first"),
        (&["--alpha-expert", "1,2"], "2 values of --alpha-expert are given for 1 pair"),
        (&["--alpha-antiexpert", "11"], "alpha_antiexpert is 11, expected a number from -10 to 10"),
        (&["--base-weight", "nan"], "base_weight is NaN, expected a number from -10 to 10"),
        (
            &["-R", "demo", "-ma", "none", "--alpha-antiexpert", "1"],
            "alpha_antiexpert is 1, expected an antiexpert in the pair",
        ),
        (&["-m", "x.gguf", "--base-weight", "0.5"], "there is no pair to steer with"),
        (&["--expert-template", "expert"], "expected an expert with another template"),
        (&["--base-template", "model"], "has no chat template"),
        (&["--expert-lora-scaled", "x.gguf"], "expected a file and its scale"),
        (&["--plausibility", "2"], "plausibility is 2, expected a number from 0 to 1"),
        (&["--plausibility", "0.1", "--samplers", "temperature;proxy"], "stands before `proxy`"),
    ] {
        let output = run(&[&["generate", "-p", "x", "-n", "1"], args].concat());
        assert!(!output.status.success() && stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn the_prompt_comes_from_a_file_or_a_pipe_too() {
    let args = ["-n", "8", "--temp", "0"];
    let typed = stdout(&run(&[&["generate", "-p", PROMPT], &args[..]].concat()));
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(PROMPT.as_bytes()).expect("writable");
    let path = file.path().to_str().expect("UTF-8").to_owned();
    let path = path.as_str();
    assert_eq!(stdout(&run(&[&["generate", "-f", path], &args[..]].concat())), typed);
    file.write_all(b"\n").expect("writable");
    assert_eq!(stdout(&run(&[&["generate", "-f", path], &args[..]].concat())), typed, "a last newline is the file's");

    let mut child = proxytune(&[&["generate"], &args[..]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(PROMPT.as_bytes()).expect("it reads");
    assert_eq!(stdout(&child.wait_with_output().expect("it ends")), typed);
}

#[test]
fn flags_override_the_first_pair_of_a_recipe_and_keep_the_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [_, base, _, expert, _, antiexpert] = files();
    let pair = format!("[[pair]]\nexpert = {expert:?}\nantiexpert = {antiexpert:?}\nalpha = 0.5\n");
    let path = folder.path().join("two.toml");
    std::fs::write(&path, format!("base = {base:?}\n{pair}{pair}")).expect("writable");
    let recipe = path.to_str().expect("UTF-8");
    let ask = |args: &[&str]| {
        let args = [&["generate", "-R", recipe, "-p", PROMPT, "-n", "12", "--temp", "0"], args].concat();
        stdout(&run(&args))
    };
    let whole = ask(&[]);
    assert_eq!(ask(&["-me", &expert]), whole);
    // The first pair now steers nowhere, the second still does.
    let half = ask(&["-me", &antiexpert]);
    let [m, base, me, expert, ma, antiexpert] = &files();
    let alone = run(&[
        "generate", m, base, me, expert, ma, antiexpert, "--alpha", "0.5", "-p", PROMPT, "-n", "12", "--temp", "0",
    ]);
    assert_eq!(half, stdout(&alone));
}

/// Flags and a recipe say the same, drafts or not.
#[test]
fn weights_of_the_base_and_of_single_sides() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = files();
    let [_, base, _, expert, _, antiexpert] = &files;
    let path = folder.path().join("weighted.toml");
    let pair = format!("[[pair]]\nexpert = {expert:?}\nantiexpert = {antiexpert:?}\n");
    let weights = "alpha_expert = 0.9\nalpha_antiexpert = 0.4\n";
    std::fs::write(&path, format!("base = {base:?}\nbase_weight = 0.5\n{pair}{weights}")).expect("writable");
    let recipe = path.to_str().expect("UTF-8");
    let rest = ["-p", PROMPT, "-n", "24", "--temp", "0", "--deterministic", "--json"];
    let ask = |args: &[&str], draft: &str| {
        json(&[&["generate"], args, &rest, &["--draft", draft]].concat())["tokens"].clone()
    };
    let written = ask(&["-R", recipe], "off");
    assert_eq!(ask(&["-R", recipe], "4"), written);
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let flags = ["--base-weight", "0.5", "--alpha-expert", "0.9", "--alpha-antiexpert", "0.4"];
    assert_eq!(ask(&[&files[..], &flags].concat(), "off"), written);
    assert_ne!(ask(&files, "off"), written);
    // A new α is that of both sides, and the base's weight stays.
    let other = ask(&["-R", recipe, "--alpha", "0.7"], "off");
    assert_eq!(ask(&[&files[..], &["--base-weight", "0.5", "--alpha", "0.7"]].concat(), "off"), other);
    let shown = stdout(&run(&["recipe", "show", recipe]));
    assert!(shown.contains("base_weight = 0.5") && shown.contains("alpha_antiexpert = 0.4"), "{shown}");
    let demo = stdout(&run(&["recipe", "show", "demo"]));
    assert!(!demo.contains("base_weight") && !demo.contains("alpha_"), "{demo}");
}

#[test]
fn stop_texts_are_unescaped() {
    let args = ["generate", "-p", "x", "--grammar", "root ::= \"one\\ntwo\"", "--temp", "0"];
    assert_eq!(stdout(&run(&args)), "one\ntwo\n");
    assert_eq!(stdout(&run(&[&args[..], &["-r", "\\n"]].concat())), "one\n");
    assert_eq!(stdout(&run(&[&args[..], &["-r", "\\n", "--no-escape"]].concat())), "one\ntwo\n");
}

#[test]
fn the_last_of_an_option_given_twice_counts_and_lists_grow() {
    let grammar = "root ::= \"one two three\"";
    let args = ["generate", "-p", "x", "--grammar", grammar, "--temp", "1", "--temp", "0", "-r", "three", "-r", "two"];
    assert_eq!(stdout(&run(&args)), "one \n");
}

#[test]
fn a_complete_grammar_ends_the_text() {
    let output = run(&["generate", "-p", "x", "--grammar", "root ::= \"one\"", "--ignore-eos"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "one\n"), "{}", stderr(&output));
}

#[test]
fn compare_labels_the_three() {
    let output = run(&["compare", "-p", PROMPT, "-n", "12", "--temp", "0", "--alpha", "1"]);
    let text = stdout(&output);
    for label in ["\nbase  ", "\nexpert  ", "\nsteered  ", "α = 1"] {
        assert!(text.contains(label), "{label:?} in {text}");
    }
    assert!(!text.contains('\x1b'), "colours are for terminals");
    let object = json(&["compare", "-p", PROMPT, "-n", "12", "--temp", "0", "--json"]);
    let runs: Vec<_> = object["runs"].as_array().expect("three").iter().map(|run| &run["run"]).collect();
    assert_eq!(runs, ["base", "expert", "steered"]);
    let steered = json(&["generate", "-p", PROMPT, "-n", "12", "--temp", "0", "--json"]);
    assert_eq!(object["runs"][2]["tokens"], steered["tokens"]);
    assert_eq!(object["runs"][2]["changed"].as_array().map(Vec::len), Some(12));
}

#[test]
fn compare_tells_how_far_steering_leads_away() {
    let args = ["compare", "-p", PROMPT, "-n", "12", "--temp", "0", "--json"];
    let led_away = |alpha: &str| {
        let output = run(&[&args[..], &["--alpha", alpha]].concat());
        let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let steered = object["runs"][2].clone();
        assert!(object["runs"][0].get("kl").is_none(), "the base is not steered");
        let changed = steered["changed"].as_array().expect("a list").iter().filter(|changed| **changed == true).count();
        assert_eq!(steered["intervention_rate"], changed as f64 / 12.0);
        (
            steered["intervention_rate"].as_f64().expect("a share"),
            steered["kl"].as_f64().expect("nats"),
            stderr(&output),
        )
    };
    let (rate, kl, said) = led_away("0");
    assert_eq!((rate, kl), (0.0, 0.0));
    assert!(!said.contains("BlendIn"), "{said}");
    let (rate, kl, said) = led_away("2");
    assert!(rate > 0.2 && kl > 0.1 && kl.is_finite(), "{rate} {kl}");
    let note = format!("note: steering changed the top token at {:.0} % of positions", rate * 100.0);
    assert!(said.contains(&note), "{said}");
    assert!(led_away("0.25").1 < kl, "a smaller α leads less far");
    let shown = stdout(&run(&["compare", "-p", PROMPT, "-n", "12", "--temp", "0", "--alpha", "2"]));
    let told = format!("({:.0} %) steering changed the top token; KL(steered ‖ base) {kl:.2} nats]", rate * 100.0);
    assert!(shown.contains(&told), "{shown}");
}

#[test]
fn perplexity_reports_every_role_and_alpha() {
    let mut text = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(text, "{}", "The sun went down behind the hill, and the house was quiet. ".repeat(20)).expect("writable");
    let path = text.path().to_str().expect("UTF-8");
    let object = json(&["perplexity", "-f", path, "-c", "64", "--alpha", "-0.5,1", "--json"]);
    let names: Vec<_> =
        object["results"].as_array().expect("rows").iter().map(|row| row["role"].as_str().expect("a name")).collect();
    assert_eq!(names, ["base", "expert", "antiexpert", "steered", "steered"]);
    let table = run(&["perplexity", "-f", path, "-c", "64", "--chunks", "2"]);
    assert!(stdout(&table).contains("in 2 windows of 64"), "{}", stdout(&table));
    assert!(stdout(&table).contains("steered α = 1.5"));
}

#[test]
fn perplexity_refuses_windows_that_hold_nothing() {
    let text = file("heldout").with_file_name("heldout-prose.txt");
    let text = text.to_str().expect("UTF-8");
    assert!(refused(&["perplexity", "-f", text, "--chunks", "0"], 2).contains("chunks is 0"));
    assert!(refused(&["perplexity", "-f", text, "-c", "1"], 2).contains("ctx-size is 1"));
}

#[test]
fn without_alpha_perplexity_tries_the_recipes_too() {
    let text = file("heldout").with_file_name("heldout-prose.txt");
    let object = json(&["perplexity", "-f", text.to_str().expect("UTF-8"), "-c", "32", "--chunks", "2", "--json"]);
    let alphas: Vec<_> =
        object["results"].as_array().expect("rows").iter().filter_map(|row| row["alpha"].as_f64()).collect();
    assert_eq!(alphas, [0.5, 0.75, 1.0, 1.5]);
}

/// Whether this process was told to ignore ctrl-C, as a shell tells what it runs in the background.
fn ignores_ctrl_c() -> bool {
    const SIGINT: u64 = 1 << 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & SIGINT != 0)
}

/// Nothing of ours stands between ctrl-C and a program that waits for its prompt.
#[test]
fn ctrl_c_ends_the_wait_for_a_prompt() {
    if ignores_ctrl_c() {
        eprintln!("skipped: what runs these tests ignores ctrl-C, and so do programs that they start");
        return;
    }
    let mut child = proxytune(&["generate"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    // Linux tells that it sleeps, which it does when it waits for its prompt.
    let sleeps =
        || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).is_ok_and(|stat| stat.contains(") S "));
    let began = std::time::Instant::now();
    while !sleeps() && began.elapsed().as_secs() < 5 {
        std::thread::yield_now();
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let status = child.wait().expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
}

#[test]
fn an_endless_prompt_is_refused_and_a_pipe_is_no_model() {
    let said = refused(&["generate", "-f", "/dev/zero", "-n", "1"], 1);
    assert!(said.contains("expected at most 268435456 bytes, got more"), "{said}");
    let said = refused(&["generate", "-m", "/dev/null", "-me", "base", "-ma", "none", "-p", "x"], 1);
    assert!(said.contains("is a pipe or device, expected a GGUF file"), "{said}");
}

#[test]
fn files_that_cannot_be_used_get_one_line_and_a_hint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let in_folder = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (text, empty, other, unknown) =
        (in_folder("text.gguf"), in_folder("empty.gguf"), in_folder("other.gguf"), in_folder("unknown.gguf"));
    std::fs::write(&text, "not a model at all").expect("writable");
    std::fs::write(&empty, "").expect("writable");
    Spec::tiny().write(Path::new(&other)).expect("writable");
    Spec { architecture: "wonder".to_owned(), ..Spec::tiny() }.write(Path::new(&unknown)).expect("writable");
    let base = file("base").to_str().expect("UTF-8").to_owned();
    let with_base =
        |file: &str| refused(&["generate", "-m", file, "-me", &base, "-ma", "base", "-p", "x", "-n", "1"], 1);
    for (file, words) in [
        (in_folder("nowhere.gguf").as_str(), ["cannot read", "hint: check the path"]),
        (&text, ["is not a GGUF file", "hint: convert"]),
        (&empty, ["is empty, expected a GGUF file", "hint: name a GGUF file"]),
        (&in_folder(""), ["is a folder", "expected a GGUF file"]),
        (&other, ["has another tokenizer", "hint: base, expert and antiexpert must"]),
        (&unknown, ["has another tokenizer", "hint:"]),
    ] {
        let said = with_base(file);
        assert!(words.iter().all(|word| said.contains(word)), "{file}: {said}");
        assert_eq!(said.matches(words[0]).count(), 1, "said once: {said}");
    }
    let said = refused(&["generate", "-m", &unknown, "-me", &unknown, "-ma", "none", "-p", "x"], 1);
    assert!(said.contains("unknown model architecture: 'wonder'"), "{said}");
}

#[test]
#[cfg(unix)]
fn an_installed_program_finds_its_recipes_under_share() {
    let prefix = tempfile::tempdir().expect("a temporary folder");
    let (bin, demo) = (prefix.path().join("bin"), prefix.path().join("share/proxytune/models/mine"));
    std::fs::create_dir_all(&bin).expect("writable");
    std::fs::create_dir_all(&demo).expect("writable");
    std::fs::write(demo.join("recipe.toml"), "base = 'b.gguf'\n").expect("writable");
    let program = bin.join("proxytune");
    let built = env!("CARGO_BIN_EXE_proxytune");
    std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(drop)).expect("writable");
    let shown = Command::new(program).args(["recipe", "show", "mine"]).env_remove("PROXYTUNE_MODELS").output();
    let shown = stdout(&shown.expect("it starts"));
    assert!(shown.contains("share/proxytune/models/mine/b.gguf"), "{shown}");
}

#[test]
fn a_mistyped_path_is_told_before_anything_is_waited_for() {
    let base = file("base").to_str().expect("UTF-8").to_owned();
    let pair = ["-me", "base", "-ma", "none"];
    let missing = "/no/such/file.gguf";
    for (args, role) in [
        (&[&["-m", missing][..], &pair].concat(), "base: "),
        (&vec!["-m", &base, "-me", missing, "-ma", "none"], "expert: "),
        (&vec!["-m", &base, "-me", "base", "-ma", missing], "antiexpert: "),
        (&[&["-m", &base, "--lora", missing][..], &pair].concat(), "base, its adapter: "),
        (&[&["-m", &base, "--expert-lora", missing][..], &pair].concat(), "expert, its adapter: "),
        // The hub is not asked.
        (&vec!["-hf", "user/repo", "-me", missing, "-ma", "none"], "expert: "),
    ] {
        // The prompt would come through a pipe that stays open.
        let mut command = proxytune(&[&["generate"][..], args].concat());
        command.env("HF_ENDPOINT", "http://127.0.0.1:1");
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{said}");
        assert!(
            said.contains(role) && said.contains("cannot read /no/such/file.gguf: No such file"),
            "{args:?}: {said}"
        );
        assert!(said.contains("hint: check the path"), "{said}");
    }
}

#[test]
fn bad_values_are_bad_usage() {
    for (args, words) in [
        (&["--temp", "nan"][..], "temp is NaN"),
        (&["--temp", "-1"], "temp is -1"),
        (&["--alpha", "inf"], "alpha is inf, expected a number from -10 to 10"),
        (&["--alpha", "x"], "invalid value 'x'"),
        (&["--top-p", "2"], "top-p is 2, expected a number from 0 to 1"),
        (&["--samplers", "top_k;wonder"], "\"wonder\""),
        (&["-l", "99999999+1"], "outside the vocabulary"),
        (&["-l", "5"], "expected a token id and a signed bias"),
        (&["--grammar", "root ::= ("], "grammar"),
        (&["-j", "{"], "not JSON"),
        (&["-ctk", "q9"], "expected one of f32"),
        (&["-ngl", "many"], "expected a number"),
        (&["-dev", "CUDA99"], "no device is called \"CUDA99\""),
        (&["-R", "wonder"], "no recipe is called"),
        (&["--n-probs", "5"], "--json"),
        (&["-s", "5000000000"], "seed is 5000000000, expected -1 to 4294967294"),
        (&["-fa", "off", "-ctv", "q8_0"], "flash attention is off"),
        (&["-n", "-7"], "-7 is not in"),
        (&["-c", "100000000000"], "is not in 0..=2147483647"),
        (&["-ub", "0"], "0 is not in 1..=2147483647"),
        (&["-l", "-1+1"], "invalid value '-1+1'"),
        (&["-j", "[]"], "the JSON schema cannot be used: expected an object"),
        (&["--wonder"], "unexpected argument"),
    ] {
        let said = refused(&[&["generate", "-p", "x", "-n", "1"], args].concat(), 2);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    for nearly in ["wonder", "probe", "prob", "child"] {
        assert!(!refused(&[nearly], 2).contains("similar"), "what is hidden is not for people: {nearly}");
    }
    assert!(refused(&["chek"], 2).contains("'check'"));
}

#[test]
fn half_a_pair_without_its_other_side_or_a_base_is_asked_about() {
    let base = file("base").to_str().expect("UTF-8").to_owned();
    assert!(refused(&["generate", "-m", &base, "-me", &base, "-p", "x"], 2).contains("hint: name it with -ma"));
    assert!(refused(&["generate", "-me", &base, "-p", "x"], 2).contains("without a base"));
}

#[test]
fn a_prompt_must_be_there_be_text_and_fit() {
    let base = file("base").to_str().expect("UTF-8").to_owned();
    let said = refused(&["generate", "-m", &base, "-me", &base, "-ma", "none"], 2);
    assert!(said.contains("there is no prompt") && said.contains("hint: give one with -p"), "{said}");
    let mut binary = tempfile::NamedTempFile::new().expect("a temporary file");
    binary.write_all(b"ab\xff\xfe").expect("writable");
    let said = refused(&["generate", "-f", binary.path().to_str().expect("UTF-8")], 1);
    assert!(said.contains("is not UTF-8 text: byte 2 is 0xff"), "{said}");
    let said = refused(&["generate", "-p", &"word ".repeat(200), "-c", "64"], 1);
    assert!(said.contains("leaves no room") && said.contains("hint: shorten"), "{said}");
}

#[test]
fn a_mebibyte_of_one_character_is_refused_for_its_length() {
    for run in ["a", "!", " ", "漢"] {
        let mut text = tempfile::NamedTempFile::new().expect("a temporary file");
        text.write_all(run.repeat((1 << 20) / run.len()).as_bytes()).expect("writable");
        let said = refused(&["generate", "-f", text.path().to_str().expect("UTF-8"), "-n", "1"], 1);
        assert!(said.contains("the prompt has"), "{run}: {said}");
    }
}

#[test]
fn ctrl_c_ends_cleanly_with_what_was_written() {
    let mut child = proxytune(&["generate", "-p", PROMPT, "--ignore-eos", "-c", "8192"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = [0; 16];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("it writes");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.ends_with(b"\n"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"));
}

#[test]
fn a_closed_pipe_ends_a_command_as_sigpipe_would() {
    for args in [
        &["generate", "-p", PROMPT, "-n", "200", "--ignore-eos"][..],
        &["compare", "-p", PROMPT, "-n", "2"],
        &["check"],
        &["recipe", "list"],
        &["recipe", "show", "demo"],
        &["devices"],
    ] {
        let output = proxytune(args).stdout(nobody_reads()).output().expect("it starts");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(141), ""), "{args:?}");
    }
}

#[test]
fn nobody_reading_stderr_is_no_failure() {
    let output = proxytune(&["generate", "-n", "2"]).stderr(nobody_reads()).output().expect("it starts");
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}

/// A pipe that is closed at its other end.
fn nobody_reads() -> std::io::PipeWriter {
    std::io::pipe().expect("a pipe").1
}

#[test]
fn help_and_version_are_there() {
    for args in [
        &["--help"][..],
        &["generate", "--help"],
        &["compare", "-h"],
        &["perplexity", "--help"],
        &["eval", "--help"],
        &["--version"],
    ] {
        let output = run(args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(run(&[]).status.code(), Some(2));
    let devices = stdout(&run(&["devices"]));
    assert!(devices.starts_with("CPU\t") && devices.contains(" available of "), "{devices}");
}

#[test]
fn recipes_are_listed_shown_and_validated() {
    let list = run(&["recipe", "list"]);
    assert!(stdout(&list).contains("\ndemo\tThe bundled demo:"), "{}", stdout(&list));
    assert!(!stdout(&list).contains("cannot be used"), "{}", stdout(&list));
    for (name, _) in stdout(&list).lines().filter_map(|line| line.split_once('\t')) {
        let valid = run(&["recipe", "validate", name]);
        assert!(valid.status.success() && stdout(&valid).starts_with("valid\t"), "{name}: {}", stderr(&valid));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = folder.path().join("kept.toml");
    let shown = stdout(&run(&["recipe", "show", "demo"]));
    std::fs::write(&kept, &shown).expect("writable");
    let kept = kept.to_str().expect("UTF-8");
    assert_eq!(stdout(&run(&["recipe", "show", kept])), shown, "what was kept says the same");
    assert_eq!(stdout(&run(&["recipe", "validate", kept])), "valid\t3 files are there\n");
    assert_eq!(
        stdout(&run(&["recipe", "validate", "guidance"])),
        "valid\t1 file is there\n",
        "one file in three roles"
    );
    let gone = proxytune(&["recipe", "list"]).env("PROXYTUNE_MODELS", folder.path().join("gone")).output();
    let gone = gone.expect("it starts");
    assert!(gone.status.code() == Some(1) && gone.stdout.is_empty(), "{gone:?}");
    assert!(stderr(&gone).contains("is not a folder") && stderr(&gone).contains("hint: "), "{}", stderr(&gone));
    let with = |text: &str| {
        let path = folder.path().join("other.toml");
        std::fs::write(&path, text).expect("writable");
        run(&["recipe", "validate", path.to_str().expect("UTF-8")])
    };
    let missing = with("base = 'nowhere.gguf'");
    assert_eq!(missing.status.code(), Some(1));
    assert!(stdout(&missing).starts_with("missing\t") && stdout(&missing).contains("nowhere.gguf"));
    let wrong = with("base = 'b.gguf'\n[[pair]]\nexprt = 'e.gguf'");
    assert!(
        wrong.status.code() == Some(1) && stderr(&wrong).contains("hint: did you mean `expert`?"),
        "{}",
        stderr(&wrong)
    );
    refused(&["recipe", "validate", "no-such-recipe"], 2);
}

/// Prompts in batches, and token by token.
#[test]
fn the_deterministic_set_up_writes_the_same_text_however_tokens_are_batched() {
    for sampling in [&["--temp", "0"][..], &["-s", "3", "--samplers", "min_p;temperature;gumbel"]] {
        let tokens = |batch: &str| {
            let args = ["generate", "--deterministic", "--json", "-p", PROMPT, "-n", "40", "-b", batch];
            json(&[&args[..], sampling].concat())["tokens"].clone()
        };
        assert_eq!(tokens("1"), tokens("512"));
    }
}

#[test]
fn what_contradicts_the_deterministic_set_up_is_refused() {
    for (option, value, words) in [
        ("-fa", "off", "flash attention is off"),
        ("-ngl", "3", "the base has 3 layers on devices"),
        ("-ngl", "all", "the base has all layers on devices"),
        ("-dev", "CUDA0", "the base has layers on CUDA0"),
        ("-ctk", "f16", "the base has a cache in f16"),
        ("-ctv", "q4_0", "the base has a cache in q4_0"),
        ("--expert-ngl", "1", "the expert has 1 layers on devices"),
        ("--antiexpert-ctv", "f32", "the antiexpert has a cache in f32"),
        ("--rpc", "127.0.0.1:1", "there are devices at 127.0.0.1:1"),
    ] {
        let said = refused(&["generate", "--deterministic", "-p", "a", "-n", "1", option, value], 2);
        assert!(said.contains(words) && said.contains("hint: "), "{option} {value}: {said}");
    }
    for same in [&["-ngl", "0", "-dev", "none"][..], &["-fa", "on", "--expert-ctk", "q8_0"]] {
        assert!(run(&[&["generate", "--deterministic", "-p", "a", "-n", "1"], same].concat()).status.success());
    }
}

#[test]
fn weights_that_the_deterministic_set_up_does_not_cover_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tiny.gguf");
    Spec::tiny().write(&path).expect("writable");
    let path = path.to_str().expect("UTF-8");
    let generate = ["generate", "--deterministic", "--kernels", "off"];
    let output = run(&[&generate[..], &["-m", path, "-me", path, "-ma", "none", "-p", "a", "-n", "1"]].concat());
    let said = stderr(&output);
    assert!(output.status.success() && said.matches("has matrices in f32").count() == 1, "{said}");
    assert!(said.contains("note: nothing is drafted"), "{said}");
    for draft in ["4", "timed"] {
        let models = ["-m", path, "-p", "a", "-n", "1", "--draft", draft];
        let said = refused(&[&generate[..], &models].concat(), 2);
        assert!(said.contains("has matrices in f32") && said.contains("hint: leave --draft out"), "{said}");
    }
    let off = [&generate[..], &["-m", path, "-p", "a", "-n", "1", "--draft", "off", "--no-perf"]].concat();
    assert!(run(&off).stderr.is_empty());
    if Isa::best().is_some() {
        let ours = ["generate", "--deterministic", "-m", path, "-p", "a", "-n", "1", "--draft", "4"];
        assert!(run(&ours).status.success(), "our kernels cover it");
    }
    for draft in ["auto", "timed", "4"] {
        let output = run(&["generate", "--deterministic", "-p", "a", "-n", "1", "--draft", draft]);
        assert!(output.status.success() && !stderr(&output).contains("note: "), "{}", stderr(&output));
    }
}

/// The same command and seed is the same text and the same drafts, whatever else the machine does.
#[test]
fn a_run_can_be_repeated() {
    for sampling in [&["--temp", "0"][..], &["-s", "5"]] {
        let run = || {
            let args = ["generate", "-R", "plays", "-p", PROMPT, "-n", "40", "--json"];
            let object = json(&[&args[..], sampling].concat());
            let drafts = ["n_steps", "n_drafted", "n_accept"].map(|key| object["generation"][key].clone());
            (object["tokens"].clone(), drafts)
        };
        let first = run();
        assert!((0..3).all(|_| run() == first), "{first:?}");
    }
}

#[test]
fn candidates_are_told_by_every_role() {
    let args = ["generate", "-R", "several", "-p", PROMPT, "-n", "2", "--json", "--n-probs", "2"];
    let object = json(&args);
    for entry in object["probs"]
        .as_array()
        .expect("positions")
        .iter()
        .flat_map(|position| position["top"].as_array().expect("candidates").iter().chain([position]))
    {
        let told = ["base", "expert", "antiexpert", "expert 2", "antiexpert 2"].map(|role| entry[role].as_f64());
        assert!(told.iter().all(|logprob| logprob.is_some_and(|logprob| logprob <= 0.0)), "{entry}");
        assert_ne!(told[1], told[3], "two experts");
    }
}
