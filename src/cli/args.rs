//! What can be typed. Names, meanings and defaults are llama.cpp's wherever it has them.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_excessive_bools, reason = "flags are flags")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::alpha::{Alpha, Parts};
use super::draft::DraftArgs;
use super::eval::Eval;
use super::inspect::conflicts;
#[cfg(feature = "server")]
use super::llama_cpp::AcceptedByServer;
use super::llama_cpp::{Accepted, ForOneAnswer, ForOneText, InAConversation};
use super::models::{HubArgs, Models};
use super::sampling::SamplingArgs;
#[cfg(feature = "server")]
use super::serve::ServerArgs;
use super::text::escaped;
use super::tools::ToolArgs;
use crate::engine::process;
use crate::inspect::probe;

/// Steer a large GGUF model with two small ones while it decodes.
///
/// At each step the logits are base + α·(expert − antiexpert): the base writes in the manner of the expert, its
/// weights untouched. Without models the bundled demo is used.
#[derive(Debug, Parser)]
#[command(name = "proxytune", version, max_term_width = 110, args_override_self = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    pub fn verbose(&self) -> bool {
        match &self.command {
            Command::Generate(args) => args.run.models.verbose,
            Command::Chat(args) => args.models.verbose,
            Command::Compare(args) => args.models.verbose,
            Command::Perplexity(args) => args.models.verbose,
            Command::Inspect(args) => args.run.models.verbose,
            Command::Eval(args) => args.models.verbose,
            Command::Calibrate(args) => args.models.verbose,
            Command::Bench(args) => args.models.verbose,
            Command::Check(args) => args.models.verbose,
            #[cfg(feature = "server")]
            Command::Serve(args) => args.models.verbose,
            Command::Recipe(_) | Command::Pull(_) | Command::Devices(_) | Command::Engine => false,
            Command::Probe { verbose, .. } => *verbose,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Continue a prompt, steered.
    Generate(Generate),
    /// A conversation in the terminal, steered; /help tells what can be typed.
    Chat(Chat),
    /// The same prompt through the base alone, the expert alone and steered.
    Compare(Run),
    /// How well each role, and the steered model at several α, predict a text.
    Perplexity(Perplexity),
    /// What steering changes, token by token, in a text that is generated or given, or in a file.
    ///
    /// Shows how probable each token is to the base, the expert, the antiexpert and steered, how far steering moved the
    /// probabilities there (KL), and over all positions which tokens it made more and less probable.
    Inspect(Box<Inspect>),
    /// How many items of a task base, expert and the steered model answer right, each alone.
    ///
    /// Answers are greedy unless --recipe-sampling is given: the most likely token, no penalty, and of the recipe's sampling
    /// only the plausibility cut. Nothing is drafted. Every contender answers every item; differences are paired, and their
    /// 95 % intervals are bootstrapped over the items.
    Eval(Eval),
    /// Find the α, or the weights, that predict a text best, and tell whether steering helps.
    Calibrate(Calibrate),
    /// How fast it is and where the time goes: each model alone, steered in lockstep, and steered with drafts.
    ///
    /// Runs are interleaved, prompt by prompt, so that each ratio compares adjacent runs. Sampling is greedy unless flags say
    /// otherwise: neither a recipe's sampling nor llama.cpp's defaults are used, and EOS is ignored.
    Bench(Bench),
    /// Serve recipes over HTTP, to clients of llama.cpp, OpenAI, Anthropic and Ollama.
    #[cfg(feature = "server")]
    Serve(Box<Serve>),
    /// Check before loading whether files fit together, and how much memory they need.
    Check(Check),
    /// List, show and validate recipes.
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Download what a recipe names, or a model of the Hugging Face hub.
    Pull(Pull),
    /// List the devices that layers can be moved to.
    Devices(Devices),
    /// What runs in a process of its own before files are loaded: a request in, an answer on stdout.
    #[command(name = probe::COMMAND, hide = true)]
    Probe {
        #[arg(short, long)]
        verbose: bool,
        request: String,
    },
    /// The engine of a server, in a process of its own: a set-up and commands on stdin, events on stdout.
    #[command(name = process::COMMAND, hide = true)]
    Engine,
}

impl Command {
    /// Whether it runs a model, and not only to see whether that can be run.
    pub fn decodes(&self) -> bool {
        !matches!(self, Self::Check(_) | Self::Recipe(_) | Self::Pull(_) | Self::Devices(_) | Self::Probe { .. })
    }
}

#[derive(Debug, ClapArgs)]
pub struct Devices {
    /// RPC servers whose devices join the list, between commas
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,…")]
    pub rpc: Vec<String>,
}

/// What every command that writes text takes.
#[derive(Debug, ClapArgs)]
pub struct Run {
    #[command(flatten)]
    pub prompt: Prompt,
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub alpha: Alpha,
    #[command(flatten)]
    pub draft: DraftArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    #[command(flatten)]
    pub perf: Perf,
    #[command(flatten)]
    pub accepted: Accepted,
    #[command(flatten)]
    pub for_one_text: ForOneText,
    #[command(flatten)]
    pub for_one_answer: ForOneAnswer,
}

