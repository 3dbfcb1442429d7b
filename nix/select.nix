# The attributes of a set whose values satisfy a predicate.
predicate: set:
builtins.listToAttrs (
  map (name: {
    inherit name;
    value = set.${name};
  }) (builtins.filter (name: predicate set.${name}) (builtins.attrNames set))
)
