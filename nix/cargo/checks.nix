# The checks of a workspace's packages as units: tests, clippy, documentation, formatting.
#
# Gives: package name to { test, clippy, doc, fmt }, for each member of the workspace. The names are
# known from the manifests alone; only a derivation waits for a plan.
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
  # The workspace: a path, its parsed manifests by directory, and which of them are members.
  root,
  packages,
  members,
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

  isTestOf =
    directory:
    { unit, package, ... }:
    isIn directory package
    && (unit.action.kind == "run-test" || isDocTest unit || (unit.action.target.kind or "") == "example");
  isDocTest = unit: isDocumentation unit && (unit.action.target.test or false);
  isDocumentation = unit: (unit.action.program or "") == "rustdoc";
  isIn = directory: package: package.origin.kind == "path" && package.origin.path == directory;

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
  formatted = import ./fmt.nix { inherit cell root packages toolchain lints; };
  checksOf =
    directory:
    let
      name = packages.${directory}.package.name;
    in
    {
      inherit name;
      value = {
        test = all "${name}-test" tested (isTestOf directory);
        clippy = all "${name}-clippy" linted (
          { unit, package, ... }: isIn directory package && (unit.action.program or "") == "clippy-driver"
        );
        doc = all "${name}-doc" documented (
          { unit, package, ... }: isIn directory package && isDocumentation unit
        );
        fmt = formatted directory;
      };
    };
in
{
  packages = builtins.listToAttrs (map checksOf members);
  # The units of each call, by key.
  units = {
    test = tested.units;
    clippy = linted.units;
    doc = documented.units;
  };
  # The tests' programs, as archives: package name to derivation.
  archives = import ./archive.nix {
    inherit cell root packages members tested toolchain;
    nextest = import ./nextest.nix { inherit cell toolchain make metadata tested; };
  };
}
