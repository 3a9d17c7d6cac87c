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
# shellcheck source=scripts/apt.sh
. "$(dirname "$0")/apt.sh"
# shellcheck disable=SC2086
install_with_apt "$missing ($packages)" $packages && exit 0

cat >&2 <<TEXT
error: the build needs$missing
hint: install them, then run make again:
  Debian, Ubuntu   sudo apt-get install $packages
  Fedora           sudo dnf install gcc-c++ cmake clang-devel
  Arch             sudo pacman -S gcc cmake clang
  macOS            xcode-select --install; brew install cmake llvm
TEXT
exit 1
