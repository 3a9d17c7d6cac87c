#!/bin/sh
# Makes sure that what llama.cpp's build needs is there: a C++ compiler, cmake and libclang.
# Installs it with apt where it may; elsewhere it prints the command and stops.
set -eu

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    for library in /usr/lib/llvm*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib64/llvm*/lib/libclang*.so* /usr/lib/libclang*.so* \
        /Library/Developer/CommandLineTools/usr/lib/libclang.dylib \
        /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang.dylib \
        /opt/homebrew/opt/llvm/lib/libclang.dylib /usr/local/opt/llvm/lib/libclang.dylib; do
        case $library in *libclang-cpp*) continue ;; esac
        [ -e "$library" ] && return 0
    done
    return 1
}

missing=""
command -v c++ >/dev/null 2>&1 || missing="$missing c++"
command -v cmake >/dev/null 2>&1 || missing="$missing cmake"
has_libclang || missing="$missing libclang"

if ! command -v cargo >/dev/null 2>&1; then
    echo "error: cargo is not on the PATH" >&2
    echo "hint: install Rust with rustup (https://rustup.rs), then open a new shell" >&2
    exit 1
fi
[ -z "$missing" ] && exit 0

packages="g++ cmake libclang-dev"
if command -v apt-get >/dev/null 2>&1; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="no"; fi
    fi
    if [ "$as_root" != "no" ]; then
        echo "installing$missing ($packages)" >&2
        $as_root apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
        exit 0
    fi
fi

cat >&2 <<TEXT
error: the build needs$missing
hint: install them, then run make again:
  Debian, Ubuntu   sudo apt-get install $packages
  Fedora           sudo dnf install gcc-c++ cmake clang-devel
  Arch             sudo pacman -S gcc cmake clang
  macOS            xcode-select --install; brew install cmake llvm
TEXT
exit 1
