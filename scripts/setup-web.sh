#!/bin/sh
# Makes sure that what drives the page in a browser is there: Node.js with npm, and Chromium.
# Installs it with apt where it may; elsewhere it prints the command and stops.
set -eu

missing=""
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
if [ -z "${CHROMIUM:-}" ]; then
    has_chromium=""
    for name in chromium chromium-browser google-chrome-stable google-chrome; do
        command -v "$name" >/dev/null 2>&1 && has_chromium=yes
    done
    [ -n "$has_chromium" ] || missing="$missing chromium"
fi
[ -z "$missing" ] && exit 0

# shellcheck source=scripts/apt.sh
. "$(dirname "$0")/apt.sh"
# shellcheck disable=SC2086
install_with_apt "$missing" $missing && exit 0

cat >&2 <<TEXT
error: the tests of the page need$missing
hint: install them, then run make again:
  Debian           sudo apt-get install$missing
  Fedora           sudo dnf install nodejs npm chromium
  Arch             sudo pacman -S nodejs npm chromium
  a Chromium elsewhere: CHROMIUM=/path/to/it make test-web
TEXT
exit 1
