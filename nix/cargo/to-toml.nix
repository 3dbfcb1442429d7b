# A Nix value as TOML, for generated manifests.
let
  toToml =
    value:
    if builtins.isAttrs value then
      "{ ${builtins.concatStringsSep ", " (map (name: "${builtins.toJSON name} = ${toToml value.${name}}") (builtins.attrNames value))} }"
    else if builtins.isList value then
      "[ ${builtins.concatStringsSep ", " (map toToml value)} ]"
    else
      # JSON and TOML write strings, numbers and booleans alike.
      builtins.toJSON value;
  # A whole document: one line for each key at the top, tables inline.
  document =
    table:
    builtins.concatStringsSep "" (
      map (name: "${builtins.toJSON name} = ${toToml table.${name}}\n") (builtins.attrNames table)
    );
in
document
