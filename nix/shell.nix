# The development shell of a workspace, for `nix develop`: the compiler that it is built with comes
# first in PATH. Nothing is built with it.
#
# Nix wants a builder with the name `bash`, and the image program is one that writes the variables
# (crates/image/src/environment.rs): Debian's bash has no loader in Nix's sandbox.
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
