# The plan: what Cargo would do for a request, recorded inside a derivation (crates/plan). Without
# arguments, it lists the packages and targets of the workspace. For the subcommand `metadata`, it
# is Cargo's description of the workspace and its dependencies.
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
    # The planner answers the C library's question about huge pages there.
    "/sys"
  ];
  attributes = {
    inherit (tree) manifests;
    namesPath = tree.names;
    request = builtins.toJSON {
      version = 2;
      inherit args;
      env = environment;
      # The packages and targets of the workspace do not depend on the packages that the lock pins.
      packages = if args == [ ] then [ ] else tree.lock.outside;
    };
    passAsFile = [ "request" ];
  };
}
