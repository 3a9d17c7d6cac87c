//! Bars for long work, on a terminal only.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::say;
use crate::hub;
use crate::plain::plain;
use crate::steer::Role;

/// A bar for the file that is being loaded; gone when it is.
#[derive(Default)]
pub struct Loading(Option<(Role, ProgressBar)>);

impl Loading {
    pub fn report(&mut self, role: Role, path: &Path, share: f32) {
        if self.0.as_ref().is_none_or(|(shown, _)| *shown != role) {
            self.clear();
            let bar = bar(1000, "{msg} {wide_bar} {percent:>3} %");
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            bar.set_message(plain(&format!("loading {role} {name}")));
            self.0 = Some((role, bar));
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

/// A bar that counts `len` tokens.
pub fn tokens(len: usize) -> ProgressBar {
    bar(len as u64, "{wide_bar} {pos} of {len} tokens, {eta} left")
}

/// A bar that counts runs, with what is run.
pub fn runs() -> ProgressBar {
    let bar = bar(0, "{msg} {wide_bar} {pos} of {len}, {eta} left");
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    bar
}

/// A message that moves while something takes its time.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
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
