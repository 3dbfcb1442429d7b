# What a workspace's images, programs and checks will lie at, as plain strings: `assemble affected`
# compares those of two revisions (crates/deploy: `StorePaths`). Nothing of it is built to know it.
{
  # Name to derivation.
  images,
  # ./image/programs.nix.
  programs,
  # Package to kind of check to derivation.
  checks,
}:
let
  pathOf = derivation: builtins.unsafeDiscardStringContext derivation.outPath;
  each = function: builtins.mapAttrs (_: function);
in
{
  # Of this form.
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