/// Whether the speed of an answer is printed.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Output")]
pub struct Perf {
    /// Leave out the line on stderr with the speed of the answer and its seed
    #[arg(long, alias = "no-show-timings", overrides_with = "perf")]
    pub no_perf: bool,
    #[arg(long, alias = "show-timings", hide = true)]
    perf: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Chat {
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub conversation: Conversation,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub alpha: Alpha,
    #[command(flatten)]
    pub draft: DraftArgs,
    #[command(flatten)]
    pub end: End,
    /// Take stop texts and DRY's breakers as they are typed
    #[arg(long)]
    pub no_escape: bool,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FNAME")]
    pub load: Option<PathBuf>,
    #[command(flatten)]
    pub tools: ToolArgs,
    #[command(flatten)]
    pub perf: Perf,
    #[command(flatten)]
    pub accepted: Accepted,
    #[command(flatten)]
    pub for_one_text: ForOneText,
    #[command(flatten)]
    pub in_a_conversation: InAConversation,
}

#[derive(Debug, ClapArgs)]
pub struct Generate {
    #[command(flatten)]
    pub run: Run,
    /// With --json: the N best candidates of every position, with each role's log-probability
    #[arg(long, value_name = "N", requires = "json", allow_negative_numbers = true, help_heading = "Output")]
    pub n_probs: Option<usize>,
    /// Print the prompt in front of the text
    #[arg(long, overrides_with = "no_display_prompt", conflicts_with = "json", help_heading = "Output")]
    pub display_prompt: bool,
    #[arg(long, hide = true)]
    pub no_display_prompt: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Perplexity {
    /// The text to predict; `-` for stdin. A file of prompts and answers in JSON lines ends in .jsonl: only answers are
    /// predicted
    #[arg(short, long, value_name = "FNAME")]
    pub file: PathBuf,
    /// Values of α to try, between commas [default: 0.5, 1, 1.5 and the recipe's]
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…")]
    pub alpha: Vec<f32>,
    #[command(flatten)]
    pub parts: Parts,
    /// Read at most N windows of --ctx-size tokens, or N documents; -1 for all
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub chunks: i64,
    /// Measure what rounding to 8 bits does to each role and to the offset, as the recipe steers: the text is read once more
    /// without it, which takes long
    #[arg(long, conflicts_with = "alpha")]
    pub quant_noise: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub models: Models,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("file", conflicts::corpus), mut_arg("prompt", conflicts::prompt))]
pub struct Inspect {
    #[command(flatten)]
    pub run: Run,
    /// Look at this text behind the prompt, in place of one that is generated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Prompt",
          conflicts_with_all = conflicts::only_for_generating())]
    pub text: Option<String>,
    /// Read at most N windows of --ctx-size tokens of the file, or N documents; -1 for all
    #[arg(long, value_name = "N", requires = "file", allow_negative_numbers = true, help_heading = "Prompt")]
    pub chunks: Option<i64>,
    /// Show the N tokens that steering moved furthest
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Output")]
    pub rows: usize,
    /// With --json and a file: every token, and not the sums alone
    #[arg(long, requires_all = ["json", "file"], help_heading = "Output")]
    pub tokens: bool,
    /// Write a page for a browser: the text shaded by how far steering moved the probabilities, with each role's
    /// probabilities at every token. It needs no network and no server
    #[arg(long, value_name = "FNAME", help_heading = "Output")]
    pub html: Option<PathBuf>,
    /// Write the steered model's most probable tokens at every position, with their log-probabilities, to train another
    /// model from (safetensors)
    #[arg(long, value_name = "FNAME", help_heading = "Output")]
    pub dump_targets: Option<PathBuf>,
    /// How many tokens of each position to write
    #[arg(long, value_name = "K", default_value_t = 64, requires = "dump_targets", help_heading = "Output",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub dump_top_k: u32,
    /// Replace the files of --html and --dump-targets if they are there
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Calibrate {
    /// A text as the task has it, or prompts and answers in JSON lines (.jsonl); not one that the models were tuned on;
    /// `-` for stdin
    #[arg(short, long, value_name = "FNAME")]
    pub file: PathBuf,
    /// Predict about N tokens, from the beginning of the file
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..),
          allow_negative_numbers = true)]
    pub tokens: u32,
    /// Write the recipe with what was found into a new file [default: print the lines to change]
    #[arg(short, long, value_name = "FNAME")]
    pub output: Option<PathBuf>,
    /// Replace the file of --output if it is there
    #[arg(long, requires = "output")]
    pub overwrite: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub alpha: Alpha,
    #[command(flatten)]
    pub models: Models,
}

