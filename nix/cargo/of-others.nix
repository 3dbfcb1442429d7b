# The paths in a package that belong to its other programs, relative to the package. A unit of its
# library or of one of its programs does not see them: rustc does not read the main file of another
# program, so Cargo compiles nothing again after an edit there.
{
  # The workspace: a path.
  root,
}:
{
  # The package's place (crates/plan: `PackagePlace`).
  place,
  # The name of the unit's program, or null for the library.
  program,
}:
let
  programs = place.programs or { };
  others = builtins.attrValues (
    if program == null then programs else builtins.removeAttrs programs [ program ]
  );
  paths = builtins.concatMap (other: if other ? own then [ other.own ] else [ ]) others;
  # The unit's main file, or null if it is not in the package.
  main = if program == null then place.library or null else programs.${program}.root or null;
  text = builtins.readFile (
    root + (if place.source == "" then "/${main}" else "/${place.source}/${main}")
  );
  # Whether the unit's main file declares a path as one of its modules.
  isModule =
    path:
    let
      parts = builtins.match "(.*/)?([A-Za-z0-9_]+)(\\.rs)?" path;
      declaration = "mod[[:space:]]+${builtins.elemAt parts 1}[[:space:]]*;";
    in
    parts != null && builtins.length (builtins.split declaration text) > 1;
in
if main == null then [ ] else builtins.filter (path: !(isModule path)) paths
