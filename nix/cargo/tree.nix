# A workspace as it says of itself: its manifests and its lock, each parsed once. Parsing is what
# evaluation spends most on, so who needs the same workspace again hands this on.
#
# Gives: { root, manifest, packages, members, lock }
#   root      the workspace: a path
#   manifest  of the root, parsed
#   packages  directory relative to the root ("" for the root itself) to parsed manifest
#   members   the directories of those that Cargo counts as members: `--workspace` means them
#   lock      ./lock.nix
{
  # The workspace: a path.
  root,
}:
{
  inherit root;
  inherit (import ./members.nix { inherit root; }) manifest packages members;
  lock = import ./lock.nix { lock = root + "/Cargo.lock"; };
}
