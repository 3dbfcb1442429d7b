# The names of a list, each once, sorted.
names:
builtins.attrNames (
  builtins.listToAttrs (
    map (name: {
      inherit name;
      value = null;
    }) names
  )
)
