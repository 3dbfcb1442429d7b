# The programs of a package's tests as an archive that runs on a machine without Rust.
{
  cell,
  # The workspace's parsed manifests by directory, and which of them are members.
  packages,
  members,
  # The plan and the units of `cargo test`: ./workspace.nix.
  tested,
  # A root file system with sh, tar and xz.
  toolchain,
}:
let
  isIn = directory: package: package.origin.kind == "path" && package.origin.path == directory;
  runsOf =
    directory:
    builtins.filter (
      key:
      let
        inherit (tested.planned.${key}) unit package;
      in
      isIn directory package && unit.action.kind == "run-test"
    ) (builtins.attrNames tested.planned);
  # One test as lines of `KEY VALUE...`: archive.sh reads them.
  described =
    key:
    let
      inherit (tested.planned.${key}) unit programs;
      target = program: tested.planned.${program}.unit.action.target.name;
      placed = path: "program ${path} ${tested.units.${programs.${path}}}/bin/${target programs.${path}}";
      variable = name: "variable ${name} ${builtins.toJSON unit.env.${name}}";
    in
    [
      "test ${unit.name}"
      "directory ${unit.cwd}"
      "start ${unit.action.program}"
    ]
    ++ map placed (builtins.attrNames programs);
  archiveOf =
    directory:
    let
      inherit (packages.${directory}.package) name;
      runs = runsOf directory;
    in
    {
      inherit name;
      value = cell {
        name = "${name}-tests";
        roots = toolchain;
        program = "/usr/bin/sh";
        args = [ "${./archive.sh}" ];
        writable = [ "/archive" ];
        attributes = {
          package = name;
          tests = builtins.concatStringsSep "\n" (builtins.concatMap described runs);
          passAsFile = [ "tests" ];
        };
      };
    };
in
builtins.listToAttrs (map archiveOf members)
