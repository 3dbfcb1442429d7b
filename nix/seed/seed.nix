# The bootstrap program for a system: the one executable that no derivation made.
# `checks.seed` rebuilds it from crates/seed and compares the bytes.
{
  # A Nix system, such as "x86_64-linux".
  system,
}:
builtins.path {
  name = "seed";
  path = import ./file.nix { inherit system; };
}
