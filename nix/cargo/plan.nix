# The plan: what Cargo would do for a request, recorded inside a derivation (crates/plan).
# Without arguments: which packages and targets the workspace has. For the subcommand `metadata`: what Cargo says of
# the workspace and all that it depends on.
{ cell, planner }:
{
  # The workspace: a path, its parsed manifests by directory, and its lock (./lock.nix).
  root,
  packages,
  lock,
  # The toolchain: root file systems, of which earlier ones win.
  toolchain,
  # Cargo's subcommand and arguments.
  args ? [ ],
  # Variables for Cargo.
  environment ? { },
}:
let
  directories = builtins.attrNames packages;
  stubs = builtins.concatMap (
    directory:
    import ./targets.nix {
      inherit root directory;
      manifest = packages.${directory};
    }
  ) directories;
in
cell {
  name =
    if args == [ ] then
      "targets"
    else if args == [ "metadata" ] then
      "metadata"
    else
      "plan";
  roots = toolchain;
  program = "${planner}/bin/plan";
  writable = [
    "/workspace"
    "/cargo"
  ];
  attributes = {
    manifests = import ./manifests.nix { inherit root directories; };
    request = builtins.toJSON {
      version = 1;
      inherit args stubs;
      env = environment;
      # What the workspace has does not depend on what the lock pins.
      packages = if args == [ ] then [ ] else lock.outside;
    };
    passAsFile = [ "request" ];
  };
}
