//! Writes GGUF files: llama-architecture models of any size with random weights, and what is wrong with them on
//! purpose. Shared by tests and benches.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

/// A llama-architecture model to write.
#[derive(Debug, Clone)]
pub struct Spec {
    pub architecture: String,
    pub n_ctx: u32,
    pub n_embd: u32,
    pub n_layer: u32,
    pub n_head: u32,
    pub n_head_kv: u32,
    pub n_ff: u32,
    pub kind: Kind,
    pub tokens: Vec<(String, TokenType)>,
    pub tokenizer: &'static str,
    /// `tokenizer.ggml.pre`: how llama.cpp splits text into words.
    pub pre: &'static str,
    pub add_eos: bool,
    pub seed: u64,
    /// Written in place of the first weight of `output.weight`.
    pub first_output_weight: Option<f32>,
    /// Token `order[id]` stands at `id`, with its weights: the same model under other ids.
    pub order: Option<Vec<usize>>,
    /// Metadata to set, or to leave out.
    pub metadata: Vec<(String, Option<Value>)>,
}

/// A LoRA adapter to write: random matrices of some rank for the named matrices of a model, each with its columns and
/// rows.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub architecture: String,
    pub rank: u32,
    pub targets: Vec<(String, u32, u32)>,
    pub alpha: f32,
    pub seed: u64,
    /// Metadata to set, or to leave out.
    pub metadata: Vec<(String, Option<Value>)>,
}

impl Adapter {
    /// Writes the adapter; answers where each entry of the header ends.
    pub fn write(&self, path: &Path) -> io::Result<Vec<usize>> {
        let matrix = |name: String, columns, rows| Tensor { name, dims: vec![columns, rows], kind: Kind::F32 };
        let pair = |(name, columns, rows): &(String, u32, u32)| {
            [matrix(format!("{name}.lora_a"), *columns, self.rank), matrix(format!("{name}.lora_b"), self.rank, *rows)]
        };
        let tensors: Vec<_> = self.targets.iter().flat_map(pair).collect();
        let mut metadata = vec![
            ("general.type".to_owned(), Value::Text("adapter".to_owned())),
            ("general.architecture".to_owned(), Value::Text(self.architecture.clone())),
            ("adapter.type".to_owned(), Value::Text("lora".to_owned())),
            ("adapter.lora.alpha".to_owned(), Value::F32(self.alpha)),
        ];
        for (key, value) in &self.metadata {
            metadata.retain(|(there, _)| there != key);
            metadata.extend(value.clone().map(|value| (key.clone(), value)));
        }
        Spec { seed: self.seed, ..Spec::tiny() }.write_part(path, &metadata, &tensors)
    }
}

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
    /// Another of ggml's types, by its number, with the elements and the bytes of a block. All of its bytes are 0.
    Other {
        id: u32,
        block: usize,
        bytes: usize,
    },
}

impl Kind {
    /// Steps that a quantised weight is uniform over; bytes of a block for its scale, with its least weight where it has
    /// one, and for its weights.
    fn block(self) -> (f32, [usize; 2]) {
        match self {
            Self::F32 | Self::Q4K | Self::Q5K | Self::Q6K | Self::Other { .. } => unreachable!("it has other blocks"),
            Self::Q8_0 => (256.0, [2, 32]),
            Self::Q4_0 => (16.0, [2, 16]),
            Self::Q4_1 => (16.0, [4, 16]),
            Self::Q5_0 => (32.0, [2, 20]),
            Self::Q5_1 => (32.0, [4, 20]),
        }
    }

