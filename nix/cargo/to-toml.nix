# A Nix value as TOML, for manifests that are made and not copied.
let
  toToml =
    value:
    if builtins.isAttrs value then
      "{ ${builtins.concatStringsSep ", " (map (name: "${builtins.toJSON name} = ${toToml value.${name}}") (builtins.attrNames value))} }"
    else if builtins.isList value then
      "[ ${builtins.concatStringsSep ", " (map toToml value)} ]"
    else
      # Strings, numbers and booleans are written alike in JSON and in TOML.
      builtins.toJSON value;
  # A whole document: one line for each key at the top, tables inline.
  document =
    table:
    builtins.concatStringsSep "" (
      map (name: "${builtins.toJSON name} = ${toToml table.${name}}\n") (builtins.attrNames table)
    );
in
document
