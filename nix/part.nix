# The path of a part. A flake hands over parts under names, for the images and crates that use these
# names.
{
  # Maps names to parts: a derivation, a flake or its input, a path, or a string with a path.
  parts,
}:
{
  # The part's name.
  name,
  # A path in the part; "" for all of it.
  path ? "",
  ...
}:
let
  part =
    parts.${name}
      or (throw (
        "the flake hands over no part \"${name}\": "
        + "add `parts.${name} = …;` to the arguments of mkFlake"
      ));
  # If Nix already has the directory, as with `self`, a part is only the named path: a change of its
  # neighbours does not change the part.
  isBuilt =
    text:
    builtins.any (context: context ? outputs) (builtins.attrValues (builtins.getContext text));
  copied = builtins.path {
    name = "part-${name}";
    path = part;
  };
  at =
    if builtins.isAttrs part || builtins.isString part && isBuilt part then
      "${part}"
    else
      "${copied}";
in
if path == "" then at else "${at}/${path}"
