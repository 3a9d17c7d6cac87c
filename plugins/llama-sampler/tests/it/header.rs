//! `include/proxytune.h` is what cbindgen makes of the sources.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("a configuration");
    let bindings = cbindgen::Builder::new().with_crate(folder).with_config(config).generate().expect("bindings");
    let mut text = Vec::new();
    bindings.write(&mut text);
    let (text, path) = (String::from_utf8(text).expect("UTF-8"), folder.join("include/proxytune.h"));
    if std::env::var_os("PROXYTUNE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "include/proxytune.h is not up to date: make header");
}
