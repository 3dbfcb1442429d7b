# A part that is downloaded: the file itself, or the contents of an archive.
{
  # ../seed/cell.nix.
  cell,
  # A root file system with sh, coreutils and cmake. The latter unpacks.
  tools,
}:
# The part's name.
name:
{
  url,
  # The file's hash, in hexadecimal digits.
  sha256,
  # Whether the file is an archive, and how many of its top directories are left out.
  unpack ? false,
  strip ? 0,
  ...
}:
let
  file = import ../fetch.nix {
    name = "download-${name}";
    inherit url;
    hash = sha256;
  };
in
if !unpack then
  file
else
  cell {
    name = "part-${name}";
    roots = [ tools ];
    writable = [ "/tmp" ];
    program = "/usr/bin/sh";
    args = [ "${./unpack.sh}" ];
    attributes = {
      archive = file;
      part = name;
      strip = toString strip;
    };
  }
