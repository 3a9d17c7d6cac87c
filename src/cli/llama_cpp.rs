//! Options that a llama.cpp command line may carry beside those that proxytune has: what is accepted, because it changes
//! nothing here, and what is refused, with the reason and the next step.

use clap::builder::{PossibleValuesParser, Str};
use clap::error::Error;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// What an accepted option is followed by.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Nothing,
    /// A value that only llama.cpp's own output or speed depends on.
    Any,
    /// The same, and it may be left out.
    Perhaps,
    /// The values that ask for what is done anyway; others are refused by [`refusal`].
    Only(&'static [&'static str]),
}
use Takes::{Any, Nothing, Only, Perhaps};

/// Options that ask for what is done anyway, or for what only llama.cpp's own output depends on.
const ACCEPTED: [(&str, Takes); 45] = [
    // There is no run that only warms up.
    ("warmup", Nothing),
    ("no-warmup", Nothing),
    // Templates are Jinja, and answers are shown as they are.
    ("jinja", Nothing),
    ("skip-chat-parsing", Nothing),
    ("no-skip-chat-parsing", Nothing),
    ("reasoning", Only(&["auto"])),
    ("reasoning-format", Only(&["auto", "none"])),
    ("reasoning-budget", Only(&["-1"])),
    ("no-reasoning-preserve", Nothing),
    // A text ends when the context is full.
    ("no-context-shift", Nothing),
    ("keep", Only(&["0"])),
    ("swa-full", Nothing),
    ("defrag-thold", Any),
    // Lines are read as they are where stdin is no terminal.
    ("simple-io", Nothing),
    ("color", Perhaps),
    // llama.cpp's messages are shown with -v alone.
    ("log-disable", Nothing),
    ("log-colors", Perhaps),
    ("log-prefix", Nothing),
    ("no-log-prefix", Nothing),
    ("log-timestamps", Nothing),
    ("no-log-timestamps", Nothing),
    ("no-log-jsonl", Nothing),
    ("verbosity", Any),
    // One text is generated at a time, and its prompt is kept as long as the program runs.
    ("cont-batching", Nothing),
    ("no-cont-batching", Nothing),
    ("cache-ram", Any),
    ("ctx-checkpoints", Any),
    // Text alone is read.
    ("mmproj-auto", Nothing),
    ("no-mmproj", Nothing),
    ("no-mmproj-auto", Nothing),
    ("mmproj-offload", Nothing),
    ("no-mmproj-offload", Nothing),
    // What llama.cpp does by default, and so does this.
    ("mmap", Nothing),
    ("kv-offload", Nothing),
    ("repack", Nothing),
    ("op-offload", Nothing),
    ("lazy-mode", Only(&["auto"])),
    ("grp-attn-n", Only(&["1"])),
    ("grp-attn-w", Any),
    // OpenMP's threads are neither polled nor placed by llama.cpp.
    ("poll", Any),
    ("poll-batch", Any),
    ("prio", Only(&["0"])),
    ("prio-batch", Only(&["0"])),
    ("cpu-strict", Only(&["0"])),
    ("cpu-strict-batch", Only(&["0"])),
];

/// Options of commands that answer one prompt: there is no conversation to leave.
const ACCEPTED_FOR_ONE_ANSWER: [(&str, Takes); 2] = [("no-conversation", Nothing), ("single-turn", Nothing)];
/// Options of commands that write one text at a time.
const ACCEPTED_FOR_ONE_TEXT: [(&str, Takes); 3] =
    [("parallel", Only(&["1"])), ("kv-unified", Nothing), ("no-kv-unified", Nothing)];
/// Options of llama-server that ask for what is done anyway.
#[cfg(feature = "server")]
const ACCEPTED_BY_SERVER: [(&str, Takes); 23] = [
    // No prompt is typed, and times are told with every reply.
    ("escape", Nothing),
    ("no-escape", Nothing),
    ("perf", Nothing),
    ("no-perf", Nothing),
    ("no-spec-draft-backend-sampling", Nothing),
    ("cache-prompt", Nothing),
    // What was read is kept: that changes how long an answer takes, and not what it is.
    ("no-cache-prompt", Nothing),
    ("cache-reuse", Any),
    ("cache-idle-slots", Nothing),
    ("no-cache-idle-slots", Nothing),
    ("checkpoint-min-step", Any),
    ("slot-prompt-similarity", Any),
    ("threads-http", Any),
    ("tags", Any),
    ("no-agent", Nothing),
    ("no-ui-mcp-proxy", Nothing),
    ("no-webui-mcp-proxy", Nothing),
    ("no-cors-credentials", Nothing),
    ("no-models-autoload", Nothing),
    ("sleep-idle-seconds", Only(&["-1"])),
    ("embd-normalize", Any),
    ("prefill-assistant", Nothing),
    ("no-display-prompt", Nothing),
];
/// Options of commands that hold a conversation.
const ACCEPTED_IN_A_CONVERSATION: [(&str, Takes); 2] = [("conversation", Nothing), ("no-display-prompt", Nothing)];

