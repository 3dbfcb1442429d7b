# Maps paths to targets: the symbolic links that the alternatives system would make. crates/debian
# has the list.
builtins.fromJSON (builtins.readFile ../../crates/debian/src/alternatives.json)
