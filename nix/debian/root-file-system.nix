# Debian packages unpacked into one tree. Maintainer scripts do not run: their effects are declared
# here.
{ system, seed }:
{
  name,
  # .deb files.
  packages,
  # Maps paths to targets: symbolic links that the alternatives system would have made.
  symlinks ? { },
  # Maps paths to contents: files that maintainer scripts would have written.
  texts ? { },
  # Prefixes of paths that are left out.
  exclude ? [ ],
}:
let
  pairs =
    option: set:
    builtins.concatMap (path: [
      option
      "${path}=${set.${path}}"
    ]) (builtins.attrNames set);
in
derivation {
  inherit name system;
  builder = seed;
  args = [
    "unpack"
    "--into"
    (placeholder "out")
  ]
  ++ builtins.concatMap (prefix: [
    "--exclude"
    prefix
  ]) exclude
  ++ pairs "--symlink" symlinks
  ++ pairs "--text" texts
  ++ packages;
}
