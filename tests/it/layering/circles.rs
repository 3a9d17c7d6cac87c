//! Files that need one another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::house::Arrow;

/// Every circle as a text that names its files and each line that ties it.
pub fn circles(arrows: &[Arrow]) -> Vec<String> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arrow in arrows {
        next.entry(&arrow.from.file).or_default().insert(&arrow.to.file);
    }
    let reach: BTreeMap<_, _> = next.keys().map(|&file| (file, behind(file, &next))).collect();
    let ties = |a: &str, b: &str| reach.get(a).is_some_and(|files| files.contains(b));
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for &file in reach.keys() {
        let circle: Vec<_> = reach.keys().copied().filter(|other| ties(file, other) && ties(other, file)).collect();
        if circle.is_empty() || !told.insert(circle.clone()) {
            continue;
        }
        let mut text = format!("a circle of {} files: {}", circle.len(), circle.join(", "));
        let mut lines = BTreeSet::new();
        for arrow in arrows {
            let (from, to) = (arrow.from.file.as_str(), arrow.to.file.as_str());
            if circle.contains(&from) && circle.contains(&to) {
                lines.insert((from, to, arrow.line, &arrow.path));
            }
        }
        for (from, to, line, path) in lines {
            write!(text, "\n  {from}:{line} names {path} of {to}").expect("a string takes text");
        }
        found.push(text);
    }
    found
}

/// All files that arrows lead to from a file; itself too where they lead back.
fn behind<'a>(file: &'a str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![file];
    while let Some(file) = todo.pop() {
        todo.extend(next.get(file).into_iter().flatten().filter(|&&file| seen.insert(file)));
    }
    seen
}
