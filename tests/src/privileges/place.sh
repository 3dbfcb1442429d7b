# Shows a command a Nix store of its own: the machine's, without the outputs that it is to build.
#   place.sh DIRECTORY USER COMMAND…
# Runs in a mount namespace. The file `missing` in the directory names the outputs, and
# `registration` describes all other paths. What is built goes to the directory.
set -eu
at=$1 user=$2
shift 2
mkdir "$at/upper" "$at/work" "$at/store" "$at/var" "$at/home"
layers="lowerdir=/nix/store,upperdir=$at/upper,workdir=$at/work"
mount -t overlay overlay -o "$layers" "$at/store" || {
    echo "no overlayfs above the store" >&2
    exit 99
}
(cd "$at/store" && sed 's#.*/##' "$at/missing" | xargs rm -rf)
chown "$user:$user" "$at/store" "$at/home"
chmod 755 "$at/store"
mkdir "$at/var/nix"
chown -R "$user:$user" "$at/var"
export HOME="$at/home" TMPDIR="$at/home" USER=nonroot NIX_REMOTE=local
exec "$@"
