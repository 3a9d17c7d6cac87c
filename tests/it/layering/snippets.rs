//! The reader on texts whose arrows anybody can count.

use super::circles::circles;
use super::house::House;
use super::source::Module;

fn house(files: &[(&str, &str)]) -> House {
    let open = |wanted: &str| files.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned());
    let mut house = House::default();
    house.read("demo", files[0].0, &open);
    house
}

/// Arrows as `from → to`, each once, without `.rs`.
fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let mut arrows: Vec<_> = house(files)
        .arrows()
        .iter()
        .map(|arrow| format!("{} → {}", arrow.from.file, arrow.to.file).replace(".rs", ""))
        .collect();
    arrows.sort();
    arrows.dedup();
    arrows
}

#[test]
fn use_trees_become_paths() {
    let text = "use crate::{gguf, llama::{self, Token as Id}};\n\npub use super::x::*;";
    let module = Module::parse(text).unwrap();
    let imports: Vec<_> = module
        .imports
        .iter()
        .map(|import| {
            (import.what.path.join("::"), import.name.as_deref().unwrap_or("*"), import.what.line, import.is_public)
        })
        .collect();
    let expected = [
        ("crate::gguf", "gguf", 1, false),
        ("crate::llama", "llama", 1, false),
        ("crate::llama::Token", "Id", 1, false),
        ("super::x", "*", 3, true),
    ];
    assert_eq!(imports, expected.map(|(path, name, line, is_public)| (path.to_owned(), name, line, is_public)));
}

#[test]
fn paths_in_code_macros_and_attributes_are_read_and_texts_are_not() {
    let text = r#"
        // crate::comment::A
        /// crate::doc::A
        #[arg(default_value_t = super::attribute::A)]
        struct B(crate::field::A<crate::generic::A>);
        fn f() { g("crate::text::A", x.crate_); h!("{}", r.member, k(0..crate::in_macro::A::new())); }
        #[cfg(test)] fn t() { crate::test::A }
        impl B { #[cfg(all(test, unix))] fn t() { crate::test::A } }
    "#;
    let module = Module::parse(text).unwrap();
    let paths: Vec<_> = module.mentions.iter().map(|mention| mention.path.join("::")).collect();
    let found: Vec<_> = paths.iter().filter(|path| path.contains("::")).collect();
    assert_eq!(found, ["super::attribute::A", "crate::field::A", "crate::generic::A", "crate::in_macro::A::new"]);
    assert!(!paths.iter().any(|path| path == "member"), "{paths:?}");
}

#[test]
fn declaring_and_handing_on_are_no_arrows() {
    let files = [
        ("lib.rs", "mod a; pub mod b; pub use b::B; pub(crate) use self::a::*;"),
        ("a.rs", ""),
        ("b.rs", "pub struct B;"),
    ];
    assert_eq!(arrows(&files), [""; 0]);
}

#[test]
fn an_arrow_leads_to_the_file_that_defines_the_name() {
    let files = [
        ("lib.rs", "mod room; mod user;"),
        (
            "room/mod.rs",
            "mod a; mod b; mod c; pub use a::*; pub use b::B as Renamed; pub struct Own; type T = Renamed;",
        ),
        ("room/a.rs", "pub struct A; pub struct Far;"),
        ("room/b.rs", "use super::A; pub struct B;"),
        ("room/c.rs", "use super::Own; mod d;"),
        ("room/c/d.rs", "use super::super::*; use super::super::super::user as front; fn f(far: Far) { front::g() }"),
        ("user.rs", "use crate::room; pub fn g() { let x = room::Renamed::new(); }"),
    ];
    let expected = [
        "room/b → room/a",
        "room/c → room/mod",
        "room/c/d → room/a",
        "room/c/d → user",
        "room/mod → room/b",
        "user → room/b",
    ];
    assert_eq!(arrows(&files), expected);
}

#[test]
fn names_that_a_macro_makes_belong_to_the_module_they_are_taken_from() {
    let files =
        [("lib.rs", "mod a; mod b;"), ("a.rs", "make!(Made);"), ("b.rs", "use super::a::Made; use other::Made as M;")];
    assert_eq!(arrows(&files), ["b → a"]);
}

#[test]
fn imports_that_lead_in_a_ring_end() {
    let files = [
        ("lib.rs", "mod a; mod b; use a::x; use json::json;"),
        ("a.rs", "pub use super::b::*;"),
        ("b.rs", "pub use super::a::*;"),
    ];
    assert_eq!(house(&files).files().len(), 3);
    arrows(&files);
}

#[test]
fn a_planted_circle_is_found_and_named() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use super::b::B;\npub struct A;"),
        ("b.rs", "\npub struct B(super::c::C);"),
        ("c.rs", "pub struct C; fn f() { h!(crate::a::A) }"),
        ("d.rs", "use super::a::A;\n#[cfg(test)] mod tests { use super::super::b::B; }"),
    ];
    let expected = "a circle of 3 files: a.rs, b.rs, c.rs\n  a.rs:1 names super::b::B of b.rs\n  \
                    b.rs:2 names super::c::C of c.rs\n  c.rs:1 names crate::a::A of a.rs";
    assert_eq!(circles(&house(&files).arrows()), [expected]);
}

#[test]
fn tests_may_close_a_circle() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use super::b::B; pub struct A;"),
        ("b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::a::A; } #[cfg(test)] mod more;"),
    ];
    assert_eq!(circles(&house(&files).arrows()), [""; 0]);
}