    /// Bytes of a block of 256 weights.
    fn k_block(self) -> Option<usize> {
        match self {
            Self::Q4K => Some(144),
            Self::Q5K => Some(176),
            Self::Q6K => Some(210),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

impl Spec {
    /// 2 layers of 64, F32, over the byte vocabulary.
    pub fn tiny() -> Self {
        Self {
            architecture: "llama".to_owned(),
            n_ctx: 256,
            n_embd: 64,
            n_layer: 2,
            n_head: 2,
            n_head_kv: 2,
            n_ff: 64,
            kind: Kind::F32,
            tokens: byte_tokens(300),
            tokenizer: "gpt2",
            pre: "gpt-2",
            add_eos: false,
            seed: 1,
            first_output_weight: None,
            order: None,
            metadata: Vec::new(),
        }
    }

    /// The same with `key` set to `value`; keys of the architecture begin with a dot.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.metadata.push((self.key(key), Some(value)));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.metadata.push((self.key(key), None));
        self
    }

    fn key(&self, key: &str) -> String {
        if key.starts_with('.') { format!("{}{key}", self.architecture) } else { key.to_owned() }
    }

    /// `SentencePiece`'s vocabulary in small: specials, the 256 bytes, a space and letters.
    pub fn sentence_piece() -> Self {
        let special = [("<unk>", TokenType::Unknown), ("<s>", TokenType::Control), ("</s>", TokenType::Control)];
        let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), TokenType::Byte));
        let letters = ('a'..='z').map(|letter| (letter.to_string(), TokenType::Normal));
        let mut tokens: Vec<_> = special.into_iter().map(|(text, kind)| (text.to_owned(), kind)).chain(bytes).collect();
        tokens.push(("▁".to_owned(), TokenType::Normal));
        tokens.extend(letters);
        Self { tokens, tokenizer: "llama", pre: "default", ..Self::tiny() }
    }

    /// Gemma 2 in small: capped logits, and a window that slides over every other layer.
    pub fn gemma() -> Self {
        Self { architecture: "gemma2".to_owned(), ..Self::sentence_piece() }
            .with(".attention.sliding_window", Value::U32(64))
            .with(".attention.key_length", Value::U32(32))
            .with(".attention.value_length", Value::U32(32))
            .with(".attn_logit_softcapping", Value::F32(50.0))
            .with(".final_logit_softcapping", Value::F32(30.0))
    }

    /// Mamba in small: a recurrent state in place of attention.
    pub fn mamba() -> Self {
        Self { architecture: "mamba".to_owned(), ..Self::tiny() }
            .with(".ssm.conv_kernel", Value::U32(MAMBA_CONV))
            .with(".ssm.inner_size", Value::U32(2 * Self::tiny().n_embd))
            .with(".ssm.state_size", Value::U32(MAMBA_STATE))
            .with(".ssm.time_step_rank", Value::U32(MAMBA_RANK))
    }

    /// Writes the model; answers where each entry of the header ends.
    pub fn write(&self, path: &Path) -> io::Result<Vec<usize>> {
        self.write_part(path, &self.metadata(), &self.tensors())
    }

    /// Writes the model split into `n` files; answers the first one's name. `change` may alter a part's metadata.
    pub fn write_split(
        &self,
        folder: &Path,
        n: usize,
        mut change: impl FnMut(usize, &mut Vec<(String, Value)>),
    ) -> io::Result<std::path::PathBuf> {
        let tensors = self.tensors();
        let name = |part: usize| folder.join(format!("split-{:05}-of-{n:05}.gguf", part + 1));
        for part in 0..n {
            let mut metadata = if part == 0 { self.metadata() } else { Vec::new() };
            metadata.push(("split.no".to_owned(), Value::U16(part as u16)));
            metadata.push(("split.count".to_owned(), Value::U16(n as u16)));
            metadata.push(("split.tensors.count".to_owned(), Value::I32(tensors.len() as i32)));
            change(part, &mut metadata);
            let (from, to) = (tensors.len() * part / n, tensors.len() * (part + 1) / n);
            self.write_part(&name(part), &metadata, &tensors[from..to])?;
        }
        Ok(name(0))
    }

    /// Writes a file with just this metadata and these tensors, whatever else the model is.
    pub fn write_part(&self, path: &Path, metadata: &[(String, Value)], tensors: &[Tensor]) -> io::Result<Vec<usize>> {
        let mut out = Counted { inner: BufWriter::with_capacity(1 << 20, File::create(path)?), n: 0 };
        out.write_all(b"GGUF")?;
        out.write_all(&3_u32.to_le_bytes())?;
        out.write_all(&(tensors.len() as u64).to_le_bytes())?;
        out.write_all(&(metadata.len() as u64).to_le_bytes())?;
        let mut ends = vec![0, 4, 8, 16, 24];
        for (key, value) in metadata {
            string(&mut out, key)?;
            ends.push(out.n);
            value.write(&mut out)?;
            ends.push(out.n);
        }
        let mut offset = 0;
        for tensor in tensors {
            string(&mut out, &tensor.name)?;
            ends.push(out.n);
            out.write_all(&(tensor.dims.len() as u32).to_le_bytes())?;
            for dim in &tensor.dims {
                out.write_all(&u64::from(*dim).to_le_bytes())?;
                ends.push(out.n);
            }
            out.write_all(&tensor.ggml_type().to_le_bytes())?;
            out.write_all(&(offset as u64).to_le_bytes())?;
            ends.push(out.n);
            offset += tensor.n_bytes().next_multiple_of(ALIGNMENT);
        }
        for tensor in tensors {
            out.pad()?;
            // Each tensor has its own numbers, so that a part of a model has them too.
            let mut random = Random::new(self.seed, &tensor.name);
            let first = self.first_output_weight.filter(|_| tensor.name == "output.weight");
            match &self.order {
                Some(order) if tensor.dims.len() == 2 && tensor.dims[1] as usize == order.len() => {
                    let mut rows = Vec::with_capacity(tensor.n_bytes());
                    tensor.write(&mut rows, &mut random, first)?;
                    let n = rows.len() / order.len();
                    order.iter().try_for_each(|&id| out.write_all(&rows[id * n..(id + 1) * n]))?;
                }
                _ => tensor.write(&mut out, &mut random, first)?,
            }
        }
        out.pad()?;
        out.flush()?;
        Ok(ends)
    }

    pub fn metadata(&self) -> Vec<(String, Value)> {
        let arch = &self.architecture;
        let tokens: Vec<_> = match &self.order {
            Some(order) => order.iter().map(|&id| self.tokens[id].clone()).collect(),
            None => self.tokens.clone(),
        };
        let id = |text: &str| tokens.iter().position(|(token, _)| token == text).map(|id| Value::U32(id as u32));
        let mut entries = vec![
            ("general.architecture".to_owned(), Value::Text(arch.clone())),
            ("general.name".to_owned(), Value::Text("random".to_owned())),
            (format!("{arch}.context_length"), Value::U32(self.n_ctx)),
            (format!("{arch}.embedding_length"), Value::U32(self.n_embd)),
            (format!("{arch}.block_count"), Value::U32(self.n_layer)),
            (format!("{arch}.feed_forward_length"), Value::U32(self.n_ff)),
            (format!("{arch}.attention.head_count"), Value::U32(self.n_head)),
            (format!("{arch}.attention.head_count_kv"), Value::U32(self.n_head_kv)),
            (format!("{arch}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
            (format!("{arch}.rope.dimension_count"), Value::U32(self.n_embd / self.n_head)),
            ("tokenizer.ggml.model".to_owned(), Value::Text(self.tokenizer.to_owned())),
            ("tokenizer.ggml.pre".to_owned(), Value::Text(self.pre.to_owned())),
            ("tokenizer.ggml.add_bos_token".to_owned(), Value::Bool(true)),
            ("tokenizer.ggml.add_eos_token".to_owned(), Value::Bool(self.add_eos)),
            ("tokenizer.ggml.merges".to_owned(), Value::Texts(Vec::new())),
            ("tokenizer.ggml.tokens".to_owned(), Value::Texts(tokens.iter().map(|(text, _)| text.clone()).collect())),
            (
                "tokenizer.ggml.token_type".to_owned(),
                Value::I32s(tokens.iter().map(|(_, kind)| *kind as i32).collect()),
            ),
        ];
        for (key, texts) in [("bos", ["<|bos|>", "<s>"]), ("eos", ["<|eos|>", "</s>"])] {
            let id = texts.into_iter().find_map(id);
            entries.extend(id.map(|id| (format!("tokenizer.ggml.{key}_token_id"), id)));
        }
        if self.tokenizer == "llama" {
            let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
            entries.push(("tokenizer.ggml.scores".to_owned(), Value::F32s(scores)));
        }
        for (key, value) in &self.metadata {
            entries.retain(|(there, _)| there != key);
            entries.extend(value.clone().map(|value| (key.clone(), value)));
        }
        entries
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        let (n_embd, n_ff, n_vocab) = (self.n_embd, self.n_ff, self.tokens.len() as u32);
        let n_kv = n_embd / self.n_head * self.n_head_kv;
        let matrix = |name: String, columns, rows| Tensor { name, dims: vec![columns, rows], kind: self.kind };
        let norm = |name: String| Tensor { name, dims: vec![n_embd], kind: Kind::F32 };
        let mut tensors = vec![matrix("token_embd.weight".to_owned(), n_embd, n_vocab)];
        for i in 0..self.n_layer {
            let named = |part| format!("blk.{i}.{part}.weight");
            if self.architecture == "mamba" {
                let inner = 2 * n_embd;
                let vector =
                    |name: &str| Tensor { name: format!("blk.{i}.{name}"), dims: vec![inner], kind: Kind::F32 };
                tensors.extend([
                    norm(named("attn_norm")),
                    matrix(named("ssm_in"), n_embd, 2 * inner),
                    matrix(named("ssm_conv1d"), MAMBA_CONV, inner),
                    vector("ssm_conv1d.bias"),
                    matrix(named("ssm_x"), inner, MAMBA_RANK + 2 * MAMBA_STATE),
                    matrix(named("ssm_dt"), MAMBA_RANK, inner),
                    vector("ssm_dt.bias"),
                    matrix(format!("blk.{i}.ssm_a"), MAMBA_STATE, inner),
                    vector("ssm_d"),
                    matrix(named("ssm_out"), inner, n_embd),
                ]);
                continue;
            }
            if self.architecture == "gemma2" {
                tensors.extend([norm(named("post_attention_norm")), norm(named("post_ffw_norm"))]);
            }
            tensors.extend([
                norm(named("attn_norm")),
                matrix(named("attn_q"), n_embd, n_embd),
                matrix(named("attn_k"), n_embd, n_kv),
                matrix(named("attn_v"), n_embd, n_kv),
                matrix(named("attn_output"), n_embd, n_embd),
                norm(named("ffn_norm")),
                matrix(named("ffn_gate"), n_embd, n_ff),
                matrix(named("ffn_up"), n_embd, n_ff),
                matrix(named("ffn_down"), n_ff, n_embd),
            ]);
        }
        tensors.push(norm("output_norm.weight".to_owned()));
        // Gemma's output is its embedding.
        if !self.architecture.starts_with("gemma") {
            tensors.push(matrix("output.weight".to_owned(), n_embd, n_vocab));
        }
        tensors
    }
}

/// The specials, the 256 bytes in GPT-2's printable form, and fillers up to `n`.
pub fn byte_tokens(n: usize) -> Vec<(String, TokenType)> {
    let specials = ["<|bos|>", "<|eos|>"].map(|text| (text.to_owned(), TokenType::Control));
    let mut shifted = 0;
    let bytes = (0..=255_u8).map(|byte| {
        let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable {
            u32::from(byte)
        } else {
            shifted += 1;
            255 + shifted
        };
        (char::from_u32(code).expect("a printable character").to_string(), TokenType::Normal)
    });
    let mut tokens: Vec<_> = specials.into_iter().chain(bytes).collect();
    let fillers = tokens.len()..n;
    tokens.extend(fillers.map(|i| (format!("token{i}"), TokenType::Normal)));
    tokens
}

const MAMBA_CONV: u32 = 4;
const MAMBA_STATE: u32 = 8;
const MAMBA_RANK: u32 = 4;

const ALIGNMENT: usize = 32;
/// Weights per block of a quantised type.
const BLOCK: usize = 32;
const K_BLOCK: usize = 256;

/// A tensor to write, with its elements along each dimension, the fastest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub dims: Vec<u32>,
    pub kind: Kind,
}

