//! Writes GGUF files: llama-architecture models of any size with random weights, and what is wrong with them on
//! purpose. Shared by tests and benches.

use std::fs::File;
use std::io::{self, BufWriter, Write};
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
}

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    Q8_0,
    Q4_0,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    Normal = 1,
    Control = 3,
    Unused = 5,
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
        }
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        let tensors = self.tensors();
        let metadata = self.metadata();
        let mut out = Counted { inner: BufWriter::with_capacity(1 << 20, File::create(path)?), n: 0 };
        out.write_all(b"GGUF")?;
        out.write_all(&3_u32.to_le_bytes())?;
        out.write_all(&(tensors.len() as u64).to_le_bytes())?;
        out.write_all(&(metadata.len() as u64).to_le_bytes())?;
        for (key, value) in &metadata {
            string(&mut out, key)?;
            value.write(&mut out)?;
        }
        let mut offset = 0;
        for tensor in &tensors {
            string(&mut out, &tensor.name)?;
            out.write_all(&(tensor.dims.len() as u32).to_le_bytes())?;
            for dim in &tensor.dims {
                out.write_all(&u64::from(*dim).to_le_bytes())?;
            }
            out.write_all(&tensor.ggml_type().to_le_bytes())?;
            out.write_all(&(offset as u64).to_le_bytes())?;
            offset += tensor.n_bytes().next_multiple_of(ALIGNMENT);
        }
        let mut random = Random(self.seed);
        for tensor in &tensors {
            out.pad()?;
            let first = self.first_output_weight.filter(|_| tensor.name == "output.weight");
            tensor.write(&mut out, &mut random, first)?;
        }
        out.pad()?;
        out.flush()
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let arch = &self.architecture;
        let id = |text: &str| self.tokens.iter().position(|(token, _)| token == text).map(|id| Value::U32(id as u32));
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
            (
                "tokenizer.ggml.tokens".to_owned(),
                Value::Texts(self.tokens.iter().map(|(text, _)| text.clone()).collect()),
            ),
            (
                "tokenizer.ggml.token_type".to_owned(),
                Value::I32s(self.tokens.iter().map(|(_, kind)| *kind as i32).collect()),
            ),
        ];
        for (key, text) in [("bos", "<|bos|>"), ("eos", "<|eos|>")] {
            entries.extend(id(text).map(|id| (format!("tokenizer.ggml.{key}_token_id"), id)));
        }
        entries
    }

    fn tensors(&self) -> Vec<Tensor> {
        let (n_embd, n_ff, n_vocab) = (self.n_embd, self.n_ff, self.tokens.len() as u32);
        let n_kv = n_embd / self.n_head * self.n_head_kv;
        let matrix = |name: String, columns, rows| Tensor { name, dims: vec![columns, rows], kind: self.kind };
        let norm = |name: String| Tensor { name, dims: vec![n_embd], kind: Kind::F32 };
        let mut tensors = vec![matrix("token_embd.weight".to_owned(), n_embd, n_vocab)];
        for i in 0..self.n_layer {
            let named = |part| format!("blk.{i}.{part}.weight");
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
        tensors.extend([norm("output_norm.weight".to_owned()), matrix("output.weight".to_owned(), n_embd, n_vocab)]);
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

const ALIGNMENT: usize = 32;
/// Weights per block of a quantised type.
const BLOCK: usize = 32;

struct Tensor {
    name: String,
    dims: Vec<u32>,
    kind: Kind,
}

impl Tensor {
    fn n_weights(&self) -> usize {
        self.dims.iter().map(|&dim| dim as usize).product()
    }

    fn ggml_type(&self) -> u32 {
        match self.kind {
            Kind::F32 => 0,
            Kind::Q4_0 => 2,
            Kind::Q8_0 => 8,
        }
    }

    fn n_bytes(&self) -> usize {
        match self.kind {
            Kind::F32 => self.n_weights() * 4,
            Kind::Q4_0 => self.n_weights() / BLOCK * 18,
            Kind::Q8_0 => self.n_weights() / BLOCK * 34,
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
            // A nibble is uniform over 16 steps, a byte over 256: standard deviations of 4.6 and 73.9 steps.
            Kind::Q4_0 | Kind::Q8_0 => {
                let (scale, n) = if self.kind == Kind::Q4_0 { (std / 4.6, 16) } else { (std / 73.9, 32) };
                let scale = half(scale).to_le_bytes();
                let mut block = [0; 32];
                for _ in 0..self.n_weights() / BLOCK {
                    out.write_all(&scale)?;
                    for word in block[..n].chunks_exact_mut(8) {
                        word.copy_from_slice(&random.next().to_le_bytes());
                    }
                    out.write_all(&block[..n])?;
                }
            }
        }
        Ok(())
    }
}

/// An f32 of a normal half's range as the bits of a half, rounded down.
fn half(x: f32) -> u16 {
    let bits = x.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    assert!((1..31).contains(&exponent), "{x} is not a normal half");
    ((bits >> 16 & 0x8000) | (exponent as u32) << 10 | (bits >> 13 & 0x3ff)) as u16
}

/// xorshift64*: fast, and the same everywhere.
struct Random(u64);

impl Random {
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

enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
}

impl Value {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let array = |out: &mut dyn Write, kind: u32, len: usize| -> io::Result<()> {
            out.write_all(&9_u32.to_le_bytes())?;
            out.write_all(&kind.to_le_bytes())?;
            out.write_all(&(len as u64).to_le_bytes())
        };
        match self {
            Self::U32(x) => [&4_u32.to_le_bytes(), &x.to_le_bytes()].iter().try_for_each(|bytes| out.write_all(*bytes)),
            Self::F32(x) => [&6_u32.to_le_bytes(), &x.to_le_bytes()].iter().try_for_each(|bytes| out.write_all(*bytes)),
            Self::Bool(x) => {
                out.write_all(&7_u32.to_le_bytes())?;
                out.write_all(&[u8::from(*x)])
            }
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
