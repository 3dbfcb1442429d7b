# Builds derivations in the store that place.sh shows, and prints their outputs' hashes.
#   build.sh DIRECTORY
set -eu
at=$1
if unshare --user true 2>/dev/null; then
    echo "this place has namespaces" >&2
    exit 98
fi
echo "user $(id -u), capabilities $(sed -n 's/^CapEff:\s*//p' /proc/self/status)"
nix-store --load-db <"$at/registration"
xargs nix-store --realise <"$at/derivations" >/dev/null
xargs nix-store --query --hash <"$at/missing"
