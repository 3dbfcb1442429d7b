# A derivation whose name is known before the derivation is: `nix flake show` forbids the import
# from derivation by which plan and description come, and asks for no more than type and name.
{
  name,
  system,
  # The derivation itself. It need not be called `name`.
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
