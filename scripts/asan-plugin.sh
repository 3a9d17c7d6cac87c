#!/bin/sh
# Runs the plugin in the C host under AddressSanitizer and its leak check: the host, its libllama, the plugin's Rust and
# the plugin's llama.cpp are all instrumented. Two builds of llama.cpp, some 15 minutes the first time. Needs gcc.
set -eu
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
underscored=$(echo "$target" | tr - _)
sources=$(cargo metadata --format-version 1 | tr ',' '\n' |
    sed -n 's/.*"manifest_path":"\(.*llama-cpp-sys-2-[^"]*\)\/Cargo.toml".*/\1\/llama.cpp/p' | head -n 1)
asan="-fsanitize=address -fno-omit-frame-pointer"
# As in .cargo/config.toml, which is not heard where the environment says something itself.
case $target in
    x86_64-*) amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16" ;;
    *) amx= ;;
esac

CFLAGS=$amx CXXFLAGS=$amx cmake -S plugins/llama-sampler/examples -B target/c-host-asan -DSTEER_ASAN=ON -DLLAMA_CPP_DIR="$sources"
cmake --build target/c-host-asan --target steer --parallel

# RUSTC_BOOTSTRAP: the sanitizer is an unstable option of rustc. `--target` keeps it off build scripts.
env RUSTC_BOOTSTRAP=1 "CFLAGS_$underscored=$asan $amx" "CXXFLAGS_$underscored=$asan $amx" \
    RUSTFLAGS="-C target-cpu=native -Z sanitizer=address -C link-arg=-fsanitize=address" \
    cargo build -p proxytune-sampler --lib --target "$target" --target-dir target/asan

cargo build -p proxytune -p proxytune-ggml-module
PROXYTUNE_C_HOST=$PWD/target/c-host-asan/steer \
    PROXYTUNE_PLUGIN=$PWD/target/asan/$target/debug/libproxytune_sampler.so \
    ASAN_OPTIONS=detect_leaks=1:check_initialization_order=1:strict_string_checks=1 \
    cargo test -p proxytune-sampler --test it -- --ignored c_host --nocapture
