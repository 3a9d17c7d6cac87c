//! Options of llama.cpp's command lines: what is done, what changes nothing, and what is refused with the reason.

use std::io::Write;

use crate::command_line::{files, json, refused, run, stderr, stdout};
use crate::trio::{PROMPT, file};

/// What a command line of llama.cpp carries that changes nothing here.
#[test]
fn a_command_line_of_llama_cpp_runs_as_it_is() {
    let files = files();
    let mut args = vec!["generate", "-p", PROMPT, "-n", "12", "--temp", "0", "-c", "256", "--no-perf"];
    args.extend(files.iter().map(String::as_str));
    let expected = stdout(&run(&args));
    let llama_cpp = "-no-cnv -st --jinja --no-warmup --no-context-shift --simple-io -co auto --log-disable -lv 1 -np 1 -cb -kvo \
                     --repack --mmap --no-mmproj -fit on -fitt 512 --keep 0 --poll 50 --prio 0 -dt 0.1 --swa-full -cram 0 -tb 1 \
                     --log-colors off --no-log-prefix --reasoning-format none --reasoning-budget -1 -e --perf --no-perf";
    let output = run(&[&args[..], &llama_cpp.split_whitespace().collect::<Vec<_>>()].concat());
    assert_eq!((stdout(&output), stderr(&output)), (expected.clone(), String::new()));
    let until_full = run(&[&args[..], &["-n", "-2", "--stop", "."]].concat());
    assert!(until_full.status.success() && !stdout(&until_full).is_empty(), "{until_full:?}");
}

#[test]
fn values_that_change_something_say_why_not() {
    for (option, value, words) in [
        ("--keep", "5", "the context is not shifted"),
        ("-np", "4", "one text is generated at a time"),
        ("-fit", "maybe", "[possible values: on, off]"),
        ("-fitc", "4096", "never made smaller"),
        ("--reasoning-budget", "0", "thoughts and all"),
        ("--prio", "2", "nice"),
        ("-tb", "3", "-t is for prompts and tokens alike"),
        ("-ot", "ffn", "expected a pattern and a buffer"),
        ("-ot", "ffn=GPU7", "there are: CPU"),
        ("-ot", "(ffn=CPU", "expected a regular expression"),
        ("-ot", "=CPU", "expected 1 to 1024 bytes"),
        ("--rope-scale", "0", "rope-scale is 0, expected a positive number"),
        ("--rope-freq-scale", "nan", "rope-freq-scale is NaN"),
        ("--rope-freq-base", "-1", "rope-freq-base is -1"),
        ("--rope-scaling", "dynamic", "expected none, linear or yarn"),
        ("--yarn-ext-factor", "inf", "yarn-ext-factor is inf"),
        ("--yarn-beta-fast", "0", "yarn-beta-fast is 0"),
        ("--chat-template", "mistral-v7", "one of chatml, gemma, llama3, phi3, zephyr"),
    ] {
        let said = refused(&["generate", "-p", "x", "-n", "1", "-t", "1", option, value], 2);
        assert!(said.contains(words), "{option} {value}: {said}");
    }
}

#[test]
fn tensors_go_where_they_are_put() {
    let text = |args: &[&str]| stdout(&run(&[&["generate", "-p", PROMPT, "-n", "8", "--temp", "0"], args].concat()));
    for args in [&["-ot", r"blk\.[0-2]\.ffn=CPU,attn=CPU"][..], &["-cmoe"], &["-ncmoe", "2", "-ncffn", "1"]] {
        assert_eq!(text(args), text(&[]), "there is nowhere else to go: {args:?}");
    }
}

