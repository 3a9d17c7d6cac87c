//! What can be typed. Names, meanings and defaults are llama.cpp's wherever it has them.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_excessive_bools, reason = "flags are flags")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::sampling::SamplingArgs;
use crate::llama::lane::{CacheType, FlashAttention};
use crate::llama::model::{LoadMode, SplitMode};

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
            Command::Compare(args) => args.models.verbose,
            Command::Perplexity(args) => args.models.verbose,
            Command::Check(args) => args.models.verbose,
            Command::Recipe(_) | Command::Devices => false,
            Command::Probe { verbose } => *verbose,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Continue a prompt, steered.
    Generate(Generate),
    /// The same prompt through the base alone, the expert alone and steered.
    Compare(Run),
    /// How well each role, and the steered model at several α, predict a text.
    Perplexity(Perplexity),
    /// Tell before loading whether files can work together, and what memory they take.
    Check(Check),
    /// Look at recipes: what there is, what one says, whether its files are there.
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// List the devices that layers can be moved to.
    Devices,
    /// What `check` runs in a process of its own: a request on stdin, a report on stdout.
    #[command(name = super::probe::NAME, hide = true)]
    Probe {
        #[arg(short, long)]
        verbose: bool,
    },
}

/// What every command that writes text takes.
#[derive(Debug, ClapArgs)]
pub struct Run {
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub prompt: Prompt,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// How far to steer: 0 is the base alone [default: 1, or the recipe's]
    #[arg(long, allow_negative_numbers = true, value_name = "N", help_heading = "Models")]
    pub alpha: Option<f32>,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
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
    #[command(flatten)]
    pub models: Models,
    /// The text to predict; `-` for stdin
    #[arg(short, long, value_name = "FNAME")]
    pub file: PathBuf,
    /// Values of α to try, between commas [default: 0.5, 1, 1.5 and the recipe's]
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…")]
    pub alpha: Vec<f32>,
    /// Read at most N windows of --ctx-size tokens; -1 for all
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub chunks: i64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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
    #[command(flatten)]
    pub models: Models,
    /// Load the weights too: refuse those that are not finite, and decode one token with every model
    #[arg(long)]
    pub deep: bool,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// llama.cpp counts tokens in an i32.
const MAX_TOKENS: i64 = i32::MAX as i64;

/// Which models, and how they run.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Models")]
pub struct Models {
    /// The base: the large model to steer
    #[arg(short, long, value_name = "FNAME")]
    pub model: Option<PathBuf>,
    /// -me: the expert, a small model tuned for the manner; `base` or `none` are possible. In a recipe of
    /// several pairs the first one's
    #[arg(long, value_name = "FNAME")]
    pub expert: Option<PathBuf>,
    /// -ma: the antiexpert, the expert before its tuning; `base` or `none` are possible
    #[arg(long, value_name = "FNAME")]
    pub antiexpert: Option<PathBuf>,
    /// A recipe file, or the name of a bundled one; flags override it
    #[arg(short = 'R', long, value_name = "FILE|NAME")]
    pub recipe: Option<String>,

    /// Take small models whose special tokens are not all the base's; ordinary tokens must be the same
    #[arg(long)]
    pub allow_vocab_drift: bool,

