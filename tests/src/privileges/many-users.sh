# Runs a command as the user `nobody` of a machine whose store a daemon of Nix writes.
#   many-users.sh DIRECTORY COMMAND…
# The directory has the daemon's nix.conf in `conf`.
set -eu
at=$1
shift
mount --bind "$at/store" /nix/store
mount --bind "$at/var" /nix/var
chown -R nobody "$at/home" "$at/workspace" "$at/crateyard"
# Build users of their own: Nix ends all processes of a user, and the machine's Nix may build now.
cp /etc/passwd /etc/group "$at/conf"
for number in 1 2 3 4; do
    echo "place$number:x:$((31600 + number)):31600::/var/empty:/bin/false" >>"$at/conf/passwd"
done
echo "place:x:31600:place1,place2,place3,place4" >>"$at/conf/group"
mount --bind "$at/conf/passwd" /etc/passwd
mount --bind "$at/conf/group" /etc/group
export NIX_CONF_DIR="$at/conf"
nix-store --load-db <"$at/registration"
nix-daemon >"$at/daemon.log" 2>&1 &
for _ in $(seq 100); do
    [ -S /nix/var/nix/daemon-socket/socket ] && break
    sleep 0.1
done
unset NIX_REMOTE
cd "$at/workspace"
as() { setpriv --reuid "$1" --regid nogroup --clear-groups -- env USER="$1" "${@:2}"; }
if as daemon nix store ping; then
    echo "the daemon serves users who are not allowed" >&2
    exit 1
fi
as nobody "$@"
xargs nix-store --query --hash <"$at/missing" >"$at/hashes"
