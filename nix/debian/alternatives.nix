# Maps paths to targets: the symbolic links that the alternatives system would make. The list is in
# crates/debian.
builtins.fromJSON (builtins.readFile ../../crates/debian/src/alternatives.json)
