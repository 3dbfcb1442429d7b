# A workspace on the disk, as Cargo sees it. Callers that need the same workspace again pass this
# value on, so that it is read once.
#
# Gives: { root, kept, manifests, names, lock }
#   root       the workspace: a path
#   kept       the place where it may keep its plan: ../imported.nix
#   manifests  ./manifests.nix
#   names      a file with the paths of all its files, one a line
#   lock       ./lock.nix
{
  # The workspace: a path.
  root,
}:
let
  names = import ./names.nix { inherit root; };
in
{
  inherit root;
  kept = root + "/plan.lock";
  manifests = import ./manifests.nix {
    inherit root;
    inherit (names) isSkipped;
  };
  # This is not JSON, because a name need not be UTF-8.
  names = builtins.toFile "names" (builtins.concatStringsSep "\n" names.files);
  lock = import ./lock.nix { lock = root + "/Cargo.lock"; };
}
