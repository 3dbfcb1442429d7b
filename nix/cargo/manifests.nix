# What of a workspace decides the plan: manifests, the lock, Cargo's configuration. Nothing else
# of the workspace reaches the planner, so an edit to a source file does not plan again.
{
  # The workspace: a path.
  root,
  # Directories of its packages.
  directories,
}:
let
  relative = import ./relative.nix { directory = root; };
  manifests = map (dir: if dir == "" then "Cargo.toml" else "${dir}/Cargo.toml") directories;
  files = [
    "Cargo.toml"
    "Cargo.lock"
    ".cargo/config.toml"
    ".cargo/config"
  ]
  ++ manifests;
  wanted = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = true;
    }) (files ++ builtins.concatMap parentsOf files)
  );
  parentsOf =
    path:
    let
      parent = builtins.dirOf path;
    in
    if parent == "." then [ ] else [ parent ] ++ parentsOf parent;
in
builtins.path {
  name = "manifests";
  path = root;
  filter = path: _: wanted ? ${relative path};
}
