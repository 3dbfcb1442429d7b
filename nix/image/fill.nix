# Replaces the placeholders of a lowered specification by values (crates/spec: `Placeholder`).
{
  # Maps each kind of placeholder to a function from the placeholder to its value. If a placeholder
  # in a list becomes a list, the two lists are joined.
  stand,
}:
let
  isPlaceholder = value: builtins.isAttrs value && value ? placeholder;
  fill =
    value:
    if isPlaceholder value then
      (stand.${value.placeholder}
        or (throw "this revision of Crateyard's nix/ knows no placeholder \"${value.placeholder}\"")
      )
        value
    else if builtins.isAttrs value then
      builtins.mapAttrs (_: fill) value
    else if builtins.isList value then
      builtins.concatMap (
        element:
        let
          filled = fill element;
        in
        if isPlaceholder element && builtins.isList filled then filled else [ filled ]
      ) value
    else
      value;
in
fill
