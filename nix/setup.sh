#!/bin/sh
# Installs what is missing to build images here: Nix, its build users, a Rust toolchain.
# Edits nothing that is there already. Silent where nothing is missing.
set -eu

say() { echo "setup: $*" >&2; }

install() {
    if [ "$(id -u)" -ne 0 ]; then
        say "'$1' is missing and only root can install it. Run: apt-get install $1"
        exit 69
    fi
    if ! command -v apt-get >/dev/null; then
        say "'$1' is missing and this is not Debian. Install it with this system's package manager."
        exit 69
    fi
    say "installing $1"
    apt_install "$1" || { apt-get update --quiet --quiet && apt_install "$1"; }
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends \
        "$1" >/dev/null
}

# The users that builds run as, wherever root uses the store without a daemon.
build_users() {
    getent group nixbld >/dev/null || groupadd --system nixbld
    [ -z "$(getent group nixbld | cut -d: -f4)" ] || return 0
    say "making the build users nixbld1 to nixbld10"
    for n in 1 2 3 4 5 6 7 8 9 10; do
        useradd --system --gid nixbld --groups nixbld --no-create-home --home-dir /var/empty \
            --shell /usr/sbin/nologin --comment "Nix build user $n" "nixbld$n"
    done
}

export PATH="$PATH:/nix/var/nix/profiles/default/bin:/root/.nix-profile/bin"
command -v git >/dev/null || install git
command -v cargo >/dev/null || { install cargo-web; install gcc; }
command -v cc >/dev/null || install gcc
command -v nix >/dev/null || install nix-bin
if [ "$(id -u)" -eq 0 ] && [ ! -S /nix/var/nix/daemon-socket/socket ]; then
    build_users
fi
