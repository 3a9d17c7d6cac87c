//! What can be typed of models: which they are, what roles see, and how and where they run.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_excessive_bools, reason = "flags are flags")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::fit::FitArgs;
use super::remote::RemoteArgs;
use super::rope::RopeArgs;
use crate::llama::context::FlashAttention;
use crate::llama::kernels::Kernels;
use crate::llama::model::{LoadMode, SplitMode};
use crate::llama::overrides::TensorOverride;
use crate::recipe::View;
use crate::recipe::model_spec::{Lora, ModelName};
use crate::recipe::placement::{CacheType, GpuLayers, Placement};

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
    /// -me: the expert, the small tuned model; also `base` or `none`. With several pairs in a recipe it replaces the
    /// first pair's
    #[arg(long, value_name = "FNAME")]
    pub expert: Option<PathBuf>,
    /// -ma: the antiexpert, the expert before its tuning; also `base` or `none`
    #[arg(long, value_name = "FNAME")]
    pub antiexpert: Option<PathBuf>,
    /// A recipe file, or the name of a bundled one; flags override it. `serve` takes several
    #[arg(short = 'R', long, value_name = "FILE|NAME")]
    pub recipe: Vec<String>,

    #[command(flatten)]
    pub remote: RemoteArgs,

    /// A LoRA adapter for the base; several between commas
    #[arg(long, value_name = "FNAME,…", value_delimiter = ',', value_parser = lora)]
    pub lora: Vec<Lora>,
    /// The same, each with its scale
    #[arg(long, value_name = "FNAME:SCALE,…", value_delimiter = ',', value_parser = lora_scaled)]
    pub lora_scaled: Vec<Lora>,

    /// Accept small models whose special tokens differ from the base's; ordinary tokens must be the same
    #[arg(long)]
    pub allow_vocab_drift: bool,

    /// Tokens that the context holds, prompt and answer; 0 for what the models were trained on [default: what they were
    /// trained on, at most 4096; perplexity and calibrate: windows of 512, or documents of 2048; bench: what its tests need]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MAX_TOKENS),
          allow_negative_numbers = true, help_heading = "Computing")]
    pub ctx_size: Option<u32>,
    /// Maximum number of prompt tokens in one decode
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
    /// Make the text independent of drafting: the CPU alone, flash attention and a KV cache in q8_0. Drafting stays on only
    /// for weights that proxytune's kernels compute, or in q4_0, q4_1, q5_0, q5_1 and q8_0, on x86-64
    #[arg(long, help_heading = "Computing")]
    pub deterministic: bool,
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
    /// Whose matrix products compute what is in main memory: proxytune's own, which make a few tokens at once cost little more
    /// than one, or llama.cpp's. `auto` takes its own where they know all types of a file (f32, f16, bf16, q4_0, q5_0, q8_0,
    /// q4_K, q5_K, q6_K) and the CPU has AVX2
    #[arg(long, value_name = "auto|on|off", default_value = "auto", help_heading = "Computing")]
    pub kernels: KernelsArg,
    /// -nr: do not repack weights for this CPU, where llama.cpp multiplies them
    #[arg(long, help_heading = "Computing")]
    pub no_repack: bool,
    /// Refuse weights that are not finite
    #[arg(long, help_heading = "Computing")]
    pub check_tensors: bool,
    /// -tb: as llama.cpp has it; a number that is not that of --threads is refused
    #[arg(long, value_name = "N", allow_negative_numbers = true, hide = true)]
    pub threads_batch: Option<i64>,

    /// -ngl: layers moved to devices: a number, `all`, or `auto` for as many as fit (--fit) [default: auto]
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
    /// -ot: tensors whose names match a regular expression, each with the buffer that they go into, as in exps=CPU
    #[arg(long, value_delimiter = ',', value_name = "PATTERN=BUFFER,…", value_parser = tensor_override,
          help_heading = "Devices")]
    pub override_tensor: Vec<TensorOverride>,
    /// -cmoe: keep all MoE expert weights in main memory (not those of the --expert model)
    #[arg(long, help_heading = "Devices")]
    pub cpu_moe: bool,
    /// -ncmoe: the same for the first N layers only
    #[arg(long, value_name = "N", help_heading = "Devices", value_parser = clap::value_parser!(u32).range(0..=MAX_LAYERS),
          allow_negative_numbers = true)]
    pub n_cpu_moe: Option<u32>,
    /// -ncffn: keep the feed-forward weights of the first N layers in main memory
    #[arg(long, value_name = "N", help_heading = "Devices", value_parser = clap::value_parser!(u32).range(0..=MAX_LAYERS),
          allow_negative_numbers = true)]
    pub n_cpu_ffn: Option<u32>,
    #[command(flatten)]
    pub fit: FitArgs,
    /// RPC servers whose devices join the list, between commas
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,…", help_heading = "Devices")]
    pub rpc: Vec<String>,
    #[command(flatten)]
    pub rope: RopeArgs,
    #[command(flatten)]
    pub hub: HubArgs,
    #[command(flatten)]
    pub expert_flags: ExpertFlags,
    #[command(flatten)]
    pub antiexpert_flags: AntiexpertFlags,
    /// The template of every role without one of its own: a name of llama.cpp's (chatml, gemma, llama3, phi3, zephyr), Jinja
    /// source, plain, model, expert, or a file
    #[arg(long, value_name = "TEMPLATE", help_heading = "Roles", allow_hyphen_values = true)]
    pub chat_template: Option<String>,
    /// The same from a file
    #[arg(long, value_name = "FNAME", help_heading = "Roles", conflicts_with = "chat_template")]
    pub chat_template_file: Option<PathBuf>,
    /// What the base sees: `plain` text, the chat template of its `model` file, what the `expert` sees, a template by
    /// llama.cpp's name, or a template's file [default: plain]
    #[arg(long, value_name = "VIEW", help_heading = "Roles")]
    pub base_template: Option<String>,

    /// Show llama.cpp's messages
    #[arg(short, long, alias = "log-verbose", help_heading = "Output")]
    pub verbose: bool,
}