impl Tensor {
    fn n_weights(&self) -> usize {
        self.dims.iter().map(|&dim| dim as usize).product()
    }

    fn ggml_type(&self) -> u32 {
        match self.kind {
            Kind::F32 => 0,
            Kind::Q4_0 => 2,
            Kind::Q4_1 => 3,
            Kind::Q5_0 => 6,
            Kind::Q5_1 => 7,
            Kind::Q8_0 => 8,
            Kind::Q4K => 12,
            Kind::Q5K => 13,
            Kind::Q6K => 14,
            Kind::Other { id, .. } => id,
        }
    }

    fn n_bytes(&self) -> usize {
        match self.kind {
            Kind::F32 => self.n_weights() * 4,
            Kind::Other { block, bytes, .. } => self.n_weights() / block * bytes,
            kind => match kind.k_block() {
                Some(bytes) => self.n_weights() / K_BLOCK * bytes,
                None => self.n_weights() / BLOCK * kind.block().1.iter().sum::<usize>(),
            },
        }
    }

    /// Norms are one; matrices are random with a variance that keeps activations in size.
    fn write(&self, out: &mut impl Write, random: &mut Random, first: Option<f32>) -> io::Result<()> {
        let std = 1.0 / (self.dims[0] as f32).sqrt();
        let is_norm = self.dims.len() == 1;
        match self.kind {
            Kind::F32 => {
                for i in 0..self.n_weights() {
                    let weight = if is_norm { 1.0 } else { random.uniform() * std * 3.46 };
                    let weight = first.filter(|_| i == 0).unwrap_or(weight);
                    out.write_all(&weight.to_le_bytes())?;
                }
            }
            Kind::Other { .. } => io::copy(&mut io::repeat(0).take(self.n_bytes() as u64), out).map(|_| ())?,
            Kind::Q4K | Kind::Q5K | Kind::Q6K => {
                let n_bytes = self.kind.k_block().expect("a K-quant");
                let mut block = vec![0; n_bytes.next_multiple_of(8)];
                for _ in 0..self.n_weights() / K_BLOCK {
                    block.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
                    // Scales of 0 to 63 and minima alike, or scales of 0 to 31; weights of 0 to 15, 31, or −32 to 31.
                    let (at, scale) = match self.kind {
                        Kind::Q4K => (0, std / (37.0 * 4.6)),
                        Kind::Q5K => (0, std / (37.0 * 9.2)),
                        _ => (208, std / (18.0 * 18.5)),
                    };
                    let middle = if self.kind == Kind::Q4K { 7.5 } else { 15.5 };
                    block[at..at + 2].copy_from_slice(&half(scale).to_le_bytes());
                    if at == 0 {
                        block[2..4].copy_from_slice(&half(scale * middle).to_le_bytes());
                    } else {
                        block[192..208].iter_mut().for_each(|scale| *scale &= 31);
                    }
                    out.write_all(&block[..n_bytes])?;
                }
            }
            kind => {
                let (n_steps, [n_head, n_rest]) = kind.block();
                let scale = std / (n_steps / 12.0_f32.sqrt());
                let halves = [half(scale), half(-scale * n_steps / 2.0)].map(u16::to_le_bytes).concat();
                let mut block = [0; 32];
                for _ in 0..self.n_weights() / BLOCK {
                    out.write_all(&halves[..n_head])?;
                    for word in block[..n_rest.next_multiple_of(8)].chunks_exact_mut(8) {
                        word.copy_from_slice(&random.next().to_le_bytes());
                    }
                    out.write_all(&block[..n_rest])?;
                }
            }
        }
        Ok(())
    }
}

