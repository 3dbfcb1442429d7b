# Adds the systems that build nothing by themselves to those of a flake's packages. On a Mac or an
# arm64 machine, `nix build .#NAME-image` gives the same image: Nix lets a builder make it
# (docs/ci.md).
let
  # The system that all of them are built on.
  builder = "x86_64-linux";
  elsewhere = [
    "aarch64-darwin"
    "aarch64-linux"
    "x86_64-darwin"
  ];
in
# System to packages.
packages:
if packages ? ${builder} then
  builtins.listToAttrs (
    map (name: {
      inherit name;
      value = packages.${builder};
    }) elsewhere
  )
  // packages
else
  packages
