# The systems that build nothing by themselves.
let
  # The system that builds all packages.
  builder = "x86_64-linux";
  systems = [
    "aarch64-darwin"
    "aarch64-linux"
    "x86_64-darwin"
  ];
in
{
  inherit systems;

  # Adds these systems to a flake's packages, a set of packages by system. On a Mac or an arm64
  # machine, `nix build .#NAME-image` gives the same image, because Nix lets a builder make it
  # (docs/ci.md).
  add =
    packages:
    if packages ? ${builder} then
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = packages.${builder};
        }) systems
      )
      // packages
    else
      packages;
}
