# images.toml checked and resolved by the `description` program: a JSON file.
{
  cell,
  # A root file system without files: the program needs none.
  bare,
  # The program `description`: a file.
  descriptionProgram,
}:
{
  # images.toml: a path.
  description,
  # The workspace's targets: a derivation with targets.json.
  targets,
  # Cargo.lock: a path. The crates in it that are known to need Debian packages are found there.
  lock,
  # The names of the crates that have packages in debian.lock, and of those that have libraries in
  # it.
  pinned,
  libraries,
  # The names of the parts that the flake hands over.
  parts,
}:
cell {
  name = "description";
  roots = [ bare ];
  program = descriptionProgram;
  args = [
    "normalize"
    # By content, so that its path does not matter.
    (builtins.path {
      name = "images.toml";
      path = description;
    })
    "--name"
    "images.toml"
    "--targets"
    "${targets}/targets.json"
    "--lock"
    (builtins.path {
      name = "Cargo.lock";
      path = lock;
    })
    "--pinned"
    (builtins.concatStringsSep " " pinned)
    "--libraries"
    (builtins.concatStringsSep " " libraries)
    "--parts"
    (builtins.concatStringsSep " " parts)
    "--out"
    (placeholder "out")
  ];
}
