//! What can be typed. Names, meanings and defaults are llama.cpp's wherever it has them.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_excessive_bools, reason = "flags are flags")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::sampling::SamplingArgs;
use crate::llama::context::FlashAttention;
use crate::llama::model::{LoadMode, SplitMode};
use crate::recipe::placement::{CacheType, GpuLayers, Placement};
use crate::recipe::player::{Lora, ModelName};
use crate::recipe::{self, Schedule, View};

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
            Command::Check(args) => args.models.verbose,
            Command::Recipe(_) | Command::Pull(_) | Command::Devices => false,
            Command::Probe { verbose } => *verbose,
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
    /// Tell before loading whether files can work together, and what memory they take.
    Check(Check),
    /// Look at recipes: what there is, what one says, whether its files are there.
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Download what a recipe names, or a model of the Hugging Face hub.
    Pull(Pull),
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
    pub prompt: Prompt,
    #[command(flatten)]
    pub models: Models,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub alpha: Alpha,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// How far to steer.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Models")]
pub struct Alpha {
    /// How far to steer: 0 is the base alone; one value for all pairs, or one for each [default: 1, or the recipe's]
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…")]
    pub alpha: Vec<f32>,
    /// Change α along the answer: 1@0,0.5@64 (a value from a token on), 1@0..0.5@64 (a straight line); once for all
    /// pairs, or once for each
    #[arg(long, allow_hyphen_values = true, value_name = "N@POS,…", conflicts_with = "alpha")]
    pub alpha_schedule: Vec<String>,
}

impl Alpha {
    /// What was typed; empty for the recipe's.
    pub fn schedules(&self) -> Result<Vec<Schedule>, recipe::Error> {
        let schedules = if self.alpha_schedule.is_empty() {
            self.alpha.iter().map(|&alpha| Schedule::constant(alpha)).collect()
        } else {
            self.alpha_schedule.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?
        };
        schedules.iter().try_for_each(Schedule::validate)?;
        Ok(schedules)
    }
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
    /// Most tokens of an answer; -1 until the model ends or the context is full
    #[arg(short = 'n', long = "predict", alias = "n-predict", value_name = "N", default_value_t = -1,
          value_parser = clap::value_parser!(i64).range(-1..), allow_negative_numbers = true)]
    pub n_predict: i64,
    /// A text that ends an answer; may be repeated
    #[arg(short = 'r', long = "stop", alias = "reverse-prompt", value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Take stop texts and DRY's breakers as they are typed
    #[arg(long)]
    pub no_escape: bool,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FNAME")]
    pub load: Option<PathBuf>,
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
    #[command(flatten)]
    pub models: Models,
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
    /// Load the weights too: refuse those that are not finite, and decode one token with every model
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

/// Where models are downloaded from.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Downloads")]
pub struct HubArgs {
    /// -hft: access token of the hub [default: HF_TOKEN, or the one that its own tools keep]
    #[arg(long, value_name = "TOKEN")]
    pub hf_token: Option<String>,
    /// Use what is downloaded already, and ask no server
    #[arg(long)]
    pub offline: bool,
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
    /// -hf: the base from the Hugging Face hub, as user/repo[:quant]
    #[arg(long, alias = "hf", value_name = "REPO", conflicts_with = "model")]
    pub hf_repo: Option<String>,
    /// -hff: its file in the repository
    #[arg(long, value_name = "FILE", requires = "hf_repo")]
    pub hf_file: Option<String>,
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

    /// A LoRA adapter for the base; several between commas
    #[arg(long, value_name = "FNAME,…", value_delimiter = ',', value_parser = lora)]
    pub lora: Vec<Lora>,
    /// The same, each with its scale
    #[arg(long, value_name = "FNAME:SCALE,…", value_delimiter = ',', value_parser = lora_scaled)]
    pub lora_scaled: Vec<Lora>,

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
    /// [default: f16]
    #[arg(long, value_name = "TYPE", help_heading = "Computing")]
    pub cache_type_k: Option<CacheType>,
    /// -ctv: type of the V cache [default: f16]
    #[arg(long, value_name = "TYPE", help_heading = "Computing")]
    pub cache_type_v: Option<CacheType>,
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

