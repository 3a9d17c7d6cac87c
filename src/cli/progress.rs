//! Bars for long work, on a terminal only.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::say;
use crate::hub;
use crate::plain::plain;
use crate::steer::Role;

/// A bar for what is being loaded; gone when it is.
#[derive(Default)]
pub struct Loading(Option<(String, ProgressBar)>);

impl Loading {
    pub fn report(&mut self, role: Role, path: &Path, share: f32) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.report_of(&format!("{role} {name}"), share);
    }

    /// The same in words, as a process tells that loads.
    pub fn report_of(&mut self, what: &str, share: f32) {
        if self.0.as_ref().is_none_or(|(shown, _)| shown != what) {
            self.clear();
            let bar = bar(1000, "{msg} {wide_bar} {percent:>3} %");
            bar.set_message(plain(&format!("loading {what}")));
            self.0 = Some((what.to_owned(), bar));
        }
        if let Some((_, bar)) = &self.0 {
            bar.set_position((share * 1000.0) as u64);
        }
    }

    fn clear(&self) {
        if let Some((_, bar)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A bar for a prompt that is being read; gone when it is.
#[derive(Default)]
pub struct Reading(Option<ProgressBar>);

impl Reading {
    /// Fewer tokens, all roles together, are read before anybody could look at a bar.
    const SHORT: usize = 256;

    /// `n_held` of `n_all` tokens are read already.
    pub fn begin(&mut self, n_all: usize, n_held: usize) {
        if n_all.saturating_sub(n_held) > Self::SHORT {
            let bar = bar(n_all as u64, "reading the prompt {wide_bar} {pos} of {len} tokens, {eta} left");
            bar.set_position(n_held as u64);
            bar.reset_eta();
            bar.tick();
            self.0 = Some(bar);
        }
    }

    pub fn report(&self, n: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(n as u64);
        }
    }

    pub fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.end();
    }
}

/// A bar that counts `len` tokens.
pub fn tokens(len: usize) -> ProgressBar {
    bar(len as u64, "{wide_bar} {pos} of {len} tokens, {eta} left")
}

/// A bar that counts `len` items of a task, of which `n_done` are there already.
pub fn items(len: usize, n_done: usize) -> ProgressBar {
    let bar = bar(len as u64, "{msg} {wide_bar} {pos} of {len} items, {eta} left");
    bar.set_position(n_done as u64);
    bar.reset_eta();
    bar
}

/// What is measured: a spinner, then a bar once the duration is known, which a note gives beforehand.
#[derive(Default)]
pub struct Measuring(Option<(ProgressBar, Option<Instant>)>);

impl Measuring {
    pub fn report(&mut self, what: &str, expected: Option<Duration>) {
        let (bar, since) = self.0.get_or_insert_with(|| (spinner(), None));
        if let (Some(expected), None) = (expected, &since) {
            bar.suspend(|| {
                if let Some(note) = note_of(expected) {
                    say!("note: {note}");
                }
            });
            bar.set_length(expected.as_millis() as u64);
            bar.set_style(style("{msg} {wide_bar} {eta} left"));
            bar.reset_eta();
            *since = Some(Instant::now());
        }
        bar.set_message(what.to_owned());
        if let (Some(since), Some(expected)) = (since, expected) {
            // What takes longer than it was expected to is nearly done.
            bar.set_position(since.elapsed().min(expected).as_millis() as u64);
        }
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// What is worth to be told of how long it takes.
fn note_of(expected: Duration) -> Option<String> {
    const LONG: u64 = 20;
    let seconds = expected.as_secs();
    if seconds < LONG {
        return None;
    }
    let takes = if seconds < 100 { format!("{seconds} seconds") } else { format!("{} minutes", (seconds + 30) / 60) };
    Some(format!("this takes about {takes}; fewer repetitions (-r), shorter prompts (-p) or texts (-n) take less"))
}

/// A message that moves while something takes its time.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn bar(len: u64, template: &str) -> ProgressBar {
    ProgressBar::new(len).with_style(style(template))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How a file comes in whose size is known.
const SIZED: &str = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// A bar for what comes from a hub, file by file; gone when it is there.
#[derive(Default)]
pub struct Download(Option<(String, ProgressBar)>);

impl Download {
    pub fn report(&mut self, progress: &hub::Progress<'_>) {
        let hub::Progress { file, n_done, n_all, part, n_parts, step, .. } = *progress;
        if self.0.as_ref().is_none_or(|(shown, _)| shown != file) {
            self.clear();
            let bar = bar(0, "{msg}");
            self.0 = Some((file.to_owned(), bar));
        }
        let Some((_, bar)) = &self.0 else { return };
        let parts = if n_parts > 1 { format!(" ({part} of {n_parts})") } else { String::new() };
        bar.set_message(plain(&match step {
            hub::Stage::Listing => format!("asking for {file}"),
            hub::Stage::Queued => format!("another process downloads {file}{parts}"),
            hub::Stage::Rehashing => format!("checking what is there of {file}{parts}"),
            hub::Stage::Transferring => format!("{file}{parts}"),
            hub::Stage::Verifying => format!("verifying {file}{parts}"),
            hub::Stage::Spoilt { path, got } => {
                let path = path.display();
                bar.suspend(|| say!("note: {path} is damaged (its SHA-256 is {got}); downloading it again"));
                format!("{file}{parts}")
            }
            hub::Stage::Retrying { error, wait } => {
                format!("{file}{parts}: {error}; next try in {} s", wait.as_secs_f32().ceil())
            }
        }));
        let is_sized = n_all > 0;
        bar.set_style(style(if is_sized { SIZED } else { "{msg}" }));
        if is_sized {
            bar.set_length(n_all);
        }
        bar.set_position(n_done);
    }

    fn clear(&self) {
        if let Some((_, bar)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.clear();
    }
}
