# A part that is downloaded: the file itself, or the contents of an archive.
{
  # ../seed/cell.nix.
  cell,
  # A root file system with sh, coreutils and cmake. The latter unpacks.
  tools,
}:
{
  # The end of its names in the store.
  file,
  # Its place in images.toml, for messages.
  place,
}:
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
  download = import ../fetch.nix {
    name = "download-${file}";
    inherit url;
    hash = sha256;
  };
in
if !unpack then
  download
else
  cell {
    name = "part-${file}";
    roots = [ tools ];
    writable = [ "/tmp" ];
    program = "/usr/bin/sh";
    args = [ "${./unpack.sh}" ];
    attributes = {
      archive = download;
      inherit place;
      strip = toString strip;
    };
  }
