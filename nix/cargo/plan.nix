# The plan: what Cargo would do for a request, recorded inside a derivation (crates/plan).
# Without arguments: which packages and targets the workspace has. For the subcommand `metadata`:
# what Cargo says of the workspace and all that it depends on.
{
  cell,
  # The program `plan`: a file.
  planner,
}:
{
  # The workspace: ./tree.nix.
  tree,
  # The toolchain: root file systems, of which earlier ones win.
  toolchain,
  # Cargo's subcommand and arguments.
  args ? [ ],
  # Variables for Cargo.
  environment ? { },
}:
cell {
  name =
    if args == [ ] then
      "targets"
    else if args == [ "metadata" ] then
      "metadata"
    else
      "plan";
  roots = toolchain;
  program = planner;
  writable = [
    "/workspace"
    "/cargo"
  ];
  attributes = {
    inherit (tree) manifests;
    namesPath = tree.names;
    request = builtins.toJSON {
      version = 2;
      inherit args;
      env = environment;
      # What the workspace has does not depend on what the lock pins.
      packages = if args == [ ] then [ ] else tree.lock.outside;
    };
    passAsFile = [ "request" ];
  };
}
