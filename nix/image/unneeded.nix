# Files of Debian packages that nothing in an image reads. The list is the image program's own.
builtins.fromJSON (builtins.readFile ../../crates/image/src/unneeded.json)
