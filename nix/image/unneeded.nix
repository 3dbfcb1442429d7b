# Files of Debian packages that nothing in an image reads. The list is in crates/spec.
builtins.fromJSON (builtins.readFile ../../crates/spec/src/unneeded.json)