    /// Tokens that the context holds, prompt and answer; 0 for what the models were trained on
    /// [default: that, at most 4096; perplexity: windows of 512]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MAX_TOKENS),
          allow_negative_numbers = true, help_heading = "Computing")]
    pub ctx_size: Option<u32>,
    /// Most tokens in one decode of a prompt
    #[arg(short, long, value_name = "N", default_value_t = 2048, help_heading = "Computing",
          value_parser = clap::value_parser!(u32).range(1..=MAX_TOKENS), allow_negative_numbers = true)]
    pub batch_size: u32,
    /// -ub: most tokens computed at once
    #[arg(long, value_name = "N", default_value_t = 512, help_heading = "Computing",
          value_parser = clap::value_parser!(u32).range(1..=MAX_TOKENS), allow_negative_numbers = true)]
    pub ubatch_size: u32,
    /// Threads for every model [default: the number of cores]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Computing")]
    pub threads: Option<i64>,
    /// -fa: flash attention
    #[arg(long, value_name = "on|off|auto", default_value = "auto", num_args = 0..=1, default_missing_value = "on",
          value_parser = flash_attention, help_heading = "Computing")]
    pub flash_attn: FlashAttention,
    /// -ctk: type of the K cache: f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = cache_type, help_heading = "Computing")]
    pub cache_type_k: CacheType,
    /// -ctv: type of the V cache
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = cache_type, help_heading = "Computing")]
    pub cache_type_v: CacheType,
    /// -nkvo: keep the KV cache in main memory
    #[arg(long, help_heading = "Computing")]
    pub no_kv_offload: bool,
    /// -lm: how weights get into memory
    #[arg(long, value_name = "MODE", default_value = "auto", help_heading = "Computing")]
    pub load_mode: LoadModeArg,
    #[arg(long, hide = true)]
    pub no_mmap: bool,
    #[arg(long, hide = true)]
    pub mlock: bool,
    /// -nr: do not repack weights for this CPU
    #[arg(long, help_heading = "Computing")]
    pub no_repack: bool,
    /// Refuse weights that are not finite
    #[arg(long, help_heading = "Computing")]
    pub check_tensors: bool,

    /// -ngl: layers moved to devices: a number, or `auto` or `all` for all
    #[arg(long, alias = "n-gpu-layers", value_name = "N", default_value = "auto", value_parser = gpu_layers,
          allow_negative_numbers = true, help_heading = "Devices")]
    pub gpu_layers: GpuLayers,
    /// -dev: devices to use, between commas; `none` for the CPU alone
    #[arg(long, value_delimiter = ',', value_name = "DEV,…", help_heading = "Devices")]
    pub device: Option<Vec<String>>,
    /// -sm: how a model is spread over several devices
    #[arg(long, value_name = "none|layer|row", default_value = "layer", help_heading = "Devices")]
    pub split_mode: SplitModeArg,
    /// -ts: share of the layers for each device, between commas
    #[arg(long, value_delimiter = ',', value_name = "N,…", help_heading = "Devices")]
    pub tensor_split: Vec<f32>,
    /// -mg: the device for a model that is not split
    #[arg(long, value_name = "INDEX", default_value_t = 0, help_heading = "Devices")]
    pub main_gpu: u32,
    /// RPC servers whose devices join the list, between commas
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,…", help_heading = "Devices")]
    pub rpc: Vec<String>,
    #[command(flatten)]
    pub expert_placement: ExpertPlacement,
    #[command(flatten)]
    pub antiexpert_placement: AntiexpertPlacement,

    /// Show llama.cpp's messages
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
}

/// Where a role's model runs, as far as it differs from the base's.
#[derive(Clone, Copy)]
pub struct Placement<'a> {
    pub layers: Option<GpuLayers>,
    pub devices: Option<&'a [String]>,
    pub cache_type_k: Option<CacheType>,
    pub cache_type_v: Option<CacheType>,
}

