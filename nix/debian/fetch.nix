# One .deb of debian.lock. The path in the store depends on name and hash alone: `assemble fetch`
# puts it there through apt, and only where that has not happened Nix downloads it.
{
  # The date of the snapshot of Debian's archives that has the file.
  snapshot,
  # The addresses of archives that are not Debian's, by name.
  sources,
}:
# The package's key in the lock, NAME:ARCHITECTURE.
key:
{
  path,
  archive,
  version,
  sha256,
  ...
}:
let
  parts = builtins.match "([^:]*):(.*)" key;
  # The store allows fewer characters in names than Debian does.
  allowed = builtins.replaceStrings [ "~" ":" ] [ "-" "-" ];
in
derivation {
  name = allowed "${builtins.head parts}_${version}_${builtins.elemAt parts 1}.deb";
  system = "builtin";
  builder = "builtin:fetchurl";
  url =
    if sources ? ${archive} then
      "${sources.${archive}}/${path}"
    else
      "https://snapshot.debian.org/archive/${archive}/${snapshot}/${path}";
  outputHashMode = "flat";
  outputHashAlgo = "sha256";
  outputHash = sha256;
  preferLocalBuild = true;
}