    /// -ngl: layers moved to devices: a number, or `auto` or `all` for all [default: auto]
    #[arg(long, alias = "n-gpu-layers", value_name = "N", allow_negative_numbers = true, help_heading = "Devices")]
    pub gpu_layers: Option<GpuLayers>,
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
    pub hub: HubArgs,
    #[command(flatten)]
    pub expert_flags: ExpertFlags,
    #[command(flatten)]
    pub antiexpert_flags: AntiexpertFlags,
    /// What the base sees: `plain` text, the chat template of its `model` file, what the `expert` sees, or a
    /// template's file [default: plain]
    #[arg(long, value_name = "VIEW", help_heading = "Roles")]
    pub base_template: Option<String>,

    /// Show llama.cpp's messages
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
}

/// What flags say of a small model.
pub struct RoleFlags {
    pub hub: Option<ModelName>,
    pub lora: Vec<Lora>,
    pub view: View,
    pub placement: Placement,
}

macro_rules! role_flags {
    ($name:ident, $role:literal, $hf:ident, $hf_file:ident, $lora:ident, $lora_scaled:ident, $template:ident, $system:ident,
     $prefix:ident, $prompt:ident, $ngl:ident, $device:ident, $ctk:ident, $ctv:ident, $template_default:literal) => {
        #[derive(Debug, ClapArgs)]
        #[command(next_help_heading = "Roles")]
        pub struct $name {
            #[arg(help = concat!("The ", $role, " from the Hugging Face hub, as user/repo[:quant]"),
                  long = concat!($role, "-hf"), alias = concat!($role, "-hf-repo"), value_name = "REPO", conflicts_with = $role)]
            pub $hf: Option<String>,
            #[arg(help = "Its file in the repository", long = concat!($role, "-hf-file"), value_name = "FILE",
                  requires = stringify!($hf))]
            pub $hf_file: Option<String>,
            #[arg(help = concat!("A LoRA adapter for the ", $role, "; several between commas"),
                  long = concat!($role, "-lora"), value_name = "FNAME,…", value_delimiter = ',', value_parser = lora)]
            pub $lora: Vec<Lora>,
            #[arg(help = "The same, each with its scale", long = concat!($role, "-lora-scaled"),
                  value_name = "FNAME:SCALE,…", value_delimiter = ',', value_parser = lora_scaled)]
            pub $lora_scaled: Vec<Lora>,
            #[arg(help = concat!("What the ", $role, " sees: plain, model, expert, or a template's file [default: ",
                                 $template_default, "]"),
                  long = concat!($role, "-template"), value_name = "VIEW")]
            pub $template: Option<String>,
            #[arg(help = concat!("System prompt of the ", $role, " alone; an empty one is none"),
                  long = concat!($role, "-system"), value_name = "TEXT", allow_hyphen_values = true)]
            pub $system: Option<String>,
            #[arg(help = concat!("Text in front of the prompt for the ", $role, " alone"),
                  long = concat!($role, "-prefix"), value_name = "TEXT", allow_hyphen_values = true)]
            pub $prefix: Option<String>,
            #[arg(help = concat!("What the ", $role, " is given in place of the prompt: a negative prompt, or an empty one"),
                  long = concat!($role, "-prompt"), value_name = "TEXT", allow_hyphen_values = true)]
            pub $prompt: Option<String>,
            #[arg(help = concat!("Layers of the ", $role, " moved to devices [default: as the base]"),
                  long = concat!($role, "-ngl"), alias = concat!($role, "-gpu-layers"), value_name = "N",
                  allow_negative_numbers = true, help_heading = "Devices")]
            pub $ngl: Option<GpuLayers>,
            #[arg(help = concat!("Devices of the ", $role, " [default: as the base]"),
                  long = concat!($role, "-device"), value_delimiter = ',', value_name = "DEV,…", help_heading = "Devices")]
            pub $device: Option<Vec<String>>,
            #[arg(help = concat!("Type of the ", $role, "'s K cache [default: as the base]"),
                  long = concat!($role, "-ctk"), alias = concat!($role, "-cache-type-k"), value_name = "TYPE",
                  help_heading = "Devices")]
            pub $ctk: Option<CacheType>,
            #[arg(help = concat!("Type of the ", $role, "'s V cache [default: as the base]"),
                  long = concat!($role, "-ctv"), alias = concat!($role, "-cache-type-v"), value_name = "TYPE",
                  help_heading = "Devices")]
            pub $ctv: Option<CacheType>,
        }

        impl $name {
            pub fn get(&self) -> RoleFlags {
                let hub = self.$hf.clone().map(|repo| ModelName::Hub { repo, file: self.$hf_file.clone() });
                RoleFlags {
                    hub,
                    lora: [self.$lora.as_slice(), &self.$lora_scaled].concat(),
                    view: View {
                        template: self.$template.as_deref().map(Into::into),
                        system: self.$system.clone(),
                        prefix: self.$prefix.clone(),
                        prompt: self.$prompt.clone(),
                    },
                    placement: Placement {
                        gpu_layers: self.$ngl,
                        device: self.$device.clone(),
                        cache_type_k: self.$ctk,
                        cache_type_v: self.$ctv,
                    },
                }
            }
        }
    };
}

