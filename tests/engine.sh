# Starts container engines for the tests. Sourced by tests/run.
#   start_engine         sets DOCKER_HOST, and ENGINE_NETWORK to the network namespace in which the
#                        engine reaches a registry; fails, and says why, if no engine can run
#   start_fresh_engine   sets FRESH_ENGINE to another one, which has built nothing
#   stop_engines         ends the engines that were started

# The suite whose engine and buildx the Docker way needs: named contexts, `--check`, OCI output.
ENGINE_SUITE=forky
engine_directories=()
engine_processes=()

# Uses an engine that is already running, and leaves it as it is.
start_engine() {
    docker info >/dev/null 2>&1 && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "tests: no engine: none answers, and only root can start one" >&2
        return 1
    fi
    install_engine && run_engine || return 1
    export DOCKER_HOST=$engine_host ENGINE_NETWORK=/proc/${engine_processes[-1]}/ns/net
}

# Starts an engine that only one test uses.
start_fresh_engine() {
    [ "$(id -u)" -eq 0 ] && install_engine && run_engine || return 1
    export FRESH_ENGINE=$engine_host
}

has_engine() {
    command -v dockerd >/dev/null && docker buildx build --help 2>/dev/null | grep -q -- --check
}

# Debian 12's engine is too old. The newer suite is pinned so low that nothing else comes from it.
install_engine() {
    has_engine && return 0
    if ! command -v apt-get >/dev/null; then
        echo "tests: no engine: dockerd is missing, or its buildx older than 0.15," \
            "and this is no Debian" >&2
        return 1
    fi
    echo "tests: installing an engine from $ENGINE_SUITE" >&2
    local mirror packages=() package
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' \
        | grep -m 1 '/debian/$')
    for package in docker.io docker-cli docker-buildx containerd tini-static; do
        packages+=("$package/$ENGINE_SUITE")
    done
    # The index of a frozen mirror has expired.
    cat >/etc/apt/sources.list.d/crateyard-engine.sources <<SOURCES
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian/}
Suites: $ENGINE_SUITE
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    printf 'Package: *\nPin: release n=%s\nPin-Priority: -1\n' "$ENGINE_SUITE" \
        >/etc/apt/preferences.d/crateyard-engine
    # Installing the engine must not start it, because the tests start their own.
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    packages+=(iptables iproute2 ca-certificates)
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${packages[@]}"; } >/dev/null 2>&1
    [ -z "$policy" ] || rm -f "$policy"
    has_engine && return 0
    echo "tests: no engine: could not install ${packages[*]}" >&2
    return 1
}

# Starts an engine, and sets engine_host. All its files are in one directory, and it has its own
# process, mount and network namespaces. So it affects no other engine, bridge or firewall, and ends
# completely, even if the tests are killed.
run_engine() {
    local at
    at=$(mktemp -d)
    engine_host=unix://$at/socket
    echo '{"features": {"containerd-snapshotter": true}}' >"$at/daemon.json"
    setpriv --pdeathsig KILL \
        unshare --fork --kill-child --pid --mount-proc --net --mount --propagation slave \
        sh -c 'mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd \
            && ip link set lo up && exec "$@"' sh \
        dockerd --config-file "$at/daemon.json" --data-root "$at/data" --exec-root "$at/exec" \
        --pidfile "$at/pid" --host "unix://$at/socket" >"$at/log" 2>&1 &
    local process=$! attempt
    engine_directories+=("$at")
    engine_processes+=("$process")
    for attempt in $(seq 150); do
        DOCKER_HOST=$engine_host docker info >/dev/null 2>&1 && return 0
        kill -0 "$process" 2>/dev/null || break
        sleep 0.2
    done
    local reason
    reason=$(grep -v level=info "$at/log" | tail -n 1)
    echo "tests: no engine: dockerd does not start here: $reason" >&2
    return 1
}

stop_engines() {
    [ ${#engine_directories[@]} -gt 0 ] || return 0
    kill -KILL "${engine_processes[@]}" 2>/dev/null
    wait "${engine_processes[@]}" 2>/dev/null
    # The namespaces' mounts vanish a moment after the last process.
    rm -rf --one-file-system "${engine_directories[@]}" 2>/dev/null \
        || { sleep 1; rm -rf --one-file-system "${engine_directories[@]}"; }
    engine_directories=()
    engine_processes=()
}
