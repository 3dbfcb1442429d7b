# A JSON file that one of Crateyard's programs wrote: what evaluation knows from a build. What it names is no
# input of what is made of it, unless Nix says so.
{
  # The file: a string.
  file,
  # What it is, for people.
  what,
  # The version of its form that is read here.
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
