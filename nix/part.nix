# Where a part lies: what a flake hands over under a name, for images and crates that name it.
{
  # Name to what is handed over: a derivation, a flake or its input, a path, or a string with a
  # path.
  parts,
}:
{
  # The part's name.
  name,
  # A path in it; "" for all of it.
  path ? "",
  ...
}:
let
  part =
    parts.${name}
      or (throw "the flake hands over no part \"${name}\": add `parts.${name} = …;` to the arguments of mkFlake");
  # Of a directory that Nix has already, such as `self`, a part is only what it names: what lies
  # beside it changes nothing.
  isBuilt =
    text: builtins.any (context: context ? outputs) (builtins.attrValues (builtins.getContext text));
  copied =
    builtins.path {
      name = "part-${name}";
      path = part;
    };
  at =
    if builtins.isAttrs part || builtins.isString part && isBuilt part then "${part}" else "${copied}";
in
if path == "" then at else "${at}/${path}"
