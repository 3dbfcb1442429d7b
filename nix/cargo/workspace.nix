# A workspace as plans and units: Cargo's work to build a selection of its packages, and to check
# them.
{
  cell,
  planner,
  runner,
  links,
  # Derivations of the program `image`: ../image/make.nix.
  make,
}:
{
  # The workspace: ./tree.nix.
  tree,
  # The toolchain: root file systems, of which earlier ones win.
  toolchain,
  # Root file systems with clippy and rustfmt, beside the toolchain.
  lints ? [ ],
  # Cargo's name of the profile.
  profile ? "release",
  # The platform that programs are for, by rustc's name.
  target,
  # Root file systems and settings for `target` if another platform builds (./cross.nix), or null.
  cross ? null,
  # More arguments for Cargo, such as features.
  cargoArgs ? [ ],
  native ? { },
  extraFiles ? { },
  parts ? { },
  # Variables by package name, names of packages that get the revision, and the revision:
  # ./units.nix.
  variables ? { },
  revisioned ? [ ],
  revision ? null,
}:
let
  planOf = import ./plan.nix { inherit cell planner; };
  unitsOf = import ./units.nix { inherit cell runner; };
  each = option: values: builtins.concatMap (value: [ option value ]) values;
  # The plan and the units of one call of Cargo.
  planned =
    {
      # Cargo's subcommand and arguments.
      args,
      environment ? { },
      # Whether Cargo calls clippy.
      isLint ? false,
    }:
    let
      plan = planOf {
        inherit tree environment;
        toolchain = toolchain ++ (if isLint then lints else [ ]);
        args = [
          (builtins.head args)
          "--profile"
          profile
          "--target"
          target
        ]
        ++ (if cross == null then [ ] else cross.cargoArgs)
        ++ cargoArgs
        ++ builtins.tail args;
      };
      item = {
        derivation = plan;
        path = "${plan}/plan.json";
        name = "plan.json";
      };
    in
    {
      inherit plan item;
      inherit (tree) lock;
    }
    // unitsOf {
      inherit
        item
        tree
        toolchain
        cross
        lints
        native
        extraFiles
        parts
        revisioned
        revision
        ;
      environment = variables;
    };
  targets = planOf { inherit tree toolchain; };
in
{
  # The workspace's packages and targets, as JSON: targets.json.
  inherit targets;
  # The plan and the units for some binaries: a list of { package, bin }.
  build =
    binaries:
    let
      unique = import ../unique.nix;
    in
    planned {
      args = [
        "build"
      ]
      ++ each "--package" (unique (map (b: b.package) binaries))
      ++ each "--bin" (unique (map (b: b.bin) binaries));
    };
  # The checks of the packages: ./checks.nix.
  checks = import ./checks.nix {
    inherit
      cell
      links
      make
      planned
      tree
      targets
      toolchain
      lints
      ;
    metadata = planOf {
      inherit tree toolchain;
      args = [ "metadata" ];
    };
  };
}
