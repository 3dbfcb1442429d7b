# A part that is downloaded: the file as it is, or what an archive holds.
{
  # ../seed/cell.nix.
  cell,
  # A root file system with sh, coreutils and cmake, which unpacks.
  tools,
}:
# The part's name.
name:
{
  url,
  # In hexadecimal digits.
  sha256,
  # Whether the file is an archive, and how many directories at its top are left out.
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
