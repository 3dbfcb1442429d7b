# The checks of a workspace's packages as units: tests, clippy, documentation, formatting.
#
# Gives: package name to { test, clippy, doc, fmt }, for each package of the workspace. The names are
# known from Cargo.lock alone; only a derivation waits for what Cargo says. Of a package that is no member
# `cargo test --workspace` checks nothing, and so do these.
{
  cell,
  # A directory of links: parts.nix.
  links,
  # What the `image` program makes: ../image/make.nix.
  make,
  # What Cargo says of the workspace and all that it depends on: metadata.json.
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
  # All members in one call, as `cargo test --workspace` would: features are those of the whole
  # workspace, and every check of a package shares its dependencies with those of all others.
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

  # What Cargo says of the workspace: its members, and where packages lie.
  said = import ../json.nix {
    file = "${targets}/targets.json";
    what = "the list of targets";
    version = 2;
  };
  # Name to what Cargo says of the member.
  members = builtins.listToAttrs (
    map (package: {
      inherit (package) name;
      value = package // {
        directory = if package.manifestPath == "Cargo.toml" then "" else builtins.dirOf package.manifestPath;
      };
    }) said.packages
  );
  isTestOf =
    name:
    { unit, package, ... }:
    isOf name package
    && (unit.action.kind == "run-test" || isDocTest unit || (unit.action.target.kind or "") == "example");
  isDocTest = unit: isDocumentation unit && (unit.action.target.test or false);
  isDocumentation = unit: (unit.action.program or "") == "rustdoc";
  isOf =
    name: package:
    package.origin.kind == "path" && members ? ${name} && package.origin.path == members.${name}.directory;

  # The units that a condition on the plan's entries holds for, as one derivation of links.
  all =
    name: build: condition:
    links {
      inherit name;
      entries = builtins.listToAttrs (
        map (key: {
          name = key;
          value = build.units.${key};
        }) (builtins.filter (key: condition build.planned.${key}) (builtins.attrNames build.planned))
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
    doc = all "${name}-doc" documented ({ unit, package, ... }: isOf name package && isDocumentation unit);
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
  # The units of each call, by key.
  units = {
    test = tested.units;
    clippy = linted.units;
    doc = documented.units;
  };
  # The tests' programs, as archives: package name to derivation.
  archives =
    let
      archiveOf = import ./archive.nix {
        inherit cell tree toolchain tested;
        inherit (said) layout;
        nextest = import ./nextest.nix { inherit cell toolchain make metadata tested; };
      };
    in
    forEach (name: if members ? ${name} then archiveOf members.${name} else nothing "${name}-tests");
}