macro_rules! accepted {
    ($(#[$doc:meta])* $name:ident, $table:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                $table.iter().fold(command, |command, (name, takes)| command.arg(arg(name, *takes)))
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(_: &ArgMatches) -> Result<Self, Error> {
                Ok(Self)
            }

            fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), Error> {
                Ok(())
            }
        }
    };
}

accepted!(
    /// What every command accepts that writes text.
    Accepted,
    ACCEPTED
);
accepted!(
    /// What commands accept that write one text at a time.
    ForOneText,
    ACCEPTED_FOR_ONE_TEXT
);
#[cfg(feature = "server")]
accepted!(
    /// What `serve` accepts beside.
    AcceptedByServer,
    ACCEPTED_BY_SERVER
);
accepted!(
    /// What the commands for one prompt accept beside.
    ForOneAnswer,
    ACCEPTED_FOR_ONE_ANSWER
);
accepted!(
    /// What `chat` accepts beside.
    InAConversation,
    ACCEPTED_IN_A_CONVERSATION
);

/// A hidden option that nobody asks for.
fn arg(name: &'static str, takes: Takes) -> Arg {
    let arg = Arg::new(name).long(name).value_name("VALUE").hide(true).allow_hyphen_values(true);
    match takes {
        Nothing => arg.action(ArgAction::SetTrue).allow_hyphen_values(false),
        Any => arg.action(ArgAction::Set),
        Perhaps => arg.action(ArgAction::Set).num_args(0..=1).allow_hyphen_values(false),
        Only(values) => arg
            .action(ArgAction::Set)
            .value_parser(PossibleValuesParser::new(values.iter().map(|value| Str::from(*value)))),
    }
}

