# Adds macOS to the systems of a flake's packages: `nix build .#NAME-image` on a Mac gives the
# Linux image, which Nix lets its Linux builder make (docs/ci.md).
let
  # A Mac has no packages of its own: all are built on this system.
  builder = "x86_64-linux";
in
# System to packages.
packages:
if packages ? ${builder} then
  {
    aarch64-darwin = packages.${builder};
    x86_64-darwin = packages.${builder};
  }
  // packages
else
  packages
