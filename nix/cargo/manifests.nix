# The files of a workspace whose content decides the plan: every manifest, the lock, Cargo's
# configuration. Includes directories and symbolic links, because Cargo follows them.
{
  # The workspace: a path.
  root,
  # Whether to skip a path: ./names.nix.
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
    || builtins.baseNameOf (builtins.dirOf full) == ".cargo"
      && builtins.match "config|.*\\.toml" name != null;
in
builtins.path {
  name = "manifests";
  path = root;
  filter = full: kind: if kind == "regular" then isWanted full else !(isSkipped (relative full));
}
