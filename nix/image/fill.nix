# Puts values in the place of the placeholders of a lowered specification (crates/spec:
# `Placeholder`).
{
  # Kind of a placeholder to a function from the placeholder to what stands for it: a value, or a
  # list, which is joined with the list that it stands in.
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
