//! What the steered model predicts at every token of texts, in a file to train another model from: its most probable
//! tokens with their log-probabilities, and the probability that all others have together.
//!
//! The file is safetensors: eight bytes with the length of a header, the header in JSON, then tensors one behind the
//! other, little-endian. One row is one token that is predicted; rows stand in the order of the texts.
//!
//! ```text
//! tokens          U32 [n]      the token that stands there, by the base's ids
//! top_ids         U32 [n, k]   the k most probable tokens, the most probable first
//! top_logprobs    F32 [n, k]   natural logs of their probabilities; −∞ for a token that the plausibility cut leaves out
//! rest            F32 [n]      the probability of all other tokens together
//! text_lengths    U32 [m]      rows of each text
//! prompt_lengths  U32 [m]      tokens in front of each text's rows
//! prompts         U32 [p]      those tokens, as the base reads them, one text behind the other
//! ```
//!
//! Texts are read many at once, so that rows come interleaved. The places of all are known beforehand; where reading is
//! broken off, what is there moves together.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use serde_json::{Map, Value, json};

use super::texts::Texts;
use crate::arithmetic::logprobs::Logprobs;
use crate::arithmetic::softmax;
use crate::llama::Token;

/// Stands in the header, and changes with what the tensors mean.
const FORMAT: &str = "proxytune targets 1";
/// Of every number.
const SIZE: u64 = 4;
/// What a header is a multiple of, so that tensors are aligned.
const ALIGNMENT: usize = 8;

/// A text's rows.
#[derive(Debug)]
struct Span {
    /// Its first row's place in the file, and how many of its rows are there.
    start: usize,
    n_rows: usize,
    prompt: Vec<Token>,
}

/// A file that is being written. Without [`Self::finish`] it has no header, and no reader takes it.
#[derive(Debug)]
pub struct Targets {
    file: File,
    k: usize,
    /// Rows that there is room for.
    n_rows: usize,
    spans: Vec<Span>,
    about: Map<String, Value>,
    /// Length of the header with the bytes before it.
    begin: u64,
}

/// One tensor of rows: its name, kind, and numbers in each row; 0 for a vector.
type Column = (&'static str, &'static str, usize);

impl Targets {
    /// An empty file for the `k` best tokens at each position of texts. `about` is told in the header, beside the format.
    #[must_use]
    pub fn new(file: File, texts: &Texts, k: usize, about: &[(&str, String)]) -> Self {
        let mut spans: Vec<Span> = Vec::with_capacity(texts.len());
        let mut n_rows = 0;
        for text in &texts.all {
            spans.push(Span { start: n_rows, n_rows: 0, prompt: text.prompts.lane(0).to_vec() });
            n_rows += text.n_tokens();
        }
        let about = [("format", FORMAT.to_owned()), ("top_k", k.to_string())].into_iter().chain(about.iter().cloned());
        let about = about.map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let mut targets = Self { file, k, n_rows, spans, about, begin: 0 };
        // No header is longer than the one of all rows.
        let n_prompts = targets.spans.iter().map(|span| span.prompt.len()).sum();
        let longest = targets.header(n_rows, targets.spans.len(), n_prompts, false).to_string().len();
        targets.begin = (ALIGNMENT + longest.next_multiple_of(ALIGNMENT)) as u64;
        targets
    }

    fn columns(&self) -> [Column; 4] {
        [("tokens", "U32", 0), ("top_ids", "U32", self.k), ("top_logprobs", "F32", self.k), ("rest", "F32", 0)]
    }

    /// Where a column begins in a file of so many rows, and the bytes of each of its rows.
    fn place(&self, column: usize, n_rows: usize) -> (u64, u64) {
        let width = |(_, _, n): Column| SIZE * n.max(1) as u64;
        let columns = self.columns();
        let before: u64 = columns[..column].iter().map(|column| width(*column)).sum();
        (self.begin + before * n_rows as u64, width(columns[column]))
    }

