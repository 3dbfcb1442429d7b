# Runs a command as UID 65532 without capabilities, where no user namespace can be made.
#   without-namespaces.sh DIRECTORY COMMAND…
set -eu
at=$1
shift
mount --bind "$at/store" /nix/store
mount --bind "$at/var" /nix/var
exec setpriv --reuid 65532 --regid 65532 --clear-groups \
    unshare --user --map-user=65532 --map-group=65532 --keep-caps \
    sh -c 'echo 0 >/proc/sys/user/max_user_namespaces || exit 99
        exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs \
            "$@"' sh "$@"
