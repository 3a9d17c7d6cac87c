# For the scripts beside it: what Debian's packages have is installed where that may be done without a question.

# install_with_apt WHAT PACKAGE…: installs packages, and says what for. Fails where there is no apt, or no right to use it.
install_with_apt() {
    what=$1
    shift
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || return 1
        as_root="sudo"
    fi
    echo "installing$what" >&2
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