    /// Writes a row: `token` stands at a position of a text, and `composed` predicts it. A text's positions come in order.
    pub fn add(&mut self, text: usize, position: usize, token: Token, composed: &[f32]) -> io::Result<()> {
        let logprobs = Logprobs::of(composed);
        let top = softmax::top(composed, self.k);
        let logs: Vec<f64> = top.iter().map(|&id| logprobs.get(id).unwrap_or(f64::NEG_INFINITY)).collect();
        let rest = (1.0 - logs.iter().map(|log| log.exp()).sum::<f64>()).max(0.0);
        let bytes = [
            ids(&[token]),
            top.iter().flat_map(|&id| (id as u32).to_le_bytes()).collect(),
            logs.iter().flat_map(|&log| (log as f32).to_le_bytes()).collect(),
            (rest as f32).to_le_bytes().to_vec(),
        ];
        let row = self.spans[text].start + position;
        for (column, bytes) in bytes.iter().enumerate() {
            let (begin, width) = self.place(column, self.n_rows);
            self.file.seek(SeekFrom::Start(begin + width * row as u64))?;
            self.file.write_all(bytes)?;
        }
        self.spans[text].n_rows += 1;
        Ok(())
    }

    /// Ends the file: how many rows it has.
    pub fn finish(mut self) -> io::Result<usize> {
        let n_rows = self.spans.iter().map(|span| span.n_rows).sum();
        if n_rows < self.n_rows {
            self.move_together(n_rows)?;
        }
        let there: Vec<_> = self.spans.iter().filter(|span| span.n_rows > 0).collect();
        let lengths = |n: &dyn Fn(&Span) -> usize| there.iter().map(|span| n(span) as Token).collect::<Vec<_>>();
        let prompts: Vec<_> = there.iter().flat_map(|span| span.prompt.iter().copied()).collect();
        let behind = [lengths(&|span| span.n_rows), lengths(&|span| span.prompt.len()), prompts].map(|all| ids(&all));
        let header = self.header(n_rows, there.len(), behind[2].len() / SIZE as usize, n_rows == self.n_rows);
        let (last, width) = self.place(self.columns().len() - 1, n_rows);
        let end = last + width * n_rows as u64;
        self.file.seek(SeekFrom::Start(end))?;
        behind.iter().try_for_each(|bytes| self.file.write_all(bytes))?;
        let end = self.file.stream_position()?;
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(0))?;
        let n_header = self.begin - ALIGNMENT as u64;
        self.file.write_all(&n_header.to_le_bytes())?;
        let mut header = header.to_string().into_bytes();
        header.resize(n_header as usize, b' ');
        self.file.write_all(&header)?;
        self.file.flush()?;
        Ok(n_rows)
    }

    /// Closes the gaps that rows left which were not written, column by column from the front.
    fn move_together(&mut self, n_rows: usize) -> io::Result<()> {
        let mut bytes = Vec::new();
        for column in 0..self.columns().len() {
            let ((from, width), (mut to, _)) = (self.place(column, self.n_rows), self.place(column, n_rows));
            for span in &self.spans {
                bytes.resize(width as usize * span.n_rows, 0);
                self.file.seek(SeekFrom::Start(from + width * span.start as u64))?;
                self.file.read_exact(&mut bytes)?;
                self.file.seek(SeekFrom::Start(to))?;
                self.file.write_all(&bytes)?;
                to += bytes.len() as u64;
            }
        }
        Ok(())
    }

    fn header(&self, n_rows: usize, n_texts: usize, n_prompts: usize, is_complete: bool) -> Value {
        let mut about = self.about.clone();
        about.insert("complete".to_owned(), json!(is_complete.to_string()));
        let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(about))]);
        let mut at = 0;
        let mut add = |name: &str, kind, shape: Vec<usize>| {
            let end = at + SIZE as usize * shape.iter().product::<usize>();
            header.insert(name.to_owned(), json!({"dtype": kind, "shape": shape, "data_offsets": [at, end]}));
            at = end;
        };
        for (name, kind, n) in self.columns() {
            add(name, kind, if n == 0 { vec![n_rows] } else { vec![n_rows, n] });
        }
        for (name, n) in [("text_lengths", n_texts), ("prompt_lengths", n_texts), ("prompts", n_prompts)] {
            add(name, "U32", vec![n]);
        }
        Value::Object(header)
    }
}