/// llama.cpp knows no model of more.
const MAX_LAYERS: i64 = 512;

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
    /// Whether models are named one by one.
    pub fn names_models(&self) -> bool {
        let (expert, antiexpert) = (self.expert_flags.get(), self.antiexpert_flags.get());
        self.model.is_some()
            || self.hf_repo.is_some()
            || self.remote.base_url.is_some()
            || self.expert.is_some()
            || self.antiexpert.is_some()
            || expert.hub.is_some()
            || antiexpert.hub.is_some()
    }

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

fn tensor_override(text: &str) -> Result<TensorOverride, String> {
    let (pattern, buffer) = text.split_once('=').ok_or("expected a pattern and a buffer, as in exps=CPU")?;
    Ok(TensorOverride { pattern: pattern.to_owned(), buffer: buffer.to_owned() })
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
pub enum KernelsArg {
    Auto,
    On,
    Off,
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
    /// `--flash-attn`, which `--deterministic` needs.
    pub fn flash_attention(&self) -> FlashAttention {
        if self.deterministic { FlashAttention::On } else { self.flash_attn }
    }

    /// Tensors that go elsewhere than their layer, in llama.cpp's order and by its patterns.
    pub fn overrides(&self) -> Vec<TensorOverride> {
        const EXPERTS: &str = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps";
        const FEED_FORWARD: &str = r"\.ffn_(up|down|gate)\.";
        let first = |n: Option<u32>, pattern: &'static str| {
            (0..n.unwrap_or(0)).map(move |layer| TensorOverride::on_cpu(format!(r"blk\.{layer}{pattern}")))
        };
        let all_experts = self.cpu_moe.then(|| TensorOverride::on_cpu(EXPERTS));
        let typed = self.override_tensor.iter().cloned().chain(all_experts);
        typed.chain(first(self.n_cpu_moe, EXPERTS)).chain(first(self.n_cpu_ffn, FEED_FORWARD)).collect()
    }

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

impl From<KernelsArg> for Kernels {
    fn from(kernels: KernelsArg) -> Self {
        match kernels {
            KernelsArg::Auto => Self::Auto,
            KernelsArg::On => Self::On,
            KernelsArg::Off => Self::Off,
        }
    }
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