#[test]
fn positions_are_stretched_as_llama_cpp_stretches_them() {
    let probs = |args: &[&str]| {
        let object =
            json(&[&["generate", "-p", PROMPT, "-n", "4", "--temp", "0", "--json", "--n-probs", "3"], args].concat());
        object["probs"].clone()
    };
    let plain = probs(&[]);
    assert_eq!(probs(&["--rope-scale", "1", "--rope-freq-base", "10000"]), plain, "the file's own values");
    let defaults =
        ["--rope-freq-base", "0", "--yarn-ext-factor", "-1", "--yarn-attn-factor", "-1", "--yarn-beta-fast", "-1"];
    assert_eq!(probs(&defaults), plain, "llama.cpp's own defaults");
    let linear = probs(&["--rope-scaling", "linear", "--rope-scale", "2"]);
    assert_ne!(linear, plain);
    assert_eq!(probs(&["--rope-scaling", "linear", "--rope-freq-scale", "0.5"]), linear);
    assert_eq!(probs(&["--rope-scaling", "none", "--rope-scale", "2"]), plain, "nothing is scaled");
    let yarn = probs(&["--rope-scaling", "yarn", "--rope-scale", "2", "--yarn-orig-ctx", "64"]);
    assert!(yarn != plain && yarn != linear);
    // A recipe says it of one model, and a flag of all of them.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recipe = folder.path().join("long.toml");
    let path = |role| file(role).display().to_string();
    let text = format!(
        "base = {{ model = '{}', rope = {{ scaling = 'linear', scale = 2 }} }}\n[[pair]]\nexpert = '{}'\nantiexpert = '{}'\nalpha = 0.75\n",
        path("base"),
        path("expert"),
        path("antiexpert")
    );
    std::fs::write(&recipe, text).expect("writable");
    let recipe = recipe.to_str().expect("UTF-8");
    assert_eq!(probs(&["-R", recipe]), probs(&["--alpha", "0.75", "--rope-scaling", "linear", "--rope-scale", "2"]));
    assert_eq!(stdout(&run(&["recipe", "show", recipe])).matches("scaling = \"linear\"").count(), 1);
    let longer = run(&["generate", "-p", "x", "-n", "1", "-c", "2048", "--rope-scale", "2", "--no-perf"]);
    assert_eq!(stderr(&longer), "", "a longer context was asked for");
}

#[test]
fn a_chat_template_is_for_every_role_unless_one_has_its_own() {
    let ids = |args: &[&str]| {
        json(&[&["generate", "-p", PROMPT, "-n", "1", "--json"], args].concat())["prompt_tokens"].clone()
    };
    let source = proxytune::recipe::builtin::BuiltIn::Chatml.source();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(source.as_bytes()).expect("writable");
    let chatml = ids(&["--chat-template", "chatml"]);
    assert_eq!(ids(&["--chat-template", source]), chatml);
    assert_eq!(ids(&["--chat-template-file", file.path().to_str().expect("UTF-8")]), chatml);
    let each = ["--base-template", "chatml", "--expert-template", "chatml", "--antiexpert-template", "chatml"];
    assert_eq!(ids(&each), chatml);
    let but_base = ids(&["--chat-template", "chatml", "--base-template", "plain"]);
    assert_eq!(but_base["expert"], chatml["expert"]);
    assert_eq!(but_base["base"], ids(&[])["base"]);
}

#[test]
fn llama_cpps_spellings_work() {
    let files = files();
    let [m, base, me, expert, ma, antiexpert] = files.each_ref().map(String::as_str);
    let long = ["generate", "--model", base, "--expert", expert, "--antiexpert", antiexpert];
    let plain = stdout(&run(&[&long[..], &["-p", PROMPT, "-n", "8", "--temp", "0", "-c", "128"]].concat()));
    let spelled = run(&[
        "generate",
        m,
        base,
        me,
        expert,
        ma,
        antiexpert,
        "-p",
        PROMPT,
        "--n_predict",
        "8",
        "--temperature",
        "0",
        "-c",
        "128",
        "-ngl",
        "0",
        "-fa",
        "auto",
        "-ctk",
        "f16",
        "-ctv",
        "f16",
        "-nkvo",
        "-sm",
        "layer",
        "-mg",
        "0",
        "-b",
        "64",
        "-ub",
        "32",
        "-lm",
        "mmap",
        "-dev",
        "none",
        "--expert-ngl",
        "0",
        "--antiexpert-device",
        "none",
        "--expert-ctk",
        "f16",
        "-s",
        "-1",
        "--samplers",
        "top_k;temperature",
        "--top_k",
        "40",
    ]);
    assert_eq!(stdout(&spelled), plain, "{}", stderr(&spelled));
}

#[test]
fn options_of_llama_cpp_that_are_not_here_say_what_to_do() {
    for (option, hint) in [
        ("-mu", "-hf"),
        ("--mmproj", "text alone"),
        ("-md", "the expert drafts"),
        ("-ngld", "--expert-ngl"),
        ("-cnv", "proxytune chat"),
        ("-sp", "control tokens"),
        ("--list-devices", "devices"),
        ("--model-draft", "-me and -ma"),
    ] {
        let said = refused(&["generate", option, "x"], 2);
        assert!(said.contains(option) && said.contains("hint: ") && said.contains(hint), "{said}");
    }
}
