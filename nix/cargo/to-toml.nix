# A Nix value as TOML, for generated manifests.
let
  commas = builtins.concatStringsSep ", ";
  field = table: name: "${builtins.toJSON name} = ${toToml table.${name}}";
  toToml =
    value:
    if builtins.isAttrs value then
      "{ ${commas (map (field value) (builtins.attrNames value))} }"
    else if builtins.isList value then
      "[ ${commas (map toToml value)} ]"
    else
      # JSON and TOML write strings, numbers and booleans alike.
      builtins.toJSON value;
  # A whole document: one line for each key at the top, tables inline.
  document =
    table:
    builtins.concatStringsSep "" (
      map (name: "${field table name}\n") (builtins.attrNames table)
    );
in
document
