# The programs of a package's tests as archives: one that runs on a machine without Rust, and one
# for nextest.
{
  cell,
  # The workspace: ./tree.nix.
  tree,
  # The directories of its packages (crates/plan: `PackagePlaces`).
  layout,
  # The plan and the units of `cargo test`: ./workspace.nix.
  tested,
  # Root file systems with sh, tar and xz.
  toolchain,
  # An archive that nextest runs: ./nextest.nix.
  nextest,
}:
let
  isIn = directory: package: package.origin.kind == "path" && package.origin.path == directory;
  isRun = planned: planned.unit.action.kind == "run-test";
  runsOf =
    directory:
    builtins.filter (planned: isIn directory planned.package && isRun planned) (
      builtins.attrValues tested.planned
    );
  quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] text}'";
  # Maps a path to the source of a run's program: "PATH=SOURCE".
  placesOf =
    { programs, ... }:
    map (
      path:
      let
        key = programs.${path};
      in
      "${path}=${tested.units.${key}}/bin/${tested.planned.${key}.unit.action.target.name}"
    ) (builtins.attrNames programs);
  # One run as a line of shell.
  lineOf =
    { unit, ... }:
    let
      variables = map (name: quote "${name}=${unit.env.${name}}") (builtins.attrNames unit.env);
      scratch = unit.action.scratch or null;
      words = [
        "env"
      ]
      ++ variables
      ++ map quote ([ unit.action.program ] ++ unit.action.args)
      ++ [ "\"$@\"" ];
    in
    "(cd ${quote unit.cwd} && "
    + (if scratch == null then "" else "mkdir -p ${quote scratch} && ")
    + "${builtins.concatStringsSep " " words}) || failed=1";
  # The output of the package's own build script.
  writtenOf =
    planned:
    let
      script = planned.unit.action.buildScript or null;
      run = builtins.head planned.dependencies;
    in
    if script == null then [ ] else [ "${script}=${tested.units.${run}}/files" ];
  # The input of test-archive.sh.
  described =
    planned:
    map (place: "program ${place}") (placesOf planned)
    ++ map (place: "directory ${place}") (writtenOf planned)
    ++ [ "line ${oneLine (lineOf planned)}" ];
  # A package's description may have several lines. No test reads it.
  oneLine = builtins.replaceStrings [ "\n" ] [ " " ];
in
# A member, as Cargo describes it: its name and its directory.
{ name, directory, ... }:
cell {
  name = "${name}-tests";
  roots = toolchain;
  program = "/usr/bin/sh";
  args = [ "${./test-archive.sh}" ];
  writable = [ "/archive" ];
  attributes = {
    package = name;
    directory = "workspace/${directory}";
    nextest = nextest {
      inherit name directory;
      runs = runsOf directory;
    };
    inherit
      (import ./source.nix
        {
          inherit (tree) root;
          inherit layout;
        }
        {
          inherit directory;
          withTests = true;
        }
      )
      source
      ;
    tests = builtins.concatStringsSep "\n" (builtins.concatMap described (runsOf directory)) + "\n";
    passAsFile = [ "tests" ];
  };
}
