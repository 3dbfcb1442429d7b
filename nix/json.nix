# Reads a JSON file that one of Crateyard's programs wrote. Paths in it become inputs of a
# derivation only if Nix adds them.
{
  # The place where the workspace keeps such files: ./imported.nix.
  kept,
  # The file: an item of ./imported.nix.
  item,
  # A description of the file, for messages.
  what,
  # The expected version of its format.
  version,
}:
let
  data = builtins.fromJSON ((import ./imported.nix { inherit kept; }).read item);
  found = toString (data.version or "none");
in
if data.version or null == version then
  data
else
  throw (
    "${what} ${builtins.unsafeDiscardStringContext item.path} has version ${found}, and this "
    + "revision of Crateyard reads version ${toString version}: "
    + "take the programs and nix/ from one revision"
  )