#[derive(Debug, ClapArgs)]
pub struct Bench {
    /// Tokens of a prompt to read (pp); 0 for none
    #[arg(short = 'p', long, value_name = "N", default_value_t = 512, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(0..=MAX_BENCH_TOKENS))]
    pub n_prompt: u32,
    /// Tokens to generate behind each prompt (tg); 0 for none
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(0..=MAX_BENCH_TOKENS))]
    pub n_gen: u32,
    /// How often to repeat every test, each time with every prompt [default: 5, as far as they take no longer than 90
    /// seconds for prompts and for texts each]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub repetitions: Option<u32>,
    /// A file of prompts to continue, one a paragraph, or one a line where there is no empty line; `-` for stdin
    /// [default: the recipe's and seven of several kinds]
    #[arg(short, long, value_name = "FNAME")]
    pub file: Option<PathBuf>,
    /// How to print: a table and what follows from it, or llama-bench's fields
    #[arg(short, long, value_name = "FORMAT", default_value = "md", help_heading = "Output")]
    pub output: BenchOutput,
    /// Leave out the runs that come before the measured ones
    #[arg(long)]
    pub no_warmup: bool,
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub alpha: Alpha,
    #[command(flatten)]
    pub draft: DraftArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

/// llama.cpp counts tokens in an i32.
const MAX_BENCH_TOKENS: i64 = i32::MAX as i64 / 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchOutput {
    Md,
    Json,
    Jsonl,
    Csv,
}

#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// The recipes that -R knows by name
    List,
    /// A recipe as TOML, its paths as they are used
    Show {
        /// A recipe file, or the name of a bundled one
        #[arg(value_name = "FILE|NAME")]
        name: String,
    },
    /// Read a recipe, and tell whether its files are there
    Validate {
        /// A recipe file, or the name of a bundled one
        #[arg(value_name = "FILE|NAME")]
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Check {
    /// Load the weights too: refuse those that are not finite, decode with every model, and tell whether its logits
    /// depend on how tokens are batched
    #[arg(long)]
    pub deep: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub models: Models,
}

#[derive(Debug, ClapArgs)]
pub struct Pull {
    /// A recipe file or the name of a bundled one, or a model as user/repo[:quant]
    #[arg(value_name = "RECIPE|REPO")]
    pub what: String,
    #[command(flatten)]
    pub hub: HubArgs,
}

#[cfg(feature = "server")]
#[derive(Debug, ClapArgs)]
pub struct Serve {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub alpha: Alpha,
    #[command(flatten)]
    pub draft: DraftArgs,
    #[command(flatten)]
    pub end: End,
    #[command(flatten)]
    pub accepted: Accepted,
    #[command(flatten)]
    pub accepted_by_server: AcceptedByServer,
}

/// What every turn of a conversation stands under.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Prompt")]
pub struct Conversation {
    /// -sys: system prompt, for every role that does not have its own [default: the recipe's]
    #[arg(long, value_name = "PROMPT", allow_hyphen_values = true)]
    pub system_prompt: Option<String>,
    /// -sysf: a file with the system prompt
    #[arg(long, value_name = "FNAME", conflicts_with = "system_prompt")]
    pub system_prompt_file: Option<PathBuf>,
    /// A text that the answer starts with, for every role
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub response_prefix: Option<String>,
}

/// What to continue, and how far.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Prompt")]
pub struct Prompt {
    /// The text to continue; \n, \t and their like are unescaped
    #[arg(short, long, value_name = "PROMPT", allow_hyphen_values = true, conflicts_with = "file")]
    pub prompt: Option<String>,
    /// A file with the text to continue; `-` for stdin, which is also read when it is piped in
    #[arg(short, long, value_name = "FNAME")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub conversation: Conversation,
    /// Take prompts, stop texts and DRY's breakers as they are typed
    #[arg(long)]
    pub no_escape: bool,
    #[arg(short, long, hide = true)]
    pub escape: bool,
    /// Treat the names of special tokens in a plain prompt (<|fim_prefix|>) as ordinary text; within a chat template they
    /// always are
    #[arg(long, overrides_with = "parse_special")]
    pub no_parse_special: bool,
    #[arg(long, hide = true)]
    pub parse_special: bool,
    #[command(flatten)]
    pub end: End,
}

/// Where an answer ends.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Prompt")]
pub struct End {
    /// Maximum number of tokens to generate; -1 until the model ends or the context is full
    #[arg(short = 'n', long = "predict", alias = "n-predict", value_name = "N", default_value_t = -1,
          value_parser = clap::value_parser!(i64).range(-2..), allow_negative_numbers = true)]
    pub n_predict: i64,
    /// A text that ends the answer; may be repeated
    #[arg(short = 'r', long = "stop", alias = "reverse-prompt", value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
}

impl End {
    /// Most tokens to generate, and the texts that end an answer.
    pub fn limits(&self, escape: bool) -> (Option<usize>, Vec<String>) {
        let stop = self.stop.iter().map(|text| escaped(text, escape)).collect();
        (usize::try_from(self.n_predict).ok(), stop)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }
}
