//! llama.cpp's spellings: `-ngl 99`, `-fa on`, `--top_k`. clap has no long options behind a single dash, so they are
//! rewritten before it parses.

use std::ffi::OsString;

/// llama.cpp's spelling, and ours behind two dashes.
pub const TABLE: [(&str, &str); 91] = [
    ("-me", "--expert"),
    ("-ma", "--antiexpert"),
    ("-ub", "--ubatch-size"),
    ("-fa", "--flash-attn"),
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
    ("-nkvo", "--no-kv-offload"),
    ("-ngl", "--gpu-layers"),
    ("-dev", "--device"),
    ("-sm", "--split-mode"),
    ("-ts", "--tensor-split"),
    ("-mg", "--main-gpu"),
    ("-lm", "--load-mode"),
    ("-nr", "--no-repack"),
    ("-jf", "--json-schema-file"),
    ("-tb", "--threads-batch"),
    ("-hf", "--hf-repo"),
    ("-hfr", "--hf-repo"),
    ("-hff", "--hf-file"),
    ("-hft", "--hf-token"),
    ("-mu", "--model-url"),
    ("-md", "--model-draft"),
    ("-ot", "--override-tensor"),
    ("-cmoe", "--cpu-moe"),
    ("-ncmoe", "--n-cpu-moe"),
    ("-np", "--parallel"),
    ("-cnv", "--conversation"),
    ("-sys", "--system-prompt"),
    ("-sysf", "--system-prompt-file"),
    ("-mli", "--multiline-input"),
    ("-sp", "--special"),
    ("-co", "--color"),
    ("-cb", "--cont-batching"),
    ("-bf", "--binary-file"),
    ("-td", "--threads-draft"),
    ("-cram", "--cache-ram"),
    ("-no-cnv", "--no-conversation"),
    ("-st", "--single-turn"),
    ("-fit", "--fit"),
    ("-kvu", "--kv-unified"),
    ("-no-kvu", "--no-kv-unified"),
    ("-lora", "--lora"),
    ("-bs", "--backend-sampling"),
    ("-i", "--interactive"),
    ("-if", "--interactive-first"),
    ("-ptc", "--print-token-count"),
    ("-C", "--cpu-mask"),
    ("-Cr", "--cpu-range"),
    ("-Cb", "--cpu-mask-batch"),
    ("-Crb", "--cpu-range-batch"),
    ("-dt", "--defrag-thold"),
    ("-gan", "--grp-attn-n"),
    ("-gaw", "--grp-attn-w"),
    ("-mm", "--mmproj"),
    ("-mmu", "--mmproj-url"),
    ("-mmdev", "--mmproj-device"),
    ("-dr", "--docker-repo"),
    ("-lzm", "--lazy-mode"),
    ("-ncffn", "--n-cpu-ffn"),
    ("-fitt", "--fit-target"),
    ("-fitc", "--fit-ctx"),
    ("-kvo", "--kv-offload"),
    ("-cl", "--cache-list"),
    ("-rea", "--reasoning"),
    ("-ctxcp", "--ctx-checkpoints"),
    ("--swa-checkpoints", "--ctx-checkpoints"),
    ("-hfd", "--hf-repo-draft"),
    ("-hfrd", "--hf-repo-draft"),
    ("-ngld", "--gpu-layers-draft"),
    ("--n-gpu-layers-draft", "--gpu-layers-draft"),
    ("-devd", "--device-draft"),
    ("-ctkd", "--cache-type-k-draft"),
    ("-ctvd", "--cache-type-v-draft"),
    ("-otd", "--override-tensor-draft"),
    ("-cmoed", "--cpu-moe-draft"),
    ("-ncmoed", "--n-cpu-moe-draft"),
    ("-tbd", "--threads-batch-draft"),
    ("-nocb", "--no-cont-batching"),
    ("--log-verbosity", "--verbosity"),
    ("-Cd", "--cpu-mask-draft"),
    ("-Crd", "--cpu-range-draft"),
    ("-Cbd", "--cpu-mask-batch-draft"),
    ("-lv", "--verbosity"),
    ("-e", "--escape"),
    ("-to", "--timeout"),
    ("-sps", "--slot-prompt-similarity"),
    ("-cms", "--checkpoint-min-step"),
    ("-lcs", "--lookup-cache-static"),
    ("-lcd", "--lookup-cache-dynamic"),
    ("-ag", "--agent"),
    ("-no-ag", "--no-agent"),
];