/// llama.cpp's options that proxytune does not have: why, and what to do instead.
const REFUSED: [(&str, &str); 134] = [
    ("--interactive", CHAT),
    ("--interactive-first", CHAT),
    ("--conversation", CHAT),
    ("--no-conversation", "a conversation is what `proxytune chat` is for; `proxytune generate` answers one prompt"),
    ("--single-turn", "`proxytune generate` answers one prompt"),
    ("--multiline-input", "leave it out: a line that ends with \\ goes on in the next one"),
    ("--in-prefix", AROUND_MESSAGES),
    ("--in-suffix", AROUND_MESSAGES),
    ("--in-prefix-bos", AROUND_MESSAGES),
    ("--no-jinja", "templates are Jinja alone; --expert-template plain does without one"),
    ("--chat-template-kwargs", "templates are given the messages alone; a template of your own can hold the values"),
    ("--reasoning", THOUGHTS),
    ("--reasoning-format", THOUGHTS),
    ("--reasoning-budget", THOUGHTS),
    ("--reasoning-budget-message", THOUGHTS),
    ("--reasoning-effort", THOUGHTS),
    ("--reasoning-preserve", THOUGHTS),
    ("--log-file", "send stderr to a file: `-v 2> FILE`"),
    ("--log-jsonl", "stdout is for the text; --json prints one object"),
    ("--log-prompts-dir", "--json has the tokens that each role was given"),
    ("--verbose-prompt", "--json has the tokens that each role was given"),
    ("--print-token-count", "the last line on stderr counts the tokens, and so does --json"),
    ("--special", "control tokens are not shown; --json has their ids"),
    ("--list-devices", "`proxytune devices` lists them"),
    ("--cache-list", "the downloads are in the cache of the hub's own tools: `hf cache scan` lists them"),
    ("--server-base", "models run in this process; leave it out"),
    ("--numa", "start the program with numactl"),
    ("--cpu-mask", PLACEMENT),
    ("--cpu-range", PLACEMENT),
    ("--cpu-mask-batch", PLACEMENT),
    ("--cpu-range-batch", PLACEMENT),
    ("--cpu-strict", PLACEMENT),
    ("--cpu-strict-batch", PLACEMENT),
    ("--prio", "start the program with nice"),
    ("--prio-batch", "start the program with nice"),
    ("--prompt-cache", "a prompt is kept as long as the program runs: `proxytune chat` goes on with it"),
    ("--prompt-cache-all", "a prompt is kept as long as the program runs: `proxytune chat` goes on with it"),
    ("--prompt-cache-ro", "a prompt is kept as long as the program runs: `proxytune chat` goes on with it"),
    ("--keep", SHIFT),
    ("--context-shift", SHIFT),
    ("--grp-attn-n", "self-extend is not computed; --rope-scaling and --rope-scale stretch a context"),
    ("--parallel", "one text is generated at a time; the library's engine runs several"),
    ("--fit-ctx", "a context is never made smaller than it was asked for; -c says how long it is"),
    ("--no-host", "-ot places single tensors"),
    ("--no-op-offload", "layers on a device are computed there; -ngl 0 computes all on the CPU"),
    ("--lazy-mode", "llama.cpp decides by itself; -lm none reads all weights at once"),
    ("--override-kv", "change the file itself with llama.cpp's gguf-py: its header is checked before it is loaded"),
    ("--control-vector", "a LoRA adapter (--lora) or a pair (-me, -ma) steers a model"),
    ("--control-vector-scaled", "a LoRA adapter (--lora-scaled) or a pair (-me, -ma) steers a model"),
    ("--control-vector-layer-range", "a LoRA adapter (--lora) or a pair (-me, -ma) steers a model"),
    ("--backend-sampling", "the stage runs on the CPU, and so does the chain around it"),
    ("--binary-file", "prompts are text: -f FILE"),
    ("--mmproj", TEXT_ALONE),
    ("--mmproj-url", TEXT_ALONE),
    ("--mmproj-device", TEXT_ALONE),
    ("--image", TEXT_ALONE),
    ("--audio", TEXT_ALONE),
    ("--video", TEXT_ALONE),
    ("--model-url", "name the repository with -hf, or download the file and name it with -m"),
    ("--docker-repo", "name a repository of the Hugging Face hub with -hf, or a file with -m"),
    ("--model-draft", DRAFTER),
    ("--spec-draft-model", DRAFTER),
    ("--hf-repo-draft", "--expert-hf and --antiexpert-hf name the small models, and the expert drafts"),
    ("--spec-draft-hf", "--expert-hf and --antiexpert-hf name the small models, and the expert drafts"),
    ("--gpu-layers-draft", "--expert-ngl and --antiexpert-ngl say it of the small models"),
    ("--spec-draft-ngl", "--expert-ngl and --antiexpert-ngl say it of the small models"),
    ("--device-draft", "--expert-device and --antiexpert-device say it of the small models"),
    ("--spec-draft-device", "--expert-device and --antiexpert-device say it of the small models"),
    ("--cache-type-k-draft", "--expert-ctk and --antiexpert-ctk say it of the small models"),
    ("--spec-draft-type-k", "--expert-ctk and --antiexpert-ctk say it of the small models"),
    ("--cache-type-v-draft", "--expert-ctv and --antiexpert-ctv say it of the small models"),
    ("--spec-draft-type-v", "--expert-ctv and --antiexpert-ctv say it of the small models"),
    ("--override-tensor-draft", "-ot says it of every model"),
    ("--cpu-moe-draft", "-cmoe says it of every model"),
    ("--n-cpu-moe-draft", "-ncmoe says it of every model"),
    ("--threads-draft", "-t sets the threads of every model"),
    ("--threads-batch-draft", "-t sets the threads of every model"),
    ("--spec-draft-threads", "-t sets the threads of every model"),
    ("--spec-draft-threads-batch", "-t sets the threads of every model"),
    ("--draft-min", AS_FAR_AS_IT_PAYS),
    ("--draft-n-min", AS_FAR_AS_IT_PAYS),
    ("--spec-draft-n-min", AS_FAR_AS_IT_PAYS),
    ("--draft-p-split", "a draft is one sequence of tokens; --draft-min-p ends it"),
    ("--spec-draft-p-split", "a draft is one sequence of tokens; --draft-min-p ends it"),
    ("--spec-draft-sampling", "drafts are sampled as the text is"),
    ("--spec-type", "--drafter says who drafts: lookup, expert, base"),
    ("--spec-default", "leave it out: --draft auto is the default, and --drafter says who drafts"),
    ("--no-prefill-assistant", PREFILL),
    ("--props", "properties are set by flags, and not changed while the server runs"),
    ("--cors-methods", ORIGINS),
    ("--cors-headers", ORIGINS),
    ("--cors-credentials", ORIGINS),
    ("--embedding", NO_VECTORS),
    ("--embeddings", NO_VECTORS),
    ("--rerank", NO_VECTORS),
    ("--reranking", NO_VECTORS),
    ("--pooling", NO_VECTORS),
    ("--agent", OWN_TOOLS),
    ("--tools", OWN_TOOLS),
    ("--tools-runtime", OWN_TOOLS),
    ("--ui-mcp-proxy", OWN_TOOLS),
    ("--webui-mcp-proxy", OWN_TOOLS),
    ("--mcp-servers-config", OWN_TOOLS),
    ("--mcp-servers-json", OWN_TOOLS),
    ("--ui-config", NO_PAGE),
    ("--ui-config-file", NO_PAGE),
    ("--webui-config", NO_PAGE),
    ("--webui-config-file", NO_PAGE),
    ("--path", NO_PAGE),
    ("--image-min-tokens", TEXT_ALONE),
    ("--image-max-tokens", TEXT_ALONE),
    ("--mtmd-batch-max-tokens", TEXT_ALONE),
    ("--video-fps", TEXT_ALONE),
    ("--video-timestamp-interval", TEXT_ALONE),
    ("--video-ffmpeg-dir", TEXT_ALONE),
    ("--media-path", TEXT_ALONE),
    ("--kv-unified-per-slot", "-c says how many tokens there are, and -np between how many texts they are shared"),
    ("--lookup-cache-static", LOOKUP),
    ("--lookup-cache-dynamic", LOOKUP),
    ("--lora-init-without-apply", "the adapters of a recipe hold for all its requests; -R names several recipes"),
    ("--models-dir", RECIPES),
    ("--models-preset", RECIPES),
    ("--models-max", RECIPES),
    ("--models-autoload", RECIPES),
    ("--reuse-port", "one program listens on a port: start another one on another --port"),
    ("--sleep-idle-seconds", "models stay loaded while the server runs"),
    ("--slot-save-path", "what was read is kept in memory, and not in files"),
    ("--ssl-key-file", TLS),
    ("--ssl-cert-file", TLS),
    ("--completion-bash", "there is none; --help lists the options"),
    ("--usage", "--help lists the options"),
    ("--version", "`proxytune --version` tells it"),
    ("--cfg-negative-prompt", "-me base -ma base --antiexpert-prompt TEXT --alpha N steers away from a prompt"),
    ("--cfg-scale", "-me base -ma base --antiexpert-prompt TEXT --alpha N: a scale of γ is an α of γ − 1"),
];