/// An f32 of a normal half's range as the bits of a half, rounded towards zero.
fn half(x: f32) -> u16 {
    let bits = x.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    assert!((1..31).contains(&exponent), "{x} is not a normal half");
    ((bits >> 16 & 0x8000) | (exponent as u32) << 10 | (bits >> 13 & 0x3ff)) as u16
}

/// xorshift64*: fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64, name: &str) -> Self {
        let mixed = name
            .bytes()
            .fold(seed ^ 0xcbf2_9ce4_8422_2325, |x, byte| (x ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(mixed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From −½ to ½.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U16(u16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

impl Value {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let array = |out: &mut dyn Write, kind: u32, len: usize| -> io::Result<()> {
            out.write_all(&9_u32.to_le_bytes())?;
            out.write_all(&kind.to_le_bytes())?;
            out.write_all(&(len as u64).to_le_bytes())
        };
        let scalar = |out: &mut dyn Write, kind: u32, bytes: &[u8]| -> io::Result<()> {
            out.write_all(&kind.to_le_bytes())?;
            out.write_all(bytes)
        };
        match self {
            Self::U16(x) => scalar(out, 2, &x.to_le_bytes()),
            Self::U32(x) => scalar(out, 4, &x.to_le_bytes()),
            Self::I32(x) => scalar(out, 5, &x.to_le_bytes()),
            Self::F32(x) => scalar(out, 6, &x.to_le_bytes()),
            Self::Bool(x) => scalar(out, 7, &[u8::from(*x)]),
            Self::Text(text) => {
                out.write_all(&8_u32.to_le_bytes())?;
                string(out, text)
            }
            Self::Texts(texts) => {
                array(out, 8, texts.len())?;
                texts.iter().try_for_each(|text| string(out, text))
            }
            Self::I32s(numbers) => {
                array(out, 5, numbers.len())?;
                numbers.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
            }
            Self::F32s(numbers) => {
                array(out, 6, numbers.len())?;
                numbers.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
            }
        }
    }
}

fn string(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// A writer that knows where it is, for alignment.
struct Counted<W> {
    inner: W,
    n: usize,
}

impl<W: Write> Counted<W> {
    fn pad(&mut self) -> io::Result<()> {
        let n = self.n.next_multiple_of(ALIGNMENT) - self.n;
        self.write_all(&[0; ALIGNMENT][..n])
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.n += n;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
