# A derivation whose name is known before the derivation is. `nix flake show` forbids the import
# from derivation that yields the plan and the description, and asks only for the type and the name.
{
  name,
  system,
  # The derivation itself. Its own name may differ from `name`.
  derivation,
}:
{
  type = "derivation";
  inherit name system;
  inherit (derivation)
    drvPath
    outPath
    drvAttrs
    builder
    args
    ;
  outputName = "out";
  outputs = [ "out" ];
  all = [ derivation ];
  out = derivation;
}
