# Symbolic links that the alternatives system would have made: path to target. The list is crates/debian's.
builtins.fromJSON (builtins.readFile ../../crates/debian/src/alternatives.json)