/// Options whose value is free text and must stay as it is.
const FREE_TEXT: [&str; 19] = [
    "-p",
    "--prompt",
    "-r",
    "--reverse-prompt",
    "--stop",
    "--grammar",
    "-j",
    "--json-schema",
    "--chat-template",
    "--dry-sequence-breaker",
    "-sys",
    "--system-prompt",
    "--response-prefix",
    "--expert-system",
    "--expert-prefix",
    "--expert-prompt",
    "--antiexpert-system",
    "--antiexpert-prefix",
    "--antiexpert-prompt",
];

/// Rewrites llama.cpp's spellings to the ones that clap knows.
pub fn long(args: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut keep = false;
    let mut only_values = false;
    args.into_iter().map(move |arg| {
        let Some(text) = arg.to_str() else { return arg };
        if only_values || std::mem::take(&mut keep) {
            return arg;
        }
        only_values = text == "--";
        keep = FREE_TEXT.contains(&text);
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        match (TABLE.iter().find(|(short, _)| *short == name), value) {
            (Some((_, long)), None) => (*long).into(),
            (Some((_, long)), Some(value)) => format!("{long}={value}").into(),
            (None, _) => with_dashes(text).map_or(arg, Into::into),
        }
    })
}

/// `--top_k` as llama.cpp takes it too: dashes in the name, the value untouched.
fn with_dashes(text: &str) -> Option<String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if !name.starts_with("--") || !name.contains('_') {
        return None;
    }
    let name = name.replace('_', "-");
    Some(value.map_or(name.clone(), |value| format!("{name}={value}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn rewrite(line: &[&str]) -> Vec<String> {
        long(line.iter().map(OsString::from)).map(|arg| arg.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn every_spelling_of_the_table() {
        for (short, expected) in TABLE {
            assert_eq!(rewrite(&["proxytune", "generate", short])[2], expected);
        }
    }

    #[test]
    fn every_long_spelling_is_an_option_or_explained() {
        let command = crate::cli::args::Args::command();
        let commands = ["generate", "serve"].into_iter().filter_map(|name| command.find_subcommand(name));
        let arguments: Vec<_> = commands.flat_map(clap::Command::get_arguments).collect();
        for (_, long) in TABLE {
            let known = |arg: &clap::Arg| {
                let name = long.trim_start_matches('-');
                arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
            };
            let explained = crate::cli::llama_cpp::refusal(long).is_some();
            assert!(arguments.iter().any(|arg| known(arg)) || explained, "{long}");
        }
    }

    #[test]
    fn values_and_prompts_stay() {
        assert_eq!(rewrite(&["-p", "-me", "-me", "x.gguf"]), ["-p", "-me", "--expert", "x.gguf"]);
        assert_eq!(
            rewrite(&["--top_k", "4", "--min_p=0.1", "--stop", "--a_b"]),
            ["--top-k", "4", "--min-p=0.1", "--stop", "--a_b"]
        );
        assert_eq!(rewrite(&["--", "-me", "--a_b"]), ["--", "-me", "--a_b"]);
        assert_eq!(rewrite(&["-n", "-1", "models/a_b.gguf"]), ["-n", "-1", "models/a_b.gguf"]);
        assert_eq!(rewrite(&["-me=a_b.gguf", "-ngl=3"]), ["--expert=a_b.gguf", "--gpu-layers=3"]);
    }
}