const CHAT: &str = "`proxytune chat` holds a conversation";
const AROUND_MESSAGES: &str =
    "a chat template puts its own words around messages: --chat-template, or --expert-template for the expert alone";
const THOUGHTS: &str = "answers are shown as they are written, thoughts and all";
const PLACEMENT: &str = "-t sets the number of threads; taskset places them";
const SHIFT: &str = "the context is not shifted: the text ends when it is full, and -c gives more room";
const TEXT_ALONE: &str = "models are given text alone";
const DRAFTER: &str = "the small models are named with -me and -ma, and the expert drafts";
const PREFILL: &str = "an answer that has begun is gone on with: leave it out of the messages for a new one";
const ORIGINS: &str =
    "--cors-origins says whose pages may use the server: with any method and header, and without credentials";
const NO_VECTORS: &str = "this server writes texts: it computes no embeddings, and ranks none";
const OWN_TOOLS: &str = "the server runs no tools: its clients do";
const NO_PAGE: &str = "the page at / is the program's own, and has its settings in itself; no other files are served";
const LOOKUP: &str = "--drafter lookup drafts from the text itself";
const RECIPES: &str = "-R names a recipe to serve, several times for several models";
const TLS: &str = "put a proxy that speaks TLS in front, such as nginx or Caddy";
const OF_DRAFTS: &str =
    "--draft says how far ahead and --drafter who drafts; the small models run with the base's options";
const AS_FAR_AS_IT_PAYS: &str = "leave it out: --draft auto drafts as far as it pays, --draft N as far as it goes";

/// Why an option is refused, and what to do instead.
pub fn refusal(option: &str) -> Option<&'static str> {
    let of_drafts = option.starts_with("--spec-") || option.ends_with("-draft");
    // Single models that llama.cpp knows by name, such as --fim-qwen-7b-default.
    let is_model = option.ends_with("-default") || option.ends_with("b-spec");
    let named = REFUSED.iter().find(|(name, _)| *name == option).map(|(_, advice)| *advice);
    named.or(of_drafts.then_some(OF_DRAFTS)).or(is_model.then_some("name the model with -hf"))
}

#[cfg(test)]
mod tests;
