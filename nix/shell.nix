# The development shell of a workspace, for `nix develop`: the workspace's compiler comes first in
# PATH. The shell itself builds nothing.
#
# Nix requires a builder with the name `bash`. The image program plays this role and writes the
# variables (crates/image/src/environment.rs), because Debian's bash has no loader in Nix's sandbox.
{
  system,
  # A directory of links: ./foundation.nix.
  links,
  imageProgram,
}:
{
  # A tree whose usr/bin has the compiler.
  toolchain,
}:
let
  builder = links {
    name = "shell-builder";
    entries."usr/bin/bash" = imageProgram;
  };
in
derivation {
  name = "shell";
  inherit system;
  builder = "${builder}/usr/bin/bash";
  # Nix reads the variable.
  outputs = [ "out" ];
  PATH = "${toolchain}/usr/bin";
}