fn ids(tokens: &[Token]) -> Vec<u8> {
    tokens.iter().flat_map(|&token| (token as u32).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::texts::{Group, Text};
    use crate::steer::Prompts;

    /// Texts of so many tokens, with nothing in front of them.
    fn texts(lengths: &[usize]) -> Texts {
        let text = |&n: &usize| Text { prompts: Prompts::default(), answers: vec![vec![7; n]] };
        Texts { all: lengths.iter().map(text).collect(), group: Group::Document, n_too_long: 0 }
    }

    fn read(file: &mut File) -> (Value, Vec<u8>) {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).expect("a file");
        file.read_to_end(&mut bytes).expect("readable");
        let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
        (serde_json::from_slice(&bytes[8..end]).expect("JSON"), bytes.split_off(end))
    }

    fn numbers(header: &Value, bytes: &[u8], name: &str) -> Vec<u32> {
        let [from, to] = [0, 1].map(|i| header[name]["data_offsets"][i].as_u64().expect("an offset") as usize);
        bytes[from..to].as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number)).collect()
    }

    const ROW: [f32; 4] = [0.0, 3.0, 1.0, 2.0];

    #[test]
    fn rows_of_texts_that_are_read_at_once_stand_apart() {
        let mut file = tempfile::tempfile().expect("a file");
        let about = [("weights", "α = 1, β ≠ α".to_owned())];
        let mut targets = Targets::new(file.try_clone().expect("the same"), &texts(&[2, 1]), 2, &about);
        for (text, position, token) in [(0, 0, 10), (1, 0, 20), (0, 1, 11)] {
            targets.add(text, position, token, &ROW).expect("writable");
        }
        assert_eq!(targets.finish().expect("writable"), 3);
        let (header, bytes) = read(&mut file);
        assert_eq!(header["__metadata__"]["weights"], "α = 1, β ≠ α");
        assert_eq!(header["__metadata__"]["complete"], "true");
        assert_eq!(numbers(&header, &bytes, "tokens"), [10, 11, 20]);
        assert_eq!(numbers(&header, &bytes, "top_ids"), [1, 3, 1, 3, 1, 3]);
        let total: f64 = ROW.iter().map(|x| f64::from(*x).exp()).sum();
        for (log, logit) in numbers(&header, &bytes, "top_logprobs").into_iter().zip([3.0, 2.0]) {
            assert!((f64::from(f32::from_bits(log)) - (logit - total.ln())).abs() < 1e-6);
        }
        let rest = f32::from_bits(numbers(&header, &bytes, "rest")[2]);
        assert!((f64::from(rest) - (1.0 + 1.0_f64.exp()) / total).abs() < 1e-6);
        assert_eq!(numbers(&header, &bytes, "text_lengths"), [2, 1]);
        assert_eq!(bytes.len(), 4 * (3 * (1 + 2 + 2 + 1) + 2 + 2));
    }

    #[test]
    fn what_was_read_of_a_run_that_was_broken_off_moves_together() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut targets = Targets::new(file.try_clone().expect("the same"), &texts(&[3, 2, 4]), 1, &[]);
        for (text, position, token) in [(0, 0, 10), (2, 0, 30), (2, 1, 31)] {
            targets.add(text, position, token, &ROW).expect("writable");
        }
        assert_eq!(targets.finish().expect("writable"), 3);
        let (header, bytes) = read(&mut file);
        assert_eq!(header["__metadata__"]["complete"], "false");
        assert_eq!(header["top_ids"]["shape"], json!([3, 1]));
        assert_eq!(numbers(&header, &bytes, "tokens"), [10, 30, 31]);
        assert_eq!(numbers(&header, &bytes, "top_ids"), [1, 1, 1]);
        assert_eq!(numbers(&header, &bytes, "text_lengths"), [1, 2]);
        assert_eq!(bytes.len(), 4 * (3 * (1 + 1 + 1 + 1) + 2 + 2));
    }

    #[test]
    fn a_token_that_was_cut_has_no_probability() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut targets = Targets::new(file.try_clone().expect("the same"), &texts(&[1]), 2, &[]);
        targets.add(0, 0, 1, &[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY]).expect("writable");
        targets.finish().expect("writable");
        let (header, bytes) = read(&mut file);
        let [best, cut] = numbers(&header, &bytes, "top_logprobs")[..] else { panic!("two") };
        assert_eq!([best, cut].map(f32::from_bits), [0.0, f32::NEG_INFINITY]);
        assert_eq!(numbers(&header, &bytes, "rest"), [0]);
    }
}