macro_rules! placement {
    ($name:ident, $role:literal, $ngl:ident, $device:ident, $ctk:ident, $ctv:ident) => {
        #[derive(Debug, ClapArgs)]
        pub struct $name {
            #[arg(help = concat!("Layers of the ", $role, " moved to devices [default: as the base]"),
                  long = concat!($role, "-ngl"), alias = concat!($role, "-gpu-layers"), value_name = "N",
                  value_parser = gpu_layers, allow_negative_numbers = true, help_heading = "Devices")]
            pub $ngl: Option<GpuLayers>,
            #[arg(help = concat!("Devices of the ", $role, " [default: as the base]"),
                  long = concat!($role, "-device"), value_delimiter = ',', value_name = "DEV,…", help_heading = "Devices")]
            pub $device: Option<Vec<String>>,
            #[arg(help = concat!("Type of the ", $role, "'s K cache [default: as the base]"),
                  long = concat!($role, "-ctk"), alias = concat!($role, "-cache-type-k"), value_name = "TYPE",
                  value_parser = cache_type, help_heading = "Devices")]
            pub $ctk: Option<CacheType>,
            #[arg(help = concat!("Type of the ", $role, "'s V cache [default: as the base]"),
                  long = concat!($role, "-ctv"), alias = concat!($role, "-cache-type-v"), value_name = "TYPE",
                  value_parser = cache_type, help_heading = "Devices")]
            pub $ctv: Option<CacheType>,
        }

        impl $name {
            pub fn get(&self) -> Placement<'_> {
                Placement {
                    layers: self.$ngl,
                    devices: self.$device.as_deref(),
                    cache_type_k: self.$ctk,
                    cache_type_v: self.$ctv,
                }
            }
        }
    };
}

placement!(ExpertPlacement, "expert", expert_ngl, expert_device, expert_ctk, expert_ctv);
placement!(AntiexpertPlacement, "antiexpert", antiexpert_ngl, antiexpert_device, antiexpert_ctk, antiexpert_ctv);

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
    /// Take prompt, stop texts and DRY's breakers as they are typed
    #[arg(long)]
    pub no_escape: bool,
    #[arg(short, long, hide = true)]
    pub escape: bool,
    /// Most tokens to generate; -1 until the model ends or the context is full
    #[arg(short = 'n', long = "predict", alias = "n-predict", value_name = "N", default_value_t = -1,
          value_parser = clap::value_parser!(i64).range(-1..), allow_negative_numbers = true)]
    pub n_predict: i64,
    /// A text that ends the answer; may be repeated
    #[arg(short = 'r', long = "stop", alias = "reverse-prompt", value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
}

/// `-ngl`: `None` moves all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuLayers(pub Option<u32>);

fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    match text {
        "auto" | "all" | "-1" => Ok(GpuLayers(None)),
        n => n.parse().map(|n| GpuLayers(Some(n))).map_err(|_| "expected a number, `auto` or `all`".to_owned()),
    }
}

fn flash_attention(text: &str) -> Result<FlashAttention, String> {
    match text {
        "on" | "1" | "true" | "enabled" => Ok(FlashAttention::On),
        "off" | "0" | "false" | "disabled" => Ok(FlashAttention::Off),
        "auto" | "-1" => Ok(FlashAttention::Auto),
        _ => Err("expected on, off or auto".to_owned()),
    }
}

fn cache_type(text: &str) -> Result<CacheType, String> {
    let names = || CacheType::ALL.map(CacheType::name).join(", ");
    CacheType::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("expected one of {}", names()))
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LoadModeArg {
    Auto,
    None,
    Mmap,
    Mlock,
    #[value(name = "mmap+mlock")]
    MmapMlock,
    Dio,
}

impl Models {
    /// `--load-mode`, or what llama.cpp's older flags meant.
    pub fn load_mode(&self) -> LoadMode {
        match (self.load_mode, self.no_mmap, self.mlock) {
            (LoadModeArg::Mlock, ..) | (_, true, true) => LoadMode::Mlock,
            (LoadModeArg::None, ..) | (_, true, false) => LoadMode::None,
            (LoadModeArg::MmapMlock, ..) | (_, false, true) => LoadMode::MmapMlock,
            (LoadModeArg::Auto, ..) => LoadMode::Auto,
            (LoadModeArg::Mmap, ..) => LoadMode::Mmap,
            (LoadModeArg::Dio, ..) => LoadMode::DirectIo,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SplitModeArg {
    None,
    Layer,
    Row,
}

impl From<SplitModeArg> for SplitMode {
    fn from(mode: SplitModeArg) -> Self {
        match mode {
            SplitModeArg::None => Self::None,
            SplitModeArg::Layer => Self::Layer,
            SplitModeArg::Row => Self::Row,
        }
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
