//! One module's text: the names it defines, what it imports, and the paths that its code writes.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItem, Item, Macro, Meta, UseTree, Visibility};

#[derive(Debug, Default)]
pub struct Module {
    pub names: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
    pub children: Vec<Child>,
}

/// A path in code, or in the arguments of a macro or an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
}

/// One leaf of a `use` tree.
#[derive(Debug)]
pub struct Import {
    pub what: Mention,
    /// `None` for `*`.
    pub name: Option<String>,
    pub is_public: bool,
}

#[derive(Debug)]
pub struct Child {
    pub name: String,
    /// `None` where the text is in a file of its own.
    pub inline: Option<Module>,
}

impl Module {
    pub fn parse(text: &str) -> syn::Result<Self> {
        let mut module = Self::default();
        module.visit_file(&syn::parse_file(text)?);
        Ok(module)
    }

    fn import<'a>(&mut self, tree: &'a UseTree, mut path: Vec<&'a Ident>, is_public: bool) {
        let (last, name) = match tree {
            UseTree::Path(tree) => {
                path.push(&tree.ident);
                return self.import(&tree.tree, path, is_public);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, path.clone(), is_public));
            }
            UseTree::Glob(_) => (None, None),
            UseTree::Name(name) if name.ident == "self" => (None, path.last().map(ToString::to_string)),
            UseTree::Name(name) => (Some(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(tree) => (Some(&tree.ident), Some(tree.rename.to_string())),
        };
        path.extend(last);
        self.imports.extend(mention(path).map(|what| Import { what, name, is_public }));
    }

    /// Macros are not expanded: what looks like a path in their arguments counts as one.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let is =
            |i: usize, mark: char| matches!(tokens.get(i), Some(TokenTree::Punct(punct)) if punct.as_char() == mark);
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            i += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let is_behind = |n: usize| i > n && is(i - n - 1, '.');
                    // `value.name`, and not `0..name`.
                    let is_member = is_behind(1) && !is_behind(2);
                    let mut path = vec![first];
                    while let (true, true, Some(TokenTree::Ident(next))) =
                        (is(i, ':'), is(i + 1, ':'), tokens.get(i + 2))
                    {
                        path.push(next);
                        i += 3;
                    }
                    if !is_member {
                        self.mentions.extend(mention(path));
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            Item::Static(item) => (&item.attrs, Some(&item.ident)),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Union(item) => (&item.attrs, Some(&item.ident)),
            Item::Impl(item) => (&item.attrs, None),
            Item::Mod(item) => (&item.attrs, None),
            Item::Use(item) => (&item.attrs, None),
            _ => return visit::visit_item(self, item),
        };
        if attributes.iter().any(is_for_tests) {
            return;
        }
        self.names.extend(name.map(ToString::to_string));
        match item {
            Item::Use(item) => self.import(&item.tree, Vec::new(), !matches!(item.vis, Visibility::Inherited)),
            Item::Mod(item) => {
                let inline = item.content.as_ref().map(|(_, items)| {
                    let mut module = Self::default();
                    for item in items {
                        module.visit_item(item);
                    }
                    module
                });
                self.children.push(Child { name: item.ident.to_string(), inline });
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let is_for_tests = matches!(item, ImplItem::Fn(item) if item.attrs.iter().any(is_for_tests));
        if !is_for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.mentions.extend(mention(path.segments.iter().map(|segment| &segment.ident).collect()));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }

    /// `pub(in path)` takes nothing from there.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn mention(path: Vec<&Ident>) -> Option<Mention> {
    let line = path.first()?.span().start().line;
    Some(Mention { path: path.into_iter().map(ToString::to_string).collect(), line })
}

/// `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let condition = list.tokens.to_string().replace(' ', "");
    attribute.path().is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
}
