# Container engines for the time of the tests. Sourced by tests/run.
#   start_engine         sets DOCKER_HOST, and ENGINE_NETWORK to the network namespace that a registry must be in for the engine
#                        to reach it; fails, and says why, where none can run
#   start_fresh_engine   sets FRESH_ENGINE to one more, which has built nothing
#   stop_engines         ends what was started

# The suite whose engine and buildx have what the Docker way needs: named contexts, `--check`, OCI output.
ENGINE_SUITE=forky
engine_directories=()
engine_processes=()

# An engine that runs already is somebody's: it is used as it is, and left as it was.
start_engine() {
    docker info >/dev/null 2>&1 && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "tests: no engine: none answers, and only root can start one" >&2
        return 1
    fi
    install_engine && run_engine || return 1
    export DOCKER_HOST=$engine_host ENGINE_NETWORK=/proc/${engine_processes[-1]}/ns/net
}

# What a test is the first to use, and the only one.
start_fresh_engine() {
    [ "$(id -u)" -eq 0 ] && install_engine && run_engine || return 1
    export FRESH_ENGINE=$engine_host
}

has_engine() {
    command -v dockerd >/dev/null && docker buildx build --help 2>/dev/null | grep -q -- --check
}

# Debian 12 has an engine, but not one that can do this. The newer suite is pinned so low that nothing else comes from it.
install_engine() {
    has_engine && return 0
    if ! command -v apt-get >/dev/null; then
        echo "tests: no engine: dockerd is missing, or its buildx older than 0.15, and this is no Debian" >&2
        return 1
    fi
    echo "tests: installing an engine from $ENGINE_SUITE" >&2
    local mirror packages=() package
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep -m 1 '/debian/$')
    for package in docker.io docker-cli docker-buildx containerd tini-static; do
        packages+=("$package/$ENGINE_SUITE")
    done
    # A mirror that stands still has an index whose date is past.
    cat >/etc/apt/sources.list.d/crateyard-engine.sources <<SOURCES
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian/}
Suites: $ENGINE_SUITE
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    printf 'Package: *\nPin: release n=%s\nPin-Priority: -1\n' "$ENGINE_SUITE" >/etc/apt/preferences.d/crateyard-engine
    # That it is installed must not start it: the tests have one of their own.
    local policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && policy= || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; }
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${packages[@]}" iptables iproute2 ca-certificates; } >/dev/null 2>&1
    [ -z "$policy" ] || rm -f "$policy"
    has_engine && return 0
    echo "tests: no engine: could not install ${packages[*]}" >&2
    return 1
}

# Everything of it lies in one directory and lives in namespaces of its own: processes, mounts, network. So it meets no other
# engine, bridge or firewall, and ends as a whole, even where the tests are killed. Sets engine_host.
run_engine() {
    local at
    at=$(mktemp -d)
    engine_host=unix://$at/socket
    echo '{"features": {"containerd-snapshotter": true}}' >"$at/daemon.json"
    setpriv --pdeathsig KILL unshare --fork --kill-child --pid --mount-proc --net --mount --propagation slave \
        sh -c 'mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && ip link set lo up && exec "$@"' sh \
        dockerd --config-file "$at/daemon.json" --data-root "$at/data" --exec-root "$at/exec" --pidfile "$at/pid" \
        --host "unix://$at/socket" >"$at/log" 2>&1 &
    local process=$! attempt
    engine_directories+=("$at")
    engine_processes+=("$process")
    for attempt in $(seq 150); do
        DOCKER_HOST=$engine_host docker info >/dev/null 2>&1 && return 0
        kill -0 "$process" 2>/dev/null || break
        sleep 0.2
    done
    echo "tests: no engine: dockerd does not start here: $(grep -v level=info "$at/log" | tail -n 1)" >&2
    return 1
}

stop_engines() {
    [ ${#engine_directories[@]} -gt 0 ] || return 0
    kill -KILL "${engine_processes[@]}" 2>/dev/null
    wait "${engine_processes[@]}" 2>/dev/null
    # The namespaces' mounts are gone a moment after the last process.
    rm -rf --one-file-system "${engine_directories[@]}" 2>/dev/null \
        || { sleep 1; rm -rf --one-file-system "${engine_directories[@]}"; }
    engine_directories=()
    engine_processes=()
}
