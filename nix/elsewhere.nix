# Adds to a flake's packages the systems that build nothing by themselves. On a Mac or an arm64
# machine, `nix build .#NAME-image` gives the same image, because Nix lets a builder make it
# (docs/ci.md).
let
  # The system that builds all of them.
  builder = "x86_64-linux";
  elsewhere = [
    "aarch64-darwin"
    "aarch64-linux"
    "x86_64-darwin"
  ];
in
# Maps each system to its packages.
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
