# The units of a plan, each as a derivation that sees its own entry, its package's source, the
# outputs of what it depends on, and the toolchain.
{ cell, runner }:
{
  # The plan's derivation (./plan.nix).
  plan,
  # The workspace: a path, its parsed manifests by directory, and its lock.
  root,
  members,
  lock,
  # The toolchain: root file systems, of which earlier ones win.
  toolchain,
  # What compiles for another platform than the one that builds (./cross.nix), if one is wanted.
  cross ? null,
  # Package name to a root file system that its units see beside the toolchain, and with them all
  # that links them.
  native ? { },
  # Package name to paths, relative to the package, that its units see besides its source.
  extraFiles ? { },
}:
let
  # The plan names no store path: a new plan with the same entries gives the same units.
  data = builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.readFile "${plan}/plan.json"));
  directories = builtins.attrNames members;
  sourceOf = import ./source.nix { inherit root directories; };
  sources = builtins.mapAttrs (directory: manifest: sourceOf { inherit directory manifest; }) members;
  testSources = builtins.mapAttrs (
    directory: manifest:
    sourceOf {
      inherit directory manifest;
      withTests = true;
    }
  ) members;
  isTest =
    unit:
    builtins.elem (unit.action.target.kind or "") [
      "test"
      "bench"
      "example"
    ];
  source =
    { package, unit, ... }:
    let
      inherit (package) origin;
    in
    if origin.kind == "path" then
      (if isTest unit then testSources else sources).${origin.path}
    else if origin.kind == "registry" then
      lock.files."${package.name} ${package.version} ${origin.source}"
    else
      builtins.path {
        name = "source";
        path = lock.files."${package.name} ${package.version} ${origin.source}" + "/${origin.path}";
      };
  # The files that a member has declared, by their paths in the workspace. A dependency has its own files already.
  extras =
    planned:
    let
      place = file: "/workspace/${file}=${
        builtins.path {
          name = "extra";
          path = root + "/${file}";
        }
      }";
    in
    if planned.package.origin.kind == "path" then
      builtins.concatStringsSep "\n" (map place (extraFiles.${planned.package.name} or [ ]))
    else
      "";
  # The same for each unit: what the packages below it need too.
  nativeBelow = builtins.mapAttrs (
    _: planned:
    builtins.foldl' (all: key: all // nativeBelow.${key}) (nativeOf planned) planned.dependencies
  ) data.units;
  nativeOf =
    { package, ... }:
    if native ? ${package.name} then { ${package.name} = native.${package.name}; } else { };
  links =
    unit:
    builtins.elem (unit.action.target.kind or "") [
      "bin"
      "cdylib"
      "example"
      "test"
      "bench"
    ];
  nativeFor =
    key: planned:
    if native == { } then
      [ ]
    else
      builtins.attrValues (if links planned.unit then nativeBelow.${key} else nativeOf planned);
  crossFor = planned: if cross != null && cross.concerns planned.unit then [ cross.root ] else [ ];
  build =
    key: planned:
    cell {
      inherit (planned.unit) name;
      roots = toolchain ++ crossFor planned ++ nativeFor key planned;
      program = "${runner}/bin/unit";
      writable = [
        "/workspace"
        "/cargo"
      ];
      attributes = {
        unit = builtins.toJSON planned.unit;
        passAsFile = [ "unit" ];
        source = source planned;
        inputs = map (key: units.${key}) planned.dependencies;
        extras = extras planned;
      };
    };
  units = builtins.mapAttrs build data.units;
in
{
  inherit units;
  # The same as the plan has them: package, entry, dependencies.
  planned = data.units;
  inherit (data) programs;
  # The output of a program's unit: holds bin/NAME.
  program =
    { package, bin }:
    let
      found = builtins.filter (p: p.package == package && p.name == bin && p.kind == "bin") data.programs;
    in
    if found == [ ] then
      throw "the workspace has no binary \"${bin}\" in the package \"${package}\""
    else
      units.${(builtins.head found).unit};
}
