# One .deb of debian.lock. The path in the store depends on name and hash alone: `assemble fetch`
# puts it there through apt, and only where that has not happened Nix downloads it.
{
  # The date of the archive's snapshot that has the file.
  snapshot,
}:
{
  path,
  archive,
  sha256,
  ...
}:
let
  file = builtins.baseNameOf path;
  # The store allows fewer characters in names than Debian does.
  name = builtins.replaceStrings [ "~" "%" ":" ] [ "-" "-" "-" ] file;
in
derivation {
  inherit name;
  system = "builtin";
  builder = "builtin:fetchurl";
  url = "https://snapshot.debian.org/archive/${archive}/${snapshot}/${path}";
  outputHashMode = "flat";
  outputHashAlgo = "sha256";
  outputHash = sha256;
  preferLocalBuild = true;
}
