# Files of Debian packages that nothing in an image reads. The list is crates/spec's.
builtins.fromJSON (builtins.readFile ../../crates/spec/src/unneeded.json)
