# The seed's file for a system, beside this one.
{
  # A Nix system, such as "x86_64-linux".
  system,
}:
./. + "/seed-${system}"