role_flags!(
    ExpertFlags,
    "expert",
    expert_hf,
    expert_hf_file,
    expert_lora,
    expert_lora_scaled,
    expert_template,
    expert_system,
    expert_prefix,
    expert_prompt,
    expert_ngl,
    expert_device,
    expert_ctk,
    expert_ctv,
    "model where the file has one, else plain"
);
role_flags!(
    AntiexpertFlags,
    "antiexpert",
    antiexpert_hf,
    antiexpert_hf_file,
    antiexpert_lora,
    antiexpert_lora_scaled,
    antiexpert_template,
    antiexpert_system,
    antiexpert_prefix,
    antiexpert_prompt,
    antiexpert_ngl,
    antiexpert_device,
    antiexpert_ctk,
    antiexpert_ctv,
    "plain"
);

impl Models {
    /// Where the base runs.
    pub fn placement(&self) -> Placement {
        Placement {
            gpu_layers: self.gpu_layers,
            device: self.device.clone(),
            cache_type_k: self.cache_type_k,
            cache_type_v: self.cache_type_v,
        }
    }
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
    /// Most tokens to generate; -1 until the model ends or the context is full
    #[arg(short = 'n', long = "predict", alias = "n-predict", value_name = "N", default_value_t = -1,
          value_parser = clap::value_parser!(i64).range(-1..), allow_negative_numbers = true)]
    pub n_predict: i64,
    /// A text that ends the answer; may be repeated
    #[arg(short = 'r', long = "stop", alias = "reverse-prompt", value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
}

fn lora(text: &str) -> Result<Lora, String> {
    if text.is_empty() {
        return Err("expected an adapter's file".to_owned());
    }
    Ok(Lora { path: text.into(), scale: 1.0 })
}

fn lora_scaled(text: &str) -> Result<Lora, String> {
    let expected = || "expected a file and its scale, as in adapter.gguf:0.5".to_owned();
    let (path, scale) = text.rsplit_once(':').ok_or_else(expected)?;
    Ok(Lora { path: path.into(), scale: scale.parse().map_err(|_| expected())? })
}

fn flash_attention(text: &str) -> Result<FlashAttention, String> {
    match text {
        "on" | "1" | "true" | "enabled" => Ok(FlashAttention::On),
        "off" | "0" | "false" | "disabled" => Ok(FlashAttention::Off),
        "auto" | "-1" => Ok(FlashAttention::Auto),
        _ => Err("expected on, off or auto".to_owned()),
    }
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
