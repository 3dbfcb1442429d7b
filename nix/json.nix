# Reads a JSON file that one of Crateyard's programs wrote. Paths in it become inputs of a
# derivation only if Nix adds them.
{
  # The file: a string.
  file,
  # A description of the file, for messages.
  what,
  # The expected version of its format.
  version,
}:
let
  data = builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.readFile file));
  found = toString (data.version or "none");
in
if data.version or null == version then
  data
else
  throw "${what} ${builtins.unsafeDiscardStringContext file} has version ${found}, and this revision of Crateyard reads version ${toString version}: take the programs and nix/ from one revision"
