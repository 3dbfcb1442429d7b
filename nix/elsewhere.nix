# The systems without packages of their own.
let
  # The systems that build all packages of a Mac, the preferred one first.
  builders = [
    "x86_64-linux"
    "aarch64-linux"
  ];
  macs = [
    "aarch64-darwin"
    "x86_64-darwin"
  ];
in
{
  # The systems that format with the machine's own tools, unless a flake builds on them.
  systems = macs ++ builders;

  # Adds Macs to a flake's packages, a set of packages by system. There, `nix build .#NAME-image`
  # gives the same image, because Nix lets a Linux builder make it (docs/ci.md).
  add =
    packages:
    let
      found = builtins.filter (system: packages ? ${system}) builders;
    in
    if found == [ ] then
      packages
    else
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = packages.${builtins.head found};
        }) macs
      )
      // packages;
}
