# One .deb of debian.lock, which `assemble fetch` downloads through apt.
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
import ../fetch.nix {
  name = allowed "${builtins.head parts}_${version}_${builtins.elemAt parts 1}.deb";
  url =
    if sources ? ${archive} then
      "${sources.${archive}}/${path}"
    else
      "https://snapshot.debian.org/archive/${archive}/${snapshot}/${path}";
  hash = sha256;
}
