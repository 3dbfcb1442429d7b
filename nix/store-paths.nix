# The store paths of a workspace's images, programs and checks, as plain strings. `assemble
# affected` compares those of two revisions (crates/deploy: `StorePaths`). Listing them builds none
# of them.
{
  # Maps names to derivations.
  images,
  # ./image/programs.nix.
  programs,
  # Maps each package to its kinds of checks, and these to derivations.
  checks,
}:
let
  pathOf = derivation: builtins.unsafeDiscardStringContext derivation.outPath;
  each = function: builtins.mapAttrs (_: function);
in
{
  # The version of this format.
  version = 1;
  images = each pathOf images;
  binaries = each (each (each pathOf)) programs;
  checks = builtins.listToAttrs (
    builtins.concatMap (
      package:
      map (kind: {
        name = "${package}-${kind}";
        value = pathOf checks.${package}.${kind};
      }) (builtins.attrNames checks.${package})
    ) (builtins.attrNames checks)
  );
}
