//! All modules together: which file defines the name that a path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::{Import, Mention, Module};

/// A crate's name, then its modules'.
pub type Address = Vec<String>;

#[derive(Debug, Default)]
pub struct House {
    modules: BTreeMap<Address, (String, Module)>,
}

/// Code in one file that names something that another file defines.
#[derive(Debug)]
pub struct Arrow {
    pub from: End,
    pub to: End,
    pub line: usize,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub module: Address,
    pub file: String,
}

enum Place {
    Module(Address),
    /// Something that this module defines.
    Item(Address),
}

impl House {
    /// Adds a crate with all its modules; `open` gives a file's text, if there is such a file.
    pub fn read(&mut self, name: &str, root: &str, open: &dyn Fn(&str) -> Option<String>) {
        let text = open(root).unwrap_or_else(|| panic!("{root} cannot be read"));
        self.place(vec![name.to_owned()], root, &text, open);
    }

    fn place(&mut self, address: Address, file: &str, text: &str, open: &dyn Fn(&str) -> Option<String>) {
        let module = Module::parse(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let path = Path::new(file);
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("lib" | "main" | "mod") => path.parent().expect("a folder").to_path_buf(),
            _ => path.with_extension(""),
        };
        self.add(address, file, &folder, module, open);
    }

    fn add(
        &mut self,
        at: Address,
        file: &str,
        folder: &Path,
        mut module: Module,
        open: &dyn Fn(&str) -> Option<String>,
    ) {
        for child in &mut module.children {
            let address = [at.as_slice(), std::slice::from_ref(&child.name)].concat();
            let folder = folder.join(&child.name);
            if let Some(inline) = child.inline.take() {
                self.add(address, file, &folder, inline, open);
                continue;
            }
            let files = [folder.with_extension("rs"), folder.join("mod.rs")].map(|path| path.display().to_string());
            let found = files.iter().find_map(|file| Some((file, open(file)?)));
            let (file, text) = found.unwrap_or_else(|| panic!("{file} declares {}, which has no file", child.name));
            self.place(address, file, &text, open);
        }
        self.modules.insert(at, (file.to_owned(), module));
    }

    pub fn files(&self) -> BTreeSet<&str> {
        self.modules.values().map(|(file, _)| file.as_str()).collect()
    }

    /// Every arrow from file to file. What is imported has its arrow at the `use`, however often the code says it.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (at, (_, module)) in &self.modules {
            let mut imported = BTreeSet::new();
            for Import { what, name, is_public } in &module.imports {
                let Some(to) = self.home(at, what) else { continue };
                let hands_on_its_own = *is_public && to.starts_with(at);
                if !hands_on_its_own {
                    arrows.extend(self.arrow(at, &to, what));
                    imported.extend(name.as_deref().map(|name| (name, to)));
                }
            }
            for what in &module.mentions {
                let Some(to) = self.home(at, what) else { continue };
                if !imported.contains(&(what.path[0].as_str(), to.clone())) {
                    arrows.extend(self.arrow(at, &to, what));
                }
            }
        }
        arrows
    }

    fn arrow(&self, from: &[String], to: &[String], what: &Mention) -> Option<Arrow> {
        let end = |module: &[String]| End { module: module.to_vec(), file: self.modules[module].0.clone() };
        let (from, to) = (end(from), end(to));
        (from.file != to.file).then(|| Arrow { from, to, line: what.line, path: what.path.join("::") })
    }

    /// The module that defines what the module `at` means by a path; `None` for what is not of these crates, and for
    /// a module as such.
    fn home(&self, at: &[String], what: &Mention) -> Option<Address> {
        let find = |n: usize| self.walk(at, &what.path[..n], true, &mut Vec::new());
        let n = what.path.len();
        let is_ours = ["crate", "self", "super"].contains(&what.path[0].as_str());
        match find(n) {
            Some(Place::Item(module)) => Some(module),
            Some(Place::Module(_)) => None,
            None if !is_ours => None,
            // Macros are not expanded: one made this name, in the last module that is there.
            None => (1..n).rev().find_map(find).map(|(Place::Item(module) | Place::Module(module))| module),
        }
    }

    /// `followed`: the imports that led here, none of which is followed twice.
    fn walk<'a>(
        &'a self,
        at: &[String],
        path: &[String],
        is_start: bool,
        followed: &mut Vec<&'a Import>,
    ) -> Option<Place> {
        let Some((first, rest)) = path.split_first() else { return Some(Place::Module(at.to_vec())) };
        match first.as_str() {
            "crate" => return self.walk(&at[..1], rest, false, followed),
            "super" => return self.walk(&at[..at.len() - 1], rest, false, followed),
            "self" => return self.walk(at, rest, false, followed),
            _ => {}
        }
        let (_, module) = self.modules.get(at)?;
        let child = [at, std::slice::from_ref(first)].concat();
        let has_child = self.modules.contains_key(&child);
        // A module and a function may share a name; what goes on behind the name is the module.
        if has_child && !rest.is_empty() {
            return self.walk(&child, rest, false, followed);
        }
        if module.names.contains(first) {
            return Some(Place::Item(at.to_vec()));
        }
        for import in &module.imports {
            let rest = match &import.name {
                Some(name) if name == first => rest,
                Some(_) => continue,
                None => path,
            };
            if followed.iter().any(|&other| std::ptr::eq(other, import)) {
                continue;
            }
            followed.push(import);
            let found = self.walk(at, &[&import.what.path, rest].concat(), true, followed);
            followed.pop();
            if found.is_some() {
                return found;
            }
        }
        if has_child {
            return Some(Place::Module(child));
        }
        let other_crate = std::slice::from_ref(first);
        if is_start && self.modules.contains_key(other_crate) {
            self.walk(other_crate, rest, false, followed)
        } else {
            None
        }
    }
}
