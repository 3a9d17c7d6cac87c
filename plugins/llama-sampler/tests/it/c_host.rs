//! A C program with a llama.cpp of its own, a shared library built from the sources that the bindings bring. That build
//! takes minutes, so these are run by `make test-plugin`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use proxytune::llama::kernels::Isa;

const N_PREDICT: &str = "48";
const ALPHA: &str = "0.75";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn demo(name: &str) -> String {
    folder().join("../../models/demo").join(name).to_str().expect("UTF-8").to_owned()
}

/// The sources of llama.cpp that the bindings are built from.
fn llama_cpp() -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(folder().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let sys = packages.iter().find(|package| package["name"] == "llama-cpp-sys-2").expect("the bindings");
    Path::new(sys["manifest_path"].as_str().expect("a path")).with_file_name("llama.cpp")
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// The built example; `PROXYTUNE_C_HOST` names one that is there already, `PROXYTUNE_PLUGIN` another plugin.
fn steer() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(there) = std::env::var_os("PROXYTUNE_C_HOST") {
            return there.into();
        }
        let build = folder().join("../../target/c-host");
        let from = format!("-DLLAMA_CPP_DIR={}", llama_cpp().display());
        let mut configure = Command::new("cmake");
        // What .cargo/config.toml says of the compiler holds for this llama.cpp too.
        for name in ["CFLAGS", "CXXFLAGS"] {
            if let Some(flags) = std::env::var_os(format!("{name}_x86_64_unknown_linux_gnu")) {
                configure.env(name, flags);
            }
        }
        succeed(configure.arg("-S").arg(folder().join("examples")).arg("-B").arg(&build).arg(from));
        succeed(Command::new("cmake").arg("--build").arg(&build).args(["--target", "steer", "--parallel"]));
        build.join("steer")
    })
}

fn plugin() -> PathBuf {
    std::env::var_os("PROXYTUNE_PLUGIN").map_or_else(crate::plugin::path, PathBuf::from)
}

fn host(expert: &str, antiexpert: &str, args: &[&str]) -> Command {
    let mut command = Command::new(steer());
    command.args(["-m", &demo("base.gguf"), "-e", expert, "-a", antiexpert, "-n", N_PREDICT, "--alpha", ALPHA]);
    command.arg("-p").arg(plugin()).args(args);
    command
}

fn steered(args: &[&str]) -> String {
    succeed(&mut host(&demo("expert.gguf"), &demo("antiexpert.gguf"), args))
}

/// What `proxytune generate` writes.
fn expected() -> &'static str {
    static EXPECTED: OnceLock<String> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let program = crate::plugin::path();
        let program = program.ancestors().map(|folder| folder.join("proxytune")).find(|path| path.is_file());
        let mut command = Command::new(program.expect("make test-plugin builds it"));
        command.args(["generate", "--json", "-p", "Once upon a time there was a little girl"]);
        command.args(["-m", &demo("base.gguf"), "-me", &demo("expert.gguf"), "-ma", &demo("antiexpert.gguf")]);
        command.args(["-n", N_PREDICT, "--alpha", ALPHA, "--temp", "0", "--min-p", "0", "--repeat-penalty", "1"]);
        let answer: serde_json::Value = serde_json::from_str(&succeed(&mut command)).expect("JSON");
        answer["text"].as_str().expect("a text").to_owned()
    })
}

#[test]
#[ignore = "builds llama.cpp: make test-plugin"]
fn its_text_is_that_of_the_program() {
    assert!(expected().len() > 50);
    assert_eq!(steered(&[]), expected());
    let unsteered = succeed(&mut host(&demo("expert.gguf"), &demo("antiexpert.gguf"), &["--alpha", "0"]));
    assert_ne!(unsteered, expected());
}

#[test]
#[ignore = "builds llama.cpp: make test-plugin"]
fn with_samplers_around_it_a_clone_and_a_reset() {
    for args in [&["--chain"][..], &["--clone"], &["--reset"], &["--chain", "--clone", "--reset", "-t", "2"]] {
        assert_eq!(steered(args), expected(), "{args:?}");
    }
}

#[test]
#[ignore = "builds llama.cpp: make test-plugin"]
fn a_thousand_stages_come_and_go() {
    assert_eq!(steered(&["--cycles", "1000"]), expected());
}

/// The kernels as a backend that the host's ggml loads, beside the plugin, which brings them along. That they compute within
/// a ggml is for their own tests.
#[test]
#[ignore = "builds llama.cpp: make test-plugin"]
fn the_hosts_llama_cpp_loads_the_kernels() {
    let module = crate::plugin::path().with_file_name(libloading::library_filename("ggml_proxytune"));
    assert!(module.is_file(), "make test-plugin builds it");
    let mut command = host(&demo("expert.gguf"), &demo("antiexpert.gguf"), &[]);
    let output = run(command.env("GGML_BACKEND_PATH", &module));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.starts_with("proxytune: "), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected());
    assert_eq!(said.contains("are in use"), Isa::best().is_some(), "{said}");
}

#[track_caller]
fn assert_refused(expert: &str, antiexpert: &str, reason: &str) {
    let output = run(&mut host(expert, antiexpert, &[]));
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains(reason), "{words}");
}

#[test]
#[ignore = "builds llama.cpp: make test-plugin"]
fn what_cannot_work_is_refused_with_the_reason() {
    let files = crate::host::Files::new();
    let other = files.path("expert").to_str().expect("UTF-8").to_owned();
    assert_refused(&other, &demo("antiexpert.gguf"), "has another tokenizer than the base");
    assert_refused(&demo("missing.gguf"), &demo("antiexpert.gguf"), "missing.gguf");
    assert_refused(&demo("expert.gguf"), &demo("missing.gguf"), "missing.gguf");
    assert_refused("base", &demo("antiexpert.gguf"), "the expert is the base, which the host runs");
}
