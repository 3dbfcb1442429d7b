# A workspace as plans and units: what Cargo would build for a selection of its packages.
{ cell, planner, runner }:
{
  # The workspace: a path.
  root,
  # The toolchain: root file systems, of which earlier ones win.
  toolchain,
  # Cargo's name of the profile.
  profile ? "release",
  # The platform that programs are for, as rustc names it.
  target,
  # More arguments for Cargo, such as features.
  cargoArgs ? [ ],
  native ? { },
  extraFiles ? { },
}:
let
  members = import ./members.nix { inherit root; };
  lock = import ./lock.nix { lock = root + "/Cargo.lock"; };
  planOf = import ./plan.nix { inherit cell planner; };
  unitsOf = import ./units.nix { inherit cell runner; };
in
{
  inherit members;
  # The workspace's packages and targets, as JSON: targets.json.
  targets = planOf {
    inherit root members lock toolchain;
  };
  # The plan and the units for some binaries: a list of { package, bin }.
  build =
    binaries:
    let
      each = option: values: builtins.concatMap (value: [ option value ]) values;
      unique = values: builtins.attrNames (builtins.listToAttrs (map (name: { inherit name; value = null; }) values));
      plan = planOf {
        inherit root members lock toolchain;
        args = [
          "build"
          "--profile"
          profile
          "--target"
          target
        ]
        ++ cargoArgs
        ++ each "--package" (unique (map (b: b.package) binaries))
        ++ each "--bin" (unique (map (b: b.bin) binaries));
      };
    in
    { inherit plan lock; }
    // unitsOf {
      inherit plan root members lock toolchain native extraFiles;
    };
}
