//! Which tensors llama.cpp asks for, given a model's numbers: it makes a model of metadata alone
//! (`llama_model_init_from_user`) and names each tensor that it made.
//!
//! It aborts on some numbers, so it is asked in a process of its own: this binary runs itself, and again after each
//! abort.

use std::ffi::{CStr, CString, c_void};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use llama_cpp_sys_2 as sys;

use super::numbers::Numbers;
use crate::gguf::{Kind, Spec, Tensor};

/// Set for the process that answers.
const ASKED: &str = "PROXYTUNE_HOSTILE_ORACLE";
/// What stands in front of an answer: the test harness writes to stdout too.
const MARK: &str = "\noracle ";
/// More address space than any tiny model needs.
const MAX_KB: u64 = 4 << 20;

/// Why there are no tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// llama.cpp's words.
    Said(String),
    /// It ended the process.
    Died,
}

/// llama.cpp in a process of its own.
pub struct Oracle {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Oracle {
    pub fn new() -> Self {
        let (child, questions, answers) = start();
        Self {
            child,
            questions: Some(questions),
            answers: BufReader::new(answers),
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// The tensors of a model with these numbers.
    pub fn tensors(&mut self, numbers: &Numbers) -> Result<Vec<Tensor>, Refusal> {
        let path = self.folder.path().join("metadata.gguf");
        Spec::tiny().write_part(&path, &numbers.metadata(), &[]).expect("writable");
        let asked = writeln!(self.questions.as_mut().expect("open"), "{}", path.display());
        let answer = asked.ok().and_then(|()| self.answer());
        let Some(answer) = answer else {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let (child, questions, answers) = start();
            (self.child, self.questions, self.answers) = (child, Some(questions), BufReader::new(answers));
            return Err(Refusal::Died);
        };
        answer.map_err(Refusal::Said)
    }

    /// `None` where the process is gone.
    fn answer(&mut self) -> Option<Result<Vec<Tensor>, String>> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.answers.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some(answer) = line.strip_prefix(MARK.trim_start()) else { continue };
            return Some(match answer.trim_end().split_once(' ') {
                Some(("made", list)) => Ok(list.split(';').filter_map(read).collect()),
                Some((_, reason)) => Err(reason.to_owned()),
                None => Err(String::new()),
            });
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.questions = None;
        let _ = self.child.wait();
    }
}

/// `name,columns,rows,…`
fn read(text: &str) -> Option<Tensor> {
    let mut parts = text.split(',');
    let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let mut dims: Vec<u32> = parts.map(|dim| dim.parse().expect("a number")).collect();
    while dims.len() > 1 && dims.last() == Some(&1) {
        dims.pop();
    }
    Some(Tensor { name, dims, kind: Kind::F32 })
}

fn start() -> (Child, ChildStdin, ChildStdout) {
    let test = format!("{}::answers", module_path!().split_once("::").expect("a module of a test binary").1);
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MAX_KB}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", &test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(ASKED, "1")
        .env("GGML_NO_BACKTRACE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(if std::env::var_os("PROXYTUNE_HOSTILE_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() })
        .spawn()
        .expect("it starts");
    let (questions, answers) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    (child, questions, answers)
}

/// The process that answers: a path of a file of metadata a line.
#[test]
#[ignore = "the process that the corpus asks"]
fn answers() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    unsafe {
        sys::llama_backend_init();
        sys::llama_log_set(Some(keep_errors), std::ptr::null_mut());
    }
    for line in std::io::stdin().lock().lines() {
        let answer = match tensors_of(Path::new(&line.expect("UTF-8"))) {
            Ok(tensors) => format!("made {}", tensors.join(";")),
            Err(reason) => format!("refused {}", reason.replace('\n', " ")),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{MARK}{answer}").and_then(|()| out.flush()).expect("somebody listens");
    }
}

/// What llama.cpp said last.
static SAID: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

unsafe extern "C" fn keep_errors(level: sys::ggml_log_level, text: *const std::ffi::c_char, _: *mut c_void) {
    if level == sys::GGML_LOG_LEVEL_ERROR {
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        SAID.lock().expect("nobody panics").push_str(&text);
    }
}

fn tensors_of(path: &Path) -> Result<Vec<String>, String> {
    SAID.lock().expect("nobody panics").clear();
    let path = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let mut tensors: Vec<String> = Vec::new();
    unsafe {
        let metadata = sys::gguf_init_from_file(
            path.as_ptr(),
            sys::gguf_init_params { no_alloc: true, ctx: std::ptr::null_mut() },
        );
        if metadata.is_null() {
            return Err("no metadata".to_owned());
        }
        let params = sys::llama_model_default_params();
        let model = sys::llama_model_init_from_user(metadata, Some(note), (&raw mut tensors).cast(), params);
        sys::gguf_free(metadata);
        if model.is_null() {
            return Err(SAID.lock().expect("nobody panics").clone());
        }
        sys::llama_model_free(model);
    }
    Ok(tensors)
}

/// llama.cpp makes some tensors twice, under one name.
unsafe extern "C" fn note(tensor: *mut sys::ggml_tensor, tensors: *mut c_void) {
    let (tensor, tensors) = unsafe { (&*tensor, &mut *tensors.cast::<Vec<String>>()) };
    let name = unsafe { CStr::from_ptr(tensor.name.as_ptr()) }.to_string_lossy();
    let mut line = name.into_owned();
    for dim in tensor.ne {
        let _ = write!(line, ",{dim}");
    }
    if !tensors.contains(&line) {
        tensors.push(line);
    }
}
