# Debian packages unpacked into one tree. Maintainer scripts do not run: what they would have
# done is declared here.
{ system, seed }:
{
  name,
  # .deb files.
  packages,
  # Path to target: symbolic links that the alternatives system would have made.
  symlinks ? { },
  # Path to content: files that maintainer scripts would have written.
  texts ? { },
  # Prefixes that are left out.
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
