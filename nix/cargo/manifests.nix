# What of a workspace decides the plan by its content: every manifest, the lock, Cargo's configuration.
# Directories and symbolic links are there too, for Cargo follows them.
{
  # The workspace: a path.
  root,
  # What is no part of it: ./names.nix.
  isSkipped,
}:
let
  relative = import ./relative.nix { directory = root; };
  isWanted =
    full:
    let
      name = builtins.baseNameOf full;
    in
    name == "Cargo.toml"
    || name == "Cargo.lock"
    || builtins.baseNameOf (builtins.dirOf full) == ".cargo" && builtins.match "config|.*\\.toml" name != null;
in
builtins.path {
  name = "manifests";
  path = root;
  filter = full: kind: if kind == "regular" then isWanted full else !(isSkipped (relative full));
}
