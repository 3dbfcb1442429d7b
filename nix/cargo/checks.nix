# The checks of a workspace's packages as units: tests, clippy, documentation, formatting.
#
# Maps the name of each package of the workspace to { test, clippy, doc, fmt }. The names come from
# Cargo.lock, so that only derivations need Cargo's output. The checks of a package that is not a
# member do nothing, just as `cargo test --workspace` ignores it.
{
  cell,
  # A directory of links: foundation.nix.
  links,
  # Derivations of the program `image`: ../image/make.nix.
  make,
  # Cargo's description of the workspace and its dependencies: metadata.json.
  metadata,
  # The plan and the units of one call of Cargo: ./workspace.nix.
  planned,
  # The workspace: ./tree.nix.
  tree,
  # Its packages and targets: a derivation with targets.json.
  targets,
  # Root file systems: the compiler, and beside it clippy and rustfmt.
  toolchain,
  lints,
}:
let
  # All members in one call, like `cargo test --workspace`. So the features are those of the whole
  # workspace, and all checks share their dependencies.
  tested = planned { args = [ "test" "--workspace" ]; };
  linted = planned {
    args = [
      "check"
      "--workspace"
      "--all-targets"
    ];
    isLint = true;
    environment = {
      RUSTC_WORKSPACE_WRAPPER = "/cargo/stand-ins/clippy-driver";
      CLIPPY_ARGS = "-Dwarnings__CLIPPY_HACKERY__";
    };
  };
  documented = planned {
    args = [
      "doc"
      "--workspace"
      "--no-deps"
    ];
    environment.RUSTDOCFLAGS = "-Dwarnings";
  };

  targetsItem = {
    derivation = targets;
    path = "${targets}/targets.json";
    name = "targets.json";
  };
  metadataItem = {
    derivation = metadata;
    path = "${metadata}/metadata.json";
    name = "metadata.json";
  };
  # Cargo's description of the workspace: its members, and the directories of packages.
  said = import ../json.nix {
    inherit (tree) kept;
    item = targetsItem;
    what = "the list of targets";
    version = 2;
  };
  # Maps names to Cargo's descriptions of members.
  members = builtins.listToAttrs (
    map (package: {
      inherit (package) name;
      value = package // {
        directory =
          if package.manifestPath == "Cargo.toml" then "" else builtins.dirOf package.manifestPath;
      };
    }) said.packages
  );
  isTestOf =
    name:
    { unit, package, ... }:
    isOf name package
    && (
      unit.action.kind == "run-test"
      || isDocTest unit
      || (unit.action.target.kind or "") == "example"
    );
  isDocTest = unit: isDocumentation unit && (unit.action.target.test or false);
  isDocumentation = unit: (unit.action.program or "") == "rustdoc";
  isOf =
    name: package:
    package.origin.kind == "path"
    && members ? ${name}
    && package.origin.path == members.${name}.directory;

  # The units that a condition on the plan's entries holds for, as one derivation of links.
  all =
    name: build: condition:
    links {
      inherit name;
      entries =
        let
          keys = builtins.attrNames build.planned;
        in
        builtins.listToAttrs (
          map (key: {
            name = key;
            value = build.units.${key};
          }) (builtins.filter (key: condition build.planned.${key}) keys)
        );
    };
  formatted = import ./fmt.nix {
    inherit cell tree toolchain lints;
    inherit (said) layout;
  };
  nothing =
    name:
    links {
      inherit name;
      entries = { };
    };
  checksOf = name: {
    test = all "${name}-test" tested (isTestOf name);
    clippy = all "${name}-clippy" linted (
      { unit, package, ... }: isOf name package && (unit.action.program or "") == "clippy-driver"
    );
    doc = all "${name}-doc" documented (
      { unit, package, ... }: isOf name package && isDocumentation unit
    );
    fmt = if members ? ${name} then formatted members.${name} else nothing "${name}-fmt";
  };
  forEach =
    function:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = function name;
      }) tree.lock.own
    );
in
{
  packages = forEach checksOf;
  # Everything that evaluation reads for the checks: items of ../imported.nix.
  items = [
    targetsItem
    metadataItem
    tested.item
    linted.item
    documented.item
  ];
  # The units of each call, by key.
  units = {
    test = tested.units;
    clippy = linted.units;
    doc = documented.units;
  };
  # The tests' programs, as archives: package name to derivation.
  archives =
    let
      archiveOf = import ./test-archive.nix {
        inherit cell tree toolchain tested;
        inherit (said) layout;
        nextest = import ./nextest.nix {
          inherit
            cell
            toolchain
            make
            metadata
            tested
            ;
          described = builtins.fromJSON (
            (import ../imported.nix { inherit (tree) kept; }).read metadataItem
          );
        };
      };
    in
    forEach (
      name: if members ? ${name} then archiveOf members.${name} else nothing "${name}-tests"
    );
}
